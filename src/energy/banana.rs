//! The banana: a Gaussian bent along a parabola.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    Registration,
    density::{On, Plane},
};
use crate::rng::{Purpose, Rng};

pub const REGISTRATION: Registration = Registration {
    name: "banana",
    title: "Banana",
    description: "A Gaussian bent along a parabola (Haario et al. 1999). No single scale fits both its arms and its middle: curvature slows samplers here.",
    steps: &[
        ("rwm", 0.8),
        ("ula", 0.2),
        ("sgld", 0.2),
        ("mala", 0.5),
        ("hmc", 0.3),
        ("nuts", 0.3),
        ("underdamped", 0.3),
        ("tempering", 0.4),
    ],
    build: |_| Arc::new(On::new(Banana)),
};

/// x ~ N(0, a²), y | x ~ N(b(x² − a²), s²).
struct Banana;

const A: f64 = 1.6;
const B: f64 = 0.5;
const S: f64 = 0.5;

impl Plane for Banana {
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3] {
        let d = (y - x.clone().powi_scalar(2) * B + B * A * A) / S;
        let dy = d.clone() / S;
        let energy = (x.clone() / A).powi_scalar(2) * 0.5 + d.powi_scalar(2) * 0.5;
        let dx = x.clone() / (A * A) - dy.clone() * x * (2.0 * B);
        [energy, dx, dy]
    }

    fn bounds(&self) -> [f64; 4] {
        [-8.0, 8.0, -4.0, 20.0]
    }

    fn log_density(&self, x: f64, y: f64) -> f64 {
        let d = (y - B * (x * x - A * A)) / S;
        -0.5 * (x / A).powi(2) - 0.5 * d * d
    }

    fn mode(&self) -> [f64; 2] {
        [0.0, -B * A * A]
    }

    fn closed_draws(&self, rng: &Rng, step: u32, n: usize) -> Option<Vec<[f32; 2]>> {
        let xi = rng.normals(Purpose::Data, step, n, 2);
        let bent = |v: &[f32]| {
            let x = A * f64::from(v[0]);
            [x as f32, (B * (x * x - A * A) + S * f64::from(v[1])) as f32]
        };
        Some(xi.chunks(2).map(bent).collect())
    }
}
