//! The donut: a narrow valley around a circle.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    Registration,
    density::{On, Plane},
};

pub const REGISTRATION: Registration = Registration {
    name: "donut",
    title: "Donut",
    description: "A narrow valley around a circle. All points of the ring are equally likely, but chains must follow the curve to reach them.",
    steps: &[
        ("rwm", 0.4),
        ("ula", 0.1),
        ("sgld", 0.1),
        ("mala", 0.22),
        ("hmc", 0.15),
        ("nuts", 0.15),
        ("underdamped", 0.15),
        ("tempering", 0.22),
    ],
    build: |_| Arc::new(On::new(Donut)),
};

/// E = (r − R)²/(2s²).
struct Donut;

const R: f64 = 2.6;
const S: f64 = 0.18;

/// r = √(x² + y² + δ): smooth at the centre, where the density is negligible.
fn radius(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    (x.powi_scalar(2) + y.powi_scalar(2) + 1e-12).sqrt()
}

impl Plane for Donut {
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3] {
        let r = radius(x.clone(), y.clone());
        let d = (r.clone() - R) / S;
        let slope = d.clone() / S / r;
        [d.powi_scalar(2) * 0.5, slope.clone() * x, slope * y]
    }

    fn bounds(&self) -> [f64; 4] {
        [-4.0, 4.0, -4.0, 4.0]
    }

    fn log_density(&self, x: f64, y: f64) -> f64 {
        -0.5 * ((x.hypot(y) - R) / S).powi(2)
    }

    fn mode(&self) -> [f64; 2] {
        [R, 0.0]
    }
}
