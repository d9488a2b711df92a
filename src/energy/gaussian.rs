//! Gaussians: one with independent coordinates in any dimension, and an ill-conditioned one in the
//! plane.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    Conditionals, Energy, Evaluation, Point, Registration, Space,
    density::{On, Plane},
};
use crate::rng::{Purpose, Rng};

/// A Gaussian with independent coordinates: E(x) = Σ (xᵢ − mᵢ)²/(2sᵢ²).
pub struct Gaussian {
    mean: Tensor<2>,
    sd: Tensor<2>,
    dim: usize,
}

impl Gaussian {
    /// `mean` and `sd`, one value per dimension (the shorter slice sets the dimension).
    pub fn new(mean: &[f32], sd: &[f32], device: &Device) -> Self {
        let dim = mean.len().min(sd.len());
        let row = |values: &[f32]| {
            Tensor::from_data(TensorData::new(values[..dim].to_vec(), [1, dim]), device)
        };
        Self {
            mean: row(mean),
            sd: row(sd),
            dim,
        }
    }
}

impl Energy for Gaussian {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: self.dim,
            image: None,
        }
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let [batch, _] = x.dims();
        let d = (x - self.mean.clone()) / self.sd.clone();
        Evaluation {
            energy: d.powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5,
            observed: None,
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        Point {
            energy: self.evaluate(x.clone()).energy,
            gradient: (x.clone() - self.mean.clone()) / self.sd.clone().powi_scalar(2),
            x,
            observed: None,
        }
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        Some(self)
    }
}

impl Conditionals for Gaussian {
    fn draw(&self, _x: Tensor<2>, i: usize, normal: Tensor<2>, _uniform: Tensor<2>) -> Tensor<2> {
        normal * self.sd.clone().narrow(1, i, 1) + self.mean.clone().narrow(1, i, 1)
    }
}

pub const REGISTRATION: Registration = Registration {
    name: "gaussian",
    title: "Ill-conditioned Gaussian",
    description: "Two standard deviations, 2 and 0.1, on axes rotated by 45°. The narrow one limits the step size, the wide one sets the distance to travel: the cost grows with the condition number.",
    steps: &[
        ("rwm", 0.3),
        ("ula", 0.1),
        ("sgld", 0.1),
        ("mala", 0.18),
        ("hmc", 0.12),
        ("nuts", 0.12),
        ("underdamped", 0.12),
        ("tempering", 0.18),
    ],
    build: |_| Arc::new(On::new(Tilted)),
};

/// u = (x + y)/√2 ~ N(0, WIDE²), v = (y − x)/√2 ~ N(0, NARROW²).
struct Tilted;

const WIDE: f64 = 2.0;
const NARROW: f64 = 0.1;
/// Precision matrix: DIAGONAL on the diagonal, CROSS off it.
const DIAGONAL: f64 = 0.5 / (WIDE * WIDE) + 0.5 / (NARROW * NARROW);
const CROSS: f64 = 0.5 / (WIDE * WIDE) - 0.5 / (NARROW * NARROW);

impl Plane for Tilted {
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3] {
        // Via u and v: the quadratic form in x and y would lose digits to cancellation.
        let u = (x.clone() + y.clone()) * std::f64::consts::FRAC_1_SQRT_2;
        let v = (y - x) * std::f64::consts::FRAC_1_SQRT_2;
        let energy =
            (u.clone() / WIDE).powi_scalar(2) * 0.5 + (v.clone() / NARROW).powi_scalar(2) * 0.5;
        let (du, dv) = (u / (WIDE * WIDE), v / (NARROW * NARROW));
        let dx = (du.clone() - dv.clone()) * std::f64::consts::FRAC_1_SQRT_2;
        let dy = (du + dv) * std::f64::consts::FRAC_1_SQRT_2;
        [energy, dx, dy]
    }

    fn bounds(&self) -> [f64; 4] {
        [-6.0, 6.0, -6.0, 6.0]
    }

    fn log_density(&self, x: f64, y: f64) -> f64 {
        -0.25 * ((x + y) / WIDE).powi(2) - 0.25 * ((y - x) / NARROW).powi(2)
    }

    fn mode(&self) -> [f64; 2] {
        [0.0, 0.0]
    }

    fn closed_draws(&self, rng: &Rng, step: u32, n: usize) -> Option<Vec<[f32; 2]>> {
        let xi = rng.normals(Purpose::Data, step, n, 2);
        let turned = |p: &[f32]| {
            let (u, v) = (WIDE as f32 * p[0], NARROW as f32 * p[1]);
            let half = std::f32::consts::FRAC_1_SQRT_2;
            [(u - v) * half, (u + v) * half]
        };
        Some(xi.chunks(2).map(turned).collect())
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        Some(self)
    }
}

impl Conditionals for Tilted {
    fn draw(&self, x: Tensor<2>, i: usize, normal: Tensor<2>, _uniform: Tensor<2>) -> Tensor<2> {
        let other = x.narrow(1, 1 - i, 1);
        other * (-CROSS / DIAGONAL) + normal / DIAGONAL.sqrt()
    }
}
