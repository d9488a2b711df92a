//! Sampling-importance-resampling (Rubin 1987): draws from N(0, I), weighted by exp(−Σ U_j) and
//! resampled. It needs no chain, but the weights degenerate where the ratios are far from 1; their ESS
//! shows it.

use burn::tensor::{Device, Tensor, TensorData};

use super::density::tilt_of;
use crate::{
    device::read,
    error::{Error, Result},
    nn::tilt::Tilt,
    rng::{Purpose, Rng},
};

/// Result of a resampling.
pub struct Resampled {
    /// Draws, `[count, n]`.
    pub z: Tensor<2>,
    /// Effective sample size (Σw)²/Σw² of the proposals' weights.
    pub ess: f64,
    /// Number of proposals.
    pub proposals: usize,
    /// Number of distinct proposals among the draws.
    pub distinct: usize,
}

/// Proposals evaluated at once.
const CHUNK: usize = 10_000;

/// Systematic resampling (Kitagawa 1996): one uniform, `count` equidistant points in the weights'
/// cumulative sum. Returns the indices and the ESS of the weights. `log_weights` need not be normalised;
/// −∞ is never drawn.
pub fn systematic(log_weights: &[f64], count: usize, uniform: f64) -> (Vec<usize>, f64) {
    let top = log_weights
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = log_weights.iter().map(|w| (w - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let square: f64 = weights.iter().map(|w| w * w).sum();
    let (mut i, mut upto) = (0, weights[0]);
    let indices = (0..count)
        .map(|k| {
            let at = (k as f64 + uniform) / count as f64 * sum;
            while upto <= at && i + 1 < weights.len() {
                i += 1;
                upto += weights[i];
            }
            i
        })
        .collect();
    (indices, sum * sum / square)
}

/// log w = −U/T; −∞ where U is not a number, so that such a draw is never chosen.
pub(super) fn log_weight(tilt: f64, temperature: f64) -> f64 {
    match tilt.is_nan() {
        true => f64::NEG_INFINITY,
        false => -tilt / temperature,
    }
}

/// `count` draws of the prior at temperature T by resampling `proposals` draws of N(0, T·I).
///
/// # Errors
/// [`Error::Invalid`] for fewer proposals than draws, [`Error::Diverged`] when no weight is finite,
/// [`Error::Device`] when the device cannot be read.
pub async fn resample(
    ratios: &[Tilt],
    latent: usize,
    rng: &Rng,
    [count, proposals]: [usize; 2],
    temperature: f64,
    device: &Device,
) -> Result<Resampled> {
    Error::unless_within("proposals", proposals, count.max(1), 1_000_000)?;
    let mut log_weights = Vec::with_capacity(proposals);
    let chunk = |start: usize| -> Tensor<2> {
        let n = CHUNK.min(proposals - start);
        let step = (start / CHUNK) as u32;
        let z = rng.normal_tensor(Purpose::Proposed, step, n, latent, device);
        z * temperature.sqrt()
    };
    for start in (0..proposals).step_by(CHUNK) {
        let tilt: Vec<f64> = read(tilt_of(ratios, &chunk(start))).await?;
        log_weights.extend(tilt.into_iter().map(|u| log_weight(u, temperature)));
    }
    if !log_weights.iter().any(|w| w.is_finite()) {
        return Err(Error::Diverged {
            problem: "no proposal has a finite weight".into(),
            fix: "choose another stage, or sample with a chain".into(),
        });
    }
    let uniform = rng.uniforms(Purpose::Choice, 0, 1, 1)[0];
    let (indices, ess) = systematic(&log_weights, count, f64::from(uniform));
    let mut distinct = indices.clone();
    distinct.dedup();
    let mut values = Vec::with_capacity(count * latent);
    for start in (0..proposals).step_by(CHUNK) {
        let wanted: Vec<usize> = indices
            .iter()
            .filter(|&&i| (start..start + CHUNK).contains(&i))
            .map(|&i| i - start)
            .collect();
        if !wanted.is_empty() {
            let rows: Vec<f32> = read(chunk(start)).await?;
            for i in wanted {
                values.extend_from_slice(&rows[i * latent..(i + 1) * latent]);
            }
        }
    }
    Ok(Resampled {
        z: Tensor::from_data(TensorData::new(values, [count, latent]), device),
        ess,
        proposals,
        distinct: distinct.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resampling_follows_the_weights_and_reports_their_ess() {
        let weights = [0.1f64, 0.2, 0.3, 0.4].map(f64::ln);
        let (indices, ess) = systematic(&weights, 10, 0.5);
        assert_eq!(indices, [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]);
        assert!((ess - 1.0 / 0.3).abs() < 1e-12);
        let (_, even) = systematic(&[7.0; 5], 3, 0.1);
        assert!((even - 5.0).abs() < 1e-12);
        // Extreme log weights: no overflow, and weights of 0 are never drawn.
        let (indices, ess) = systematic(&[-1e4, 1e4, f64::NEG_INFINITY], 4, 0.9);
        assert_eq!((indices, ess), (vec![1; 4], 1.0));
    }
}
