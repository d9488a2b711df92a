//! Autocovariance by FFT.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::{Draws, Range, mean_of};

/// The autocovariance of one chain at the lags 0, 1, …, n − 1, in squared units of the draws.
///
/// The divisor is n at every lag: biased, but it keeps the sequence positive definite, as Geyer's
/// truncation needs (ArviZ and posterior do the same). Lag 0 is thus the variance with divisor n.
/// All 0 for a constant chain, all NaN when a draw is not finite, empty for an empty chain.
pub fn autocovariance(chain: &[f64]) -> Vec<f64> {
    if chain.is_empty() {
        return Vec::new();
    }
    if !chain.iter().all(|x| x.is_finite()) {
        return vec![f64::NAN; chain.len()];
    }
    let moments = Autocovariance::new(chain.len()).mean(&Draws::contiguous(chain, 1), |x| x);
    if moments.constant {
        return vec![0.0; chain.len()];
    }
    moments.autocovariance
}

/// The autocorrelation of one chain at the lags 0, 1, …, n − 1: [`autocovariance`] over its value at
/// lag 0 (the definition of ArviZ).
///
/// All NaN for a constant chain or when a draw is not finite, empty for an empty chain.
pub fn autocorrelation(chain: &[f64]) -> Vec<f64> {
    let mut values = autocovariance(chain);
    if let Some(&variance) = values.first() {
        values.iter_mut().for_each(|value| *value /= variance);
    }
    values
}

/// Transforms for sequences of one length, planned once and reused for every statistic.
pub(super) struct Autocovariance {
    draws: usize,
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
    signal: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    power: Vec<f64>,
    scratch: Vec<Complex<f64>>,
}

/// Moments of sequences, as the ESS needs them.
pub(super) struct Moments {
    /// The mean of every sequence.
    pub(super) means: Vec<f64>,
    /// The autocovariance at every lag, averaged over the sequences.
    pub(super) autocovariance: Vec<f64>,
    /// Whether all values of all sequences are the same up to rounding.
    pub(super) constant: bool,
}

impl Autocovariance {
    /// Plans for sequences of `draws` ≥ 1 draws.
    pub(super) fn new(draws: usize) -> Self {
        let padded = padded_length(draws);
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(padded);
        let inverse = planner.plan_fft_inverse(padded);
        let spectrum = forward.make_output_vec();
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            draws,
            signal: forward.make_input_vec(),
            power: vec![0.0; spectrum.len()],
            spectrum,
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }

    /// The moments of `map` of the draws; the sequences must have the planned length.
    ///
    /// `map` computes an indicator or a square while the transform's buffer is filled, without copying
    /// all draws.
    pub(super) fn mean(&mut self, sequences: &Draws, map: impl Fn(f64) -> f64) -> Moments {
        let mut range = Range::default();
        let mut means = Vec::with_capacity(sequences.chains());
        let mut ok = true;
        self.power.fill(0.0);
        for sequence in sequences.iter() {
            // The transform overwrites the padding, so clear it every time.
            let (signal, padding) = self.signal.split_at_mut(self.draws);
            padding.fill(0.0);
            for (out, &x) in signal.iter_mut().zip(sequence) {
                *out = map(x);
                range.include(*out);
            }
            let mean = mean_of(signal);
            signal.iter_mut().for_each(|x| *x -= mean);
            means.push(mean);
            ok &= self
                .forward
                .process_with_scratch(&mut self.signal, &mut self.spectrum, &mut self.scratch)
                .is_ok();
            for (power, value) in self.power.iter_mut().zip(&self.spectrum) {
                *power += value.norm_sqr();
            }
        }
        // Averaging and the inverse transform commute, so one inverse serves all sequences.
        for (value, &power) in self.spectrum.iter_mut().zip(&self.power) {
            *value = Complex::new(power, 0.0);
        }
        ok &= self
            .inverse
            .process_with_scratch(&mut self.spectrum, &mut self.signal, &mut self.scratch)
            .is_ok();
        // realfft leaves the inverse unnormalised. It fails only for buffers of the wrong length, which
        // cannot happen here; if it did, the result would be NaN rather than wrong.
        let scale = if ok {
            1.0 / (self.signal.len() as f64 * self.draws as f64 * means.len() as f64)
        } else {
            f64::NAN
        };
        let autocovariance = self.signal[..self.draws]
            .iter()
            .map(|x| x * scale)
            .collect();
        Moments {
            means,
            autocovariance,
            constant: range.is_point(),
        }
    }
}

/// The next fast FFT length of at least 2n, so that no lag wraps around onto another.
fn padded_length(draws: usize) -> usize {
    let smooth = |mut length: usize| {
        for prime in [2, 3, 5] {
            while length.is_multiple_of(prime) {
                length /= prime;
            }
        }
        length == 1
    };
    // Even, as the real transform is then half the size. A power of two ends the search.
    let mut length = 2 * draws;
    while !smooth(length) {
        length += 2;
    }
    length
}
