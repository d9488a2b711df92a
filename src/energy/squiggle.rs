//! The squiggle: a Gaussian sheared by a sine.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    Registration,
    density::{On, Plane},
};

pub const REGISTRATION: Registration = Registration {
    name: "squiggle",
    title: "Squiggle",
    description: "A Gaussian sheared by a sine (after Feng's MCMC gallery). Connected, but so winding that a step size that fits the bends explores the whole slowly.",
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
    build: |_| Arc::new(On::new(Squiggle)),
};

/// (x, y + sin 5x) ~ N(0, Σ), Σ = [[2, 0.25], [0.25, 0.5]].
struct Squiggle;

const K: f64 = 5.0;
/// Σ⁻¹ = [[P, −Q], [−Q, R]].
const P: f64 = 0.5 / (2.0 * 0.5 - 0.25 * 0.25);
const Q: f64 = 0.25 / (2.0 * 0.5 - 0.25 * 0.25);
const R: f64 = 2.0 / (2.0 * 0.5 - 0.25 * 0.25);

impl Plane for Squiggle {
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3] {
        let v = y + (x.clone() * K).sin();
        let dy = v.clone() * R - x.clone() * Q;
        let du = x.clone() * P - v.clone() * Q;
        let energy = (x.clone() * du.clone() + v * dy.clone()) * 0.5;
        let dx = du + dy.clone() * (x * K).cos() * K;
        [energy, dx, dy]
    }

    fn bounds(&self) -> [f64; 4] {
        [-7.0, 7.0, -5.0, 5.0]
    }

    fn log_density(&self, x: f64, y: f64) -> f64 {
        let v = y + (K * x).sin();
        -0.5 * (P * x * x - 2.0 * Q * x * v + R * v * v)
    }

    fn mode(&self) -> [f64; 2] {
        [0.0, 0.0]
    }
}
