//! Held-out-digit anomaly detection, with the protocol of Zenati et al. (2018), also used by MEG and
//! DAMC.
//!
//! All 70,000 digits are pooled. 80 % of the normal digits are used for training, in the order of
//! numpy's `RandomState(42).permutation`; the test set is the other 20 % and all images of the held-out
//! digit. Anomalies are the positive class; the score is the model's energy of the image.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::roc::{auprc, auroc};
use crate::{
    data::{self, Dataset},
    device::read,
    error::{Error, Result},
    system::latent_prior::{LatentStage, Training, infer::PosteriorEnergy, ratio::Arm, split},
    train::Batches,
};

/// `numpy.random.RandomState(seed).permutation(n)`, which defines the split: Fisher–Yates from the end,
/// each index by rejection of masked Mersenne Twister words (numpy's legacy `random_interval`).
pub fn numpy_permutation(seed: u32, n: usize) -> Vec<usize> {
    let mut words = rand_mt::Mt::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let mask = u32::MAX >> (i as u32).leading_zeros();
        let j = loop {
            let value = words.next_u32() & mask;
            if value as usize <= i {
                break value as usize;
            }
        };
        order.swap(i, j);
    }
    order
}

/// Training and test set of the benchmark.
pub struct Pool {
    /// 80 % of the normal digits.
    pub train: Dataset,
    /// The other normal digits, then every image of the held-out digit.
    pub test: Dataset,
    /// Whether each test image is an anomaly.
    pub anomalous: Vec<bool>,
}

impl Pool {
    /// Splits the pooled digits. Only every `keep`-th test image is used; 1 for all.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown class.
    pub fn new(parts: [&Dataset; 2], held_out: u8, keep: usize) -> Result<Self> {
        let [first, second] = parts;
        let dim: usize = first.shape().iter().product();
        let labels: Vec<u8> = first.labels.iter().chain(&second.labels).copied().collect();
        let of = |normal: bool| -> Vec<usize> {
            (0..labels.len())
                .filter(|&i| (labels[i] != held_out) == normal)
                .collect()
        };
        let (normal, anomalies) = (of(true), of(false));
        if anomalies.is_empty() || normal.is_empty() {
            return Err(Error::invalid(
                "held-out class",
                "a class of the data set",
                held_out,
                "choose one of its digits",
            ));
        }
        let order = numpy_permutation(42, normal.len());
        let shuffled: Vec<usize> = order.into_iter().map(|i| normal[i]).collect();
        let (learned, rest) = shuffled.split_at(normal.len() * 8 / 10);
        let take = |indices: &[usize]| {
            let mut images = Vec::with_capacity(indices.len() * dim);
            for &i in indices {
                let (data, i) = match i.checked_sub(first.count) {
                    None => (first, i),
                    Some(i) => (second, i),
                };
                images.extend_from_slice(&data.images[i * dim..(i + 1) * dim]);
            }
            Dataset {
                images,
                labels: indices.iter().map(|&i| labels[i]).collect(),
                count: indices.len(),
                ..first.clone()
            }
        };
        let tested: Vec<usize> = rest
            .iter()
            .chain(&anomalies)
            .copied()
            .step_by(keep.max(1))
            .collect();
        Ok(Self {
            train: take(learned),
            anomalous: tested.iter().map(|&i| labels[i] == held_out).collect(),
            test: take(&tested),
        })
    }

    /// Share of anomalies in the test set: the AUPRC of a random ranking.
    pub fn base_rate(&self) -> f64 {
        self.anomalous.iter().filter(|&&a| a).count() as f64 / self.anomalous.len() as f64
    }
}

/// Training budget of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Number of epochs; evaluated after each of the last ten.
    Epochs(u64),
    /// Number of iterations; evaluated at the same shares of the budget as with seconds.
    Iterations(u64),
    /// Seconds of training; evaluated at ten equidistant points from 55 % to 100 % of the budget.
    Seconds(f64),
}

/// Result of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnomalyResult {
    /// The held-out digit.
    pub digit: u8,
    /// The arm.
    pub arm: String,
    /// Seed.
    pub seed: u64,
    /// The budget.
    pub budget: Budget,
    /// Share of anomalies.
    pub base_rate: f64,
    /// Number of test images.
    pub images: usize,
    /// AUPRC at each evaluation; none is selected.
    pub auprc: Vec<f64>,
    /// AUROC at each evaluation.
    pub auroc: Vec<f64>,
    /// Training iterations.
    pub iterations: u64,
    /// Number of ratios of the final prior.
    pub stages: usize,
    /// Seconds of training, without evaluations.
    pub seconds: f64,
    /// Display name of the device.
    pub device: String,
    /// Commit of the program.
    pub commit: String,
}

