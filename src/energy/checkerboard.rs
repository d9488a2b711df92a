//! The checkerboard: eight plateaus that touch at their corners.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    Registration,
    density::{On, Plane},
};

pub const REGISTRATION: Registration = Registration {
    name: "checkerboard",
    title: "Checkerboard",
    description: "Eight squares of a board, flat inside, with steep sides and touching corners: the gradient vanishes where the mass is.",
    steps: &[
        ("rwm", 0.8),
        ("ula", 0.15),
        ("sgld", 0.15),
        ("mala", 0.3),
        ("hmc", 0.2),
        ("nuts", 0.2),
        ("underdamped", 0.2),
        ("tempering", 0.3),
    ],
    build: |_| Arc::new(On::new(Checkerboard)),
};

/// E = H·(1 − tanh(K·sin(πx/2)·sin(πy/2)))/2 + W·(relu(|x| − 4)² + relu(|y| − 4)²).
struct Checkerboard;

/// Height of the steps, in nats.
const H: f64 = 7.0;
/// Steepness of the steps.
const K: f64 = 5.0;
/// The wall around the board.
const W: f64 = 20.0;
const EDGE: f64 = 4.0;
const FREQUENCY: f64 = std::f64::consts::FRAC_PI_2;

/// Energy and slope of the wall along one axis.
fn wall(x: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let over = (x.clone().abs() - EDGE).clamp_min(0.0);
    (
        over.clone().powi_scalar(2) * W,
        over * x.clone().sign() * (2.0 * W),
    )
}

impl Plane for Checkerboard {
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3] {
        let (sx, cx) = ((x.clone() * FREQUENCY).sin(), (x.clone() * FREQUENCY).cos());
        let (sy, cy) = ((y.clone() * FREQUENCY).sin(), (y.clone() * FREQUENCY).cos());
        let t = (sx.clone() * sy.clone() * K).tanh();
        // d/du of H(1 − tanh u)/2 is −H(1 − tanh² u)/2.
        let slope = (t.clone().powi_scalar(2) - 1.0) * (0.5 * H * K * FREQUENCY);
        let ((wx, gx), (wy, gy)) = (wall(&x), wall(&y));
        let energy = (t.neg() + 1.0) * (0.5 * H) + wx + wy;
        [energy, slope.clone() * cx * sy + gx, slope * sx * cy + gy]
    }

    fn bounds(&self) -> [f64; 4] {
        [-5.0, 5.0, -5.0, 5.0]
    }

    fn log_density(&self, x: f64, y: f64) -> f64 {
        let u = K * (FREQUENCY * x).sin() * (FREQUENCY * y).sin();
        let wall = |v: f64| W * (v.abs() - EDGE).max(0.0).powi(2);
        -0.5 * H * (1.0 - u.tanh()) - wall(x) - wall(y)
    }

    fn mode(&self) -> [f64; 2] {
        [1.0, 1.0]
    }
}
