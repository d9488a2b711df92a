//! Area under the ROC curve, with a bootstrap interval.

use crate::{
    artifact::scores::Interval,
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// P(outside > inside) + ½ P(outside = inside) for independent draws of both: the area under the ROC
/// curve with `outside` (higher scores) as the positive class (Hanley & McNeil 1982; the Mann–Whitney
/// statistic divided by the product of the sizes).
///
/// # Errors
/// [`Error::Invalid`] for an empty side or a score that is not finite.
pub fn auroc(inside: &[f32], outside: &[f32]) -> Result<f64> {
    check(inside, outside)?;
    let mut all: Vec<(f32, bool)> = inside.iter().map(|&v| (v, false)).collect();
    all.extend(outside.iter().map(|&v| (v, true)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(area(&all, &vec![1; all.len()]))
}

/// Area under the precision–recall curve with `outside` (higher scores) as the positive class: the
/// trapezoid area of scikit-learn's `precision_recall_curve`, as in the published anomaly tables. (It
/// is not average precision: it interpolates between points, as those tables do.)
///
/// # Errors
/// [`Error::Invalid`] for an empty side or a score that is not finite.
pub fn auprc(inside: &[f32], outside: &[f32]) -> Result<f64> {
    check(inside, outside)?;
    let mut all: Vec<(f32, bool)> = inside.iter().map(|&v| (v, false)).collect();
    all.extend(outside.iter().map(|&v| (v, true)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = outside.len() as f64;
    let (mut area, mut before) = (0.0, (0.0, 1.0));
    let (mut found, mut taken) = (0.0, 0.0);
    for (i, &(score, outside)) in all.iter().enumerate() {
        found += f64::from(u8::from(outside));
        taken += 1.0;
        // Process equal scores together.
        if all.get(i + 1).is_some_and(|next| next.0 == score) {
            continue;
        }
        let now = (found / positives, found / taken);
        area += (now.0 - before.0) * (now.1 + before.1) / 2.0;
        before = now;
    }
    Ok(area)
}

/// [`auroc`] with its 95 % percentile-bootstrap interval: both sides are resampled `resamples` times,
/// with replacement and at their own sizes (Efron 1979).
///
/// # Errors
/// As [`auroc`].
pub fn auroc_interval(
    inside: &[f32],
    outside: &[f32],
    resamples: usize,
    rng: &Rng,
) -> Result<Interval> {
    let value = auroc(inside, outside)?;
    let mut all: Vec<(f32, bool)> = inside.iter().map(|&v| (v, false)).collect();
    all.extend(outside.iter().map(|&v| (v, true)));
    // Sort once: a resample is a multiplicity of each score.
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let place: [Vec<usize>; 2] =
        [false, true].map(|side| (0..all.len()).filter(|&i| all[i].1 == side).collect());
    let mut areas: Vec<f64> = (0..resamples as u32)
        .map(|k| {
            let mut times = vec![0u32; all.len()];
            for (side, of) in place.iter().enumerate() {
                let words = rng.derived(Purpose::Choice, u64::from(k)).words(
                    Purpose::Choice,
                    side as u32,
                    of.len(),
                    1,
                );
                for word in words {
                    let i = (u64::from(word) * of.len() as u64) >> 32;
                    times[of[i as usize]] += 1;
                }
            }
            area(&all, &times)
        })
        .collect();
    areas.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let last = areas.len().saturating_sub(1) as f64;
        areas
            .get((last * q).round() as usize)
            .copied()
            .unwrap_or(value)
    };
    Ok(Interval {
        value,
        low: at(0.025),
        high: at(0.975),
    })
}

fn check(inside: &[f32], outside: &[f32]) -> Result<()> {
    let fine = |v: &[f32]| !v.is_empty() && v.iter().all(|v| v.is_finite());
    if fine(inside) && fine(outside) {
        return Ok(());
    }
    Err(Error::invalid(
        "scores",
        "at least one finite score on each side",
        format!(
            "{} and {} scores, or one that is not finite",
            inside.len(),
            outside.len()
        ),
        "use more images, or another model",
    ))
}

/// The area for scores in ascending order with multiplicities `times`.
fn area(sorted: &[(f32, bool)], times: &[u32]) -> f64 {
    let (mut won, mut inside, mut outside) = (0.0, 0.0, 0.0);
    let mut i = 0;
    while i < sorted.len() {
        let (mut tied_in, mut tied_out) = (0.0, 0.0);
        let score = sorted[i].0;
        while i < sorted.len() && sorted[i].0 == score {
            let n = f64::from(times[i]);
            if sorted[i].1 {
                tied_out += n
            } else {
                tied_in += n
            }
            i += 1;
        }
        won += tied_out * (inside + 0.5 * tied_in);
        inside += tied_in;
        outside += tied_out;
    }
    won / (inside * outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_match_known_values() {
        // Pairs won: 1 by .35, 1 + two halves by .4, 3 by .8: 6 of 9.
        let found = auroc(&[0.1, 0.4, 0.4], &[0.35, 0.4, 0.8]).unwrap();
        assert!((found - 6.0 / 9.0).abs() < 1e-12, "{found}");
        assert_eq!(auroc(&[0.0, 1.0], &[2.0, 3.0]).unwrap(), 1.0);
        assert_eq!(auroc(&[2.0, 3.0], &[0.0, 1.0]).unwrap(), 0.0);
        assert_eq!(auroc(&[1.0; 5], &[1.0; 7]).unwrap(), 0.5);
        assert!(auroc(&[], &[1.0]).is_err());
        assert!(auroc(&[0.0], &[f32::NAN]).is_err());
    }

    /// scikit-learn 1.8: auc(recall, precision) of precision_recall_curve.
    #[test]
    fn precision_recall_areas_match_scikit_learn() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let found = auprc(&[0.1, 0.4, 0.4], &[0.35, 0.4, 0.8]).unwrap();
        near(found, 0.766_666_666_666_666_6);
        near(auprc(&[0.0, 1.0], &[2.0, 3.0]).unwrap(), 1.0);
        near(
            auprc(&[2.0, 3.0], &[0.0, 1.0]).unwrap(),
            0.291_666_666_666_666_63,
        );
        near(
            auprc(&[1.0; 5], &[1.0; 7]).unwrap(),
            0.791_666_666_666_666_7,
        );
        assert!(auprc(&[0.0], &[f32::NAN]).is_err());
    }

    /// For Gaussians one standard deviation apart the area is Φ(1/√2) = 0.760; the interval contains it
    /// for most seeds, and its width matches DeLong's, about 4 · 0.0121 at n = 750 per side.
    #[test]
    fn interval_has_its_coverage() {
        let truth = 0.760_249_94;
        let mut covered = 0;
        for seed in 0..40 {
            let rng = Rng::new(seed);
            let a = rng.normals(Purpose::Data, 0, 750, 1);
            let b: Vec<f32> = rng
                .normals(Purpose::Data, 1, 750, 1)
                .iter()
                .map(|v| v + 1.0)
                .collect();
            let i = auroc_interval(&a, &b, 300, &rng).unwrap();
            assert!(i.low < i.value && i.value < i.high);
            assert!((0.030..0.066).contains(&(i.high - i.low)), "{i:?}");
            covered += usize::from((i.low..i.high).contains(&truth));
        }
        // 38 expected; fewer than 33 has a probability below 1 %.
        assert!(covered >= 33, "{covered} of 40");
    }
}
