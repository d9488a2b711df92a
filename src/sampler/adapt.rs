//! Dual averaging of the log step size towards a target acceptance (Nesterov 2009; Hoffman & Gelman
//! 2014, "The No-U-Turn Sampler", Algorithm 5, with its γ, t₀ and κ).

use serde::{Deserialize, Serialize};

/// Step-size adaptation of one group of chains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DualAveraging {
    target: f64,
    mu: f64,
    count: f64,
    error: f64,
    log_step: f64,
    log_average: f64,
}

const GAMMA: f64 = 0.05;
const T0: f64 = 10.0;
const KAPPA: f64 = 0.75;

impl DualAveraging {
    /// Starts at `step` and adapts to a mean acceptance of `target`. The paper shrinks towards ten times
    /// the first step, which suits a cautious guess. Here μ is the first step itself: it comes from a
    /// model card, and a warm-up of a few transitions must not end far above it.
    pub fn new(step: f64, target: f64) -> Self {
        Self {
            target,
            mu: step.ln(),
            count: 0.0,
            error: 0.0,
            log_step: step.ln(),
            log_average: step.ln(),
        }
    }

    /// Updates with the mean acceptance probability of one transition; returns the step size for the
    /// next. A non-finite acceptance counts as 0.
    pub fn update(&mut self, accept: f64) -> f64 {
        let accept = if accept.is_finite() { accept } else { 0.0 };
        self.count += 1.0;
        let w = 1.0 / (self.count + T0);
        self.error = (1.0 - w) * self.error + w * (self.target - accept);
        self.log_step = self.mu - self.count.sqrt() / GAMMA * self.error;
        let eta = self.count.powf(-KAPPA);
        self.log_average = eta * self.log_step + (1.0 - eta) * self.log_average;
        self.log_step.exp()
    }

    /// The target acceptance.
    pub fn target(&self) -> f64 {
        self.target
    }

    /// The averaged step size, which is kept after warm-up.
    pub fn frozen(&self) -> f64 {
        self.log_average.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recursion for the error has a closed form, Σ(δ − α)/(n + t₀); the average is taken by hand.
    #[test]
    fn updates_match_the_closed_form() {
        let mut adapter = DualAveraging::new(0.3, 0.8);
        let accepts = [0.9, 0.2, f64::NAN, 1.0, 0.6];
        let (mut sum, mut average) = (0.0, 0.0);
        for (i, accept) in accepts.into_iter().enumerate() {
            let n = i as f64 + 1.0;
            // A non-finite acceptance counts as 0.
            sum += 0.8 - if accept.is_nan() { 0.0 } else { accept };
            let expected = 0.3f64.ln() - n.sqrt() / 0.05 * sum / (n + 10.0);
            let found = adapter.update(accept).ln();
            assert!((found - expected).abs() < 1e-12, "{n}: {found}, {expected}");
            let weight = n.powf(-0.75);
            average = weight * expected + (1.0 - weight) * average;
            assert!((adapter.frozen().ln() - average).abs() < 1e-12, "{n}");
        }
    }
}