/// Number of evaluations of a run.
pub const JUDGEMENTS: usize = 10;

/// Trains and evaluates one run; `report` receives AUPRC and AUROC of every evaluation. Returns the
/// AUPRCs, the AUROCs, the training, and its seconds.
///
/// # Errors
/// [`Error::Invalid`] when the warm-up lasts until the first evaluation; whatever training reports.
pub fn run(
    stage: &LatentStage,
    seed: u64,
    pool: &Pool,
    budget: Budget,
    steps: usize,
    device: &Device,
    report: &mut dyn FnMut(f64, f64),
) -> Result<(Vec<f64>, Vec<f64>, Training, f64)> {
    let (train, held_out) = split(pool.train.clone(), stage.held_out)?;
    let train = std::sync::Arc::new(train);
    let order: Vec<usize> = (0..held_out.count).collect();
    let held_out = data::images(&held_out, &order, device);
    let mut training = Training::new(stage, seed, device)?;
    let mut batches = Batches::new(&train, seed, stage.batch, 8, device);
    let per_epoch = (train.count / stage.batch).max(1) as u64;
    let (mut precision, mut roc) = (Vec::new(), Vec::new());
    let mut seconds = 0.0;
    // Share of the budget at which evaluation k of ten is due.
    let due = |k: usize| match budget {
        Budget::Epochs(n) => 1.0 - (JUDGEMENTS - 1 - k) as f64 / n as f64,
        Budget::Iterations(_) | Budget::Seconds(_) => 0.55 + 0.05 * k as f64,
    };
    // Share of the budget spent so far.
    let share = |iteration: u64, seconds: f64| match budget {
        Budget::Epochs(n) => iteration as f64 / (n * per_epoch) as f64,
        Budget::Iterations(n) => iteration as f64 / n as f64,
        Budget::Seconds(s) => seconds / s,
    };
    // For a budget in seconds the number of iterations is not known in advance: no check.
    if stage.prior.arm != Arm::Gaussian && share(stage.warmup, 0.0) >= due(0) {
        // Every arm would be evaluated as N(0, I), and the table would compare nothing.
        return Err(Error::invalid(
            "latent.warmup",
            format!(
                "fewer iterations, so that the prior is trained before its first evaluation at {:.0} % of the run",
                100.0 * due(0)
            ),
            format!(
                "{} iterations, {:.0} % of the run",
                stage.warmup,
                100.0 * share(stage.warmup, 0.0)
            ),
            "lower it with --set latent.warmup=N, or give a longer run",
        ));
    }
    while precision.len() < JUDGEMENTS {
        let began = std::time::Instant::now();
        let x = batches.get(training.iteration);
        pollster::block_on(training.step(stage, x))?;
        pollster::block_on(training.check(stage, &held_out))?;
        seconds += began.elapsed().as_secs_f64();
        let share = share(training.iteration, seconds);
        while precision.len() < JUDGEMENTS && share >= due(precision.len()) - 1e-9 {
            let scores = score(stage, &training, &pool.test, steps, device)?;
            let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
            for (&s, &a) in scores.iter().zip(&pool.anomalous) {
                if a { anomalous.push(s) } else { normal.push(s) }
            }
            precision.push(auprc(&normal, &anomalous)?);
            roc.push(auroc(&normal, &anomalous)?);
            report(precision[precision.len() - 1], roc[roc.len() - 1]);
        }
    }
    Ok((precision, roc, training, seconds))
}

