//! Neal's funnel, in two dimensions.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    Marginal, Registration,
    density::{On, Plane},
};
use crate::rng::{Purpose, Rng};

pub const REGISTRATION: Registration = Registration {
    name: "funnel",
    title: "Neal's funnel",
    description: "The scale of x is a coordinate too (Neal 2003): v ~ N(0, 3²), x ~ N(0, eᵛ). No step size fits both the neck and the mouth; hierarchical models look like this.",
    steps: &[
        ("rwm", 1.5),
        ("ula", 0.2),
        ("sgld", 0.2),
        ("mala", 0.7),
        ("hmc", 0.5),
        ("nuts", 0.4),
        ("underdamped", 0.4),
        ("tempering", 0.6),
    ],
    build: |_| Arc::new(On::new(Funnel)),
};

/// E(v, x) = v²/18 + x²e⁻ᵛ/2 + v/2.
struct Funnel;

const SD: f64 = 3.0;

fn log_density(v: f64, x: f64) -> f64 {
    -0.5 * (v / SD).powi(2) - 0.5 * x * x * (-v).exp() - 0.5 * v
}

impl Plane for Funnel {
    fn energy(&self, v: Tensor<2>, x: Tensor<2>) -> [Tensor<2>; 3] {
        let precision = v.clone().neg().exp();
        let half = x.clone().powi_scalar(2) * precision.clone() * 0.5;
        let energy = v.clone().powi_scalar(2) / (2.0 * SD * SD) + half.clone() + v.clone() * 0.5;
        [energy, v / (SD * SD) - half + 0.5, x * precision]
    }

    fn names(&self) -> [&'static str; 2] {
        ["v", "x"]
    }

    fn bounds(&self) -> [f64; 4] {
        [-9.0, 9.0, -20.0, 20.0]
    }

    /// Beside the neck the energy is exponentially steep: a chain that starts there is always rejected
    /// at any step size that suits the rest. That would test the start, not the sampler.
    fn start_bounds(&self) -> Option<[f64; 4]> {
        Some([-1.0, 7.0, -4.0, 4.0])
    }

    fn log_density(&self, v: f64, x: f64) -> f64 {
        log_density(v, x)
    }

    fn mode(&self) -> [f64; 2] {
        [3.0, 0.0]
    }

    /// v in closed form. The mouth reaches far beyond the plotting window, so the marginal of x is
    /// integrated over v for every x; its standard deviation is e^{9/4}.
    fn closed_marginals(&self) -> Option<Vec<Marginal>> {
        let line = |low: f64, high: f64, n: usize| -> Vec<f64> {
            (0..n)
                .map(|i| low + (high - low) * (i as f64 + 0.5) / n as f64)
                .collect()
        };
        let vs = line(-15.0, 15.0, 600);
        let normal: Vec<f64> = vs.iter().map(|v| (-0.5 * (v / SD).powi(2)).exp()).collect();
        let xs = line(-20.0, 20.0, 400);
        let dv = vs[1] - vs[0];
        let norm = std::f64::consts::TAU * SD;
        let density: Vec<f64> = xs
            .iter()
            .map(|&x| vs.iter().map(|&v| log_density(v, x).exp()).sum::<f64>() * dv / norm)
            .collect();
        Some(vec![
            Marginal::from_grid("v".into(), vs, normal),
            Marginal {
                name: "x".into(),
                grid: xs,
                density,
                mean: 0.0,
                sd: (SD * SD / 4.0).exp(),
            },
        ])
    }

    fn closed_draws(&self, rng: &Rng, step: u32, n: usize) -> Option<Vec<[f32; 2]>> {
        let xi = rng.normals(Purpose::Data, step, n, 2);
        let at = |p: &[f32]| {
            let v = SD * f64::from(p[0]);
            [v as f32, ((0.5 * v).exp() * f64::from(p[1])) as f32]
        };
        Some(xi.chunks(2).map(at).collect())
    }
}
