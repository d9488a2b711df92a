//! Reference scores of a model: score quantiles of data sets, to compute the percentile of one image.
//!
//! `mixwell eval` writes them to `models/NAME/scores.json`; the Studio and `mixwell score` read them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Number of points of a quantile table: 0 %, 0.5 %, …, 100 %.
pub const POINTS: usize = 201;

/// Reference scores of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Version of this layout: 1.
    pub format: u32,
    /// The model's name.
    pub model: String,
    /// Scored sets, the model's own test set first.
    pub sets: Vec<ScoredSet>,
    /// Seed of the bootstrap and of the synthetic sets.
    pub seed: u64,
    /// Commit of the program that computed them.
    pub commit: String,
}

/// Scores of one set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredSet {
    /// Short name.
    pub name: String,
    /// Display name.
    pub title: String,
    /// Number of images.
    pub images: usize,
    /// [`POINTS`] quantiles of E, ascending.
    pub energy: Vec<f32>,
    /// Quantiles of the out-of-distribution score; none for a model without an encoder.
    pub ood: Option<Vec<f32>>,
    /// AUROC of this set against the model's own test set, by the OOD score.
    pub auroc: Option<Interval>,
    /// AUROC by E alone.
    pub auroc_energy: Option<Interval>,
}

/// A number with a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Percentile of a score in a set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Percentile {
    /// Share of the set with a lower score.
    pub below: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
}

impl Scores {
    /// Parses a table of scores written by `eval`.
    ///
    /// # Errors
    /// [`Error::Model`] for another or an incomplete file.
    pub fn parse(text: &[u8], model: &str) -> Result<Self> {
        let problem = |problem: String| Error::model(model, problem, "run `mixwell eval` again");
        let scores: Self = serde_json::from_slice(text)
            .map_err(|e| problem(format!("scores.json is not a table of scores: {e}")))?;
        let complete =
            |q: &[f32]| q.len() == POINTS && q.iter().all(|v| v.is_finite()) && q.is_sorted();
        let fits = |set: &ScoredSet| {
            set.images > 0 && complete(&set.energy) && set.ood.as_deref().is_none_or(complete)
        };
        if scores.format != 1 || scores.sets.is_empty() || !scores.sets.iter().all(fits) {
            return Err(problem(format!(
                "expected format 1 and sets with {POINTS} ascending quantiles, found another table"
            )));
        }
        Ok(scores)
    }
}

/// [`POINTS`] quantiles of values: linear between order statistics (Hyndman & Fan's type 7).
pub fn quantiles(values: &[f32]) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    (0..POINTS)
        .map(|k| {
            let at = last * k as f64 / (POINTS - 1) as f64;
            let (low, high) = (at.floor() as usize, at.ceil() as usize);
            let (a, b) = (f64::from(sorted[low]), f64::from(sorted[high]));
            (a + (b - a) * (at - low as f64)) as f32
        })
        .collect()
}

/// Percentile of `value` among `images` values with these quantiles, with Wilson's interval (1927) for
/// the share. The share is interpolated linearly between quantiles; if several quantiles equal the
/// value, their middle is taken.
pub fn percentile(quantiles: &[f32], images: usize, value: f64) -> Percentile {
    let steps = (quantiles.len() - 1) as f64;
    let below = quantiles.partition_point(|&q| f64::from(q) < value);
    let upto = quantiles.partition_point(|&q| f64::from(q) <= value);
    let share = if upto > below {
        (below + upto - 1) as f64 / 2.0 / steps
    } else if below == 0 {
        0.0
    } else if below == quantiles.len() {
        1.0
    } else {
        let (a, b) = (f64::from(quantiles[below - 1]), f64::from(quantiles[below]));
        ((below - 1) as f64 + (value - a) / (b - a)) / steps
    };
    let (n, z) = (images as f64, 1.959_963_984_540_054);
    let (z2, p) = (z * z, share);
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Percentile {
        below: share,
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_numpy() {
        // numpy.quantile([3, 1, 2, 10], [0, 0.25, 0.5, 0.9, 1]) = [1, 1.75, 2.5, 7.9, 10]
        let q = quantiles(&[3.0, 1.0, 2.0, 10.0]);
        for (k, expected) in [(0, 1.0), (50, 1.75), (100, 2.5), (180, 7.9), (200, 10.0)] {
            assert!((f64::from(q[k]) - expected).abs() < 1e-6, "{k}: {}", q[k]);
        }
    }

    #[test]
    fn shares_are_recovered_and_intervals_match_wilson() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let q = quantiles(&values);
        for value in [0.0, 1.0, 500.0, 998.5, 999.0] {
            let p = percentile(&q, 1000, value);
            assert!((p.below - value / 999.0).abs() < 1e-6, "{value}: {p:?}");
        }
        assert_eq!(percentile(&q, 1000, -1.0).below, 0.0);
        assert_eq!(percentile(&q, 1000, 2000.0).below, 1.0);
        // statsmodels: proportion_confint(20, 100, method="wilson") = (0.133367, 0.288829)
        let q: Vec<f32> = (0..POINTS).map(|k| k as f32).collect();
        let p = percentile(&q, 100, 40.0);
        assert!((p.below - 0.2).abs() < 1e-12);
        assert!(
            (p.low - 0.133_367).abs() < 1e-5 && (p.high - 0.288_829).abs() < 1e-5,
            "{p:?}"
        );
        // All values equal: the percentile is the middle, not an end.
        assert_eq!(percentile(&[3.0; POINTS], 50, 3.0).below, 0.5);
    }

    #[test]
    fn truncated_tables_are_refused() {
        let good = Scores {
            format: 1,
            model: "m".into(),
            sets: vec![ScoredSet {
                name: "a".into(),
                title: "A".into(),
                images: 3,
                energy: quantiles(&[1.0, 2.0, 3.0]),
                ood: None,
                auroc: None,
                auroc_energy: None,
            }],
            seed: 1,
            commit: "c".into(),
        };
        let text = serde_json::to_vec(&good).unwrap();
        assert_eq!(Scores::parse(&text, "m").unwrap(), good);
        assert!(Scores::parse(&text[..text.len() - 2], "m").is_err());
        let mut short = good.clone();
        short.sets[0].energy.pop();
        assert!(Scores::parse(&serde_json::to_vec(&short).unwrap(), "m").is_err());
    }

    #[test]
    fn other_tables_are_refused() {
        let set = ScoredSet {
            name: "a".into(),
            title: "A".into(),
            images: 1,
            energy: quantiles(&[1.0]),
            ood: None,
            auroc: None,
            auroc_energy: None,
        };
        let parse = |format, sets: &[ScoredSet]| {
            let table = Scores {
                format,
                model: "m".into(),
                sets: sets.to_vec(),
                seed: 1,
                commit: "c".into(),
            };
            Scores::parse(&serde_json::to_vec(&table).unwrap(), "m")
        };
        // One image is enough.
        assert!(parse(1, std::slice::from_ref(&set)).is_ok());
        assert!(parse(2, std::slice::from_ref(&set)).is_err());
        assert!(parse(1, &[]).is_err());
        let empty = ScoredSet {
            images: 0,
            ..set.clone()
        };
        assert!(parse(1, &[set.clone(), empty]).is_err());
        let mut descending = set;
        descending.energy[0] = 2.0;
        assert!(parse(1, &[descending]).is_err());
    }
}