/// The score ‖x − g(z)‖²/(2σ²) + E(z) of every image, after `steps` gradient steps on it from z = 0.
fn score(
    stage: &LatentStage,
    training: &Training,
    data: &Dataset,
    steps: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let order: Vec<usize> = (0..data.count).collect();
    let mut scores = Vec::with_capacity(data.count);
    for chunk in order.chunks(250) {
        let posterior = PosteriorEnergy {
            generator: training.generator().clone(),
            ratios: training.prior.learned(),
            images: data::images(data, chunk, device),
            sigma: stage.sigma,
        };
        let drift = stage.posterior.step_size.powi(2) / 2.0;
        let (z, _) = pollster::block_on(posterior.descend(drift, steps))?;
        let terms = posterior.terms(&z);
        let energy = terms.reconstruction + terms.gaussian + terms.tilt;
        scores.extend(pollster::block_on(read::<1, f32>(energy))?);
    }
    if let Some(bad) = scores.iter().find(|s| !s.is_finite()) {
        return Err(Error::Diverged {
            problem: format!("a score is {bad}"),
            fix: "use fewer steps, or a smaller posterior.step_size".into(),
        });
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::Split,
        rng::{Purpose, Rng},
        system::latent_prior,
    };

    /// numpy 2.4: np.random.RandomState(42).permutation(n).
    #[test]
    fn permutation_matches_numpy() {
        assert_eq!(numpy_permutation(42, 10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        let long = numpy_permutation(42, 62_123);
        assert_eq!(long[..5], [4264, 35_110, 17_306, 31_646, 43_887]);
    }

    #[test]
    fn pool_is_split_by_the_protocol() {
        let set = |split, labels: Vec<u8>| Dataset {
            images: labels.clone(),
            count: labels.len(),
            labels,
            height: 1,
            width: 1,
            channels: 1,
            ..Dataset::empty("digits", split)
        };
        let first = set(Split::Train, (0..60).map(|i| i % 10).collect());
        let second = set(Split::Test, (0..40).map(|i| i % 10).collect());
        let pool = Pool::new([&first, &second], 3, 1).unwrap();
        // 90 normal: 72 for training, 18 for testing with the 10 anomalies.
        assert_eq!((pool.train.count, pool.test.count), (72, 28));
        assert!(pool.train.labels.iter().all(|&l| l != 3));
        assert!((pool.base_rate() - 10.0 / 28.0).abs() < 1e-12);
        for (label, anomalous) in pool.test.labels.iter().zip(&pool.anomalous) {
            assert_eq!(*label == 3, *anomalous);
        }
        // Here each image equals its label.
        assert_eq!(pool.test.images, pool.test.labels);
        assert!(Pool::new([&first, &second], 11, 1).is_err());
    }

    /// Ten evaluations, reported in order, none selected: the result is all of them.
    #[test]
    fn a_run_returns_every_one_of_its_ten_evaluations() {
        let device = Device::flex();
        let (_, smoke) = latent_prior::PRESETS
            .iter()
            .find(|p| p.0 == "smoke")
            .unwrap();
        let mut stage = smoke().latent;
        // Fast enough that the ranking of the images changes between two evaluations.
        (stage.learning_rate, stage.ema_half_life) = (0.02, 8.0);
        let dim: usize = stage.generator.shape.iter().product();
        let set = |split, count: usize, seed| Dataset {
            images: Rng::new(seed)
                .words(Purpose::Data, 0, count, dim)
                .iter()
                .map(|w| (w >> 24) as u8)
                .collect(),
            labels: (0..count).map(|i| (i % 10) as u8).collect(),
            count,
            height: stage.generator.shape[1],
            width: stage.generator.shape[2],
            channels: stage.generator.shape[0],
            ..Dataset::empty("digits", split)
        };
        let (first, second) = (set(Split::Train, 60, 1), set(Split::Test, 20, 2));
        let pool = Pool::new([&first, &second], 3, 1).unwrap();
        let mut reported = Vec::new();
        let budget = Budget::Iterations(20);
        let (precision, roc, training, _) =
            run(&stage, 1, &pool, budget, 2, &device, &mut |a, b| {
                reported.push((a, b))
            })
            .unwrap();
        assert_eq!(precision.len(), 10);
        let pairs: Vec<_> = precision.iter().copied().zip(roc.iter().copied()).collect();
        assert_eq!(pairs, reported);
        // They differ: each is of the training at its time, from 55 % of the run on.
        assert!(precision.windows(2).any(|w| w[0] != w[1]), "{precision:?}");
        assert_eq!(training.iteration, 20);
        // The last one, by its definition from the scores of the finished training.
        let scores = score(&stage, &training, &pool.test, 2, &device).unwrap();
        let side = |which: bool| -> Vec<f32> {
            let of = scores
                .iter()
                .zip(&pool.anomalous)
                .filter(|(_, a)| **a == which);
            of.map(|(s, _)| *s).collect()
        };
        assert_eq!(auroc(&side(false), &side(true)).unwrap(), roc[9]);
    }
}
