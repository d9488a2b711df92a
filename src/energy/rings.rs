//! Rings: three concentric donuts of equal mass.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    Registration,
    density::{On, Plane},
};

pub const REGISTRATION: Registration = Registration {
    name: "rings",
    title: "Rings",
    description: "Three concentric rings of equal mass with almost no mass between them: each ring is a donut, and together they are a mixture.",
    steps: &[
        ("rwm", 0.5),
        ("ula", 0.08),
        ("sgld", 0.08),
        ("mala", 0.2),
        ("hmc", 0.12),
        ("nuts", 0.12),
        ("underdamped", 0.12),
        ("tempering", 0.2),
    ],
    build: |_| Arc::new(On::new(Rings)),
};

/// p ∝ Σₖ (1/rₖ) exp(−(r − rₖ)²/(2s²)).
struct Rings;

const RADII: [f64; 3] = [1.0, 2.2, 3.4];
const S: f64 = 0.16;

impl Plane for Rings {
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3] {
        let r = (x.clone().powi_scalar(2) + y.clone().powi_scalar(2) + 1e-12).sqrt();
        let logs = RADII
            .map(|k| ((r.clone() - k) / S).powi_scalar(2) * -0.5 - k.ln())
            .to_vec();
        let logs = Tensor::cat(logs, 1);
        let top = logs.clone().max_dim(1);
        let weights = (logs - top.clone()).exp();
        let sum = weights.clone().sum_dim(1);
        let [_, rings] = weights.dims();
        let slopes = (0..rings)
            .map(|k| weights.clone().narrow(1, k, 1) * ((r.clone() - RADII[k]) / (S * S)))
            .reduce(|a, b| a + b)
            .map_or_else(|| r.zeros_like(), |s| s / sum.clone());
        let slope = slopes / r;
        [-(sum.log() + top), slope.clone() * x, slope * y]
    }

    fn bounds(&self) -> [f64; 4] {
        [-4.5, 4.5, -4.5, 4.5]
    }

    fn log_density(&self, x: f64, y: f64) -> f64 {
        let r = x.hypot(y);
        let logs = RADII.map(|k| -0.5 * ((r - k) / S).powi(2) - k.ln());
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
    }

    fn mode(&self) -> [f64; 2] {
        [RADII[1], 0.0]
    }
}
