//! Mixtures of isotropic Gaussians: two modes, eight modes, and densities drawn by the user.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use super::{Conditionals, Density, Energy, Evaluation, Point, Registration, Space, Steps};
use crate::{
    error::{Error, Result},
    rng::{Purpose, Rng},
};

pub const TWO_MODES: Registration = Registration {
    name: "two-modes",
    title: "Two modes",
    description: "One mode holds 70 % of the mass and the other 30 %. Chains cross the saddle between them now and then: does yours get the shares right?",
    steps: &[
        ("rwm", 1.2),
        ("ula", 0.3),
        ("sgld", 0.3),
        ("mala", 0.8),
        ("hmc", 0.5),
        ("nuts", 0.5),
        ("underdamped", 0.5),
        ("tempering", 0.8),
    ],
    build: |device| {
        Arc::new(Mixture::weighted(
            &[([-1.7, 0.0], 0.7), ([1.7, 0.0], 0.3)],
            0.6,
            [-5.0, 5.0, -4.0, 4.0],
            device,
        ))
    },
};

pub const EIGHT_MODES: Registration = Registration {
    name: "eight-modes",
    title: "Eight modes",
    description: "Eight narrow Gaussians on a circle, of equal mass, with nothing between them. Local moves do not cross; every chain stays in the mode it started in.",
    steps: &[
        ("rwm", 0.25),
        ("ula", 0.06),
        ("sgld", 0.06),
        ("mala", 0.18),
        ("hmc", 0.12),
        ("nuts", 0.12),
        ("underdamped", 0.12),
        ("tempering", 0.18),
    ],
    build: |device| {
        let modes: Vec<_> = (0..8)
            .map(|k| {
                let angle = std::f32::consts::TAU * k as f32 / 8.0;
                ([2.5 * angle.cos(), 2.5 * angle.sin()], 1.0)
            })
            .collect();
        Arc::new(Mixture::weighted(
            &modes,
            0.15,
            [-4.0, 4.0, -4.0, 4.0],
            device,
        ))
    },
};

/// A mixture of isotropic Gaussians: E(x) = −log Σₖ wₖ exp(−‖x − mₖ‖²/(2s²)).
pub struct Mixture {
    /// `[K, D]`
    means: Tensor<2>,
    /// `[1, K]`
    log_weights: Tensor<2>,
    /// Means (first two coordinates) and weights on the host.
    host: Vec<([f64; 2], f64)>,
    sd: f64,
    bounds: [f64; 4],
}

impl Mixture {
    /// `means`: K rows of D values, with equal weights.
    pub fn new<const D: usize>(means: &[[f32; D]], sd: f64, device: &Device) -> Self {
        let parts: Vec<_> = means.iter().map(|m| (*m, 1.0)).collect();
        Self::weighted(&parts, sd, [-4.0, 4.0, -4.0, 4.0], device)
    }

    /// `parts`: means and weights (which need not sum to 1). `bounds`: the plotting window.
    pub fn weighted<const D: usize>(
        parts: &[([f32; D], f64)],
        sd: f64,
        bounds: [f64; 4],
        device: &Device,
    ) -> Self {
        let total: f64 = parts.iter().map(|p| p.1).sum();
        let means: Vec<f32> = parts.iter().flat_map(|p| p.0).collect();
        let logs: Vec<f32> = parts.iter().map(|p| (p.1 / total).ln() as f32).collect();
        let k = parts.len();
        Self {
            means: Tensor::from_data(TensorData::new(means, [k, D]), device),
            log_weights: Tensor::from_data(TensorData::new(logs, [1, k]), device),
            host: parts
                .iter()
                .map(|(m, w)| {
                    let second = m.get(1).copied().unwrap_or(0.0);
                    ([f64::from(m[0]), f64::from(second)], w / total)
                })
                .collect(),
            sd,
            bounds,
        }
    }

    /// Differences to every mean, `[B, K, D]`, and the log weights, `[B, K]`.
    fn terms(&self, x: Tensor<2>) -> (Tensor<3>, Tensor<2>) {
        let [batch, dim] = x.dims();
        let [modes, _] = self.means.dims();
        let d = x.reshape([batch, 1, dim]) - self.means.clone().reshape([1, modes, dim]);
        let logs = d.clone().powi_scalar(2).sum_dim(2).reshape([batch, modes])
            * (-0.5 / (self.sd * self.sd));
        (d, logs + self.log_weights.clone())
    }

    fn in_plane(&self) -> bool {
        self.means.dims()[1] == 2
    }
}

fn log_sum(logs: Tensor<2>) -> Tensor<1> {
    let [batch, _] = logs.dims();
    let top = logs.clone().max_dim(1);
    ((logs - top.clone()).exp().sum_dim(1).log() + top).reshape([batch])
}

impl Energy for Mixture {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: self.means.dims()[1],
            image: None,
        }
    }

    fn observables(&self) -> Vec<String> {
        if self.in_plane() {
            vec!["x".into(), "y".into()]
        } else {
            Vec::new()
        }
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let (_, logs) = self.terms(x.clone());
        Evaluation {
            energy: -log_sum(logs),
            observed: self.in_plane().then_some(x),
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let [batch, dim] = x.dims();
        let (d, logs) = self.terms(x.clone());
        let [_, modes] = logs.dims();
        let weights = softmax(logs.clone(), 1).reshape([batch, modes, 1]);
        Point {
            energy: -log_sum(logs),
            gradient: (d * weights).sum_dim(1).reshape([batch, dim]) * (1.0 / (self.sd * self.sd)),
            observed: self.in_plane().then(|| x.clone()),
            x,
        }
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        Some(self)
    }
}

impl Conditionals for Mixture {
    /// Given the other coordinates, xᵢ is a mixture again, with weights wₖ N(x₋ᵢ; mₖ,₋ᵢ, s²).
    fn draw(&self, x: Tensor<2>, i: usize, normal: Tensor<2>, uniform: Tensor<2>) -> Tensor<2> {
        let [batch, _] = x.dims();
        let (d, logs) = self.terms(x);
        let [_, modes] = logs.dims();
        let own =
            d.narrow(2, i, 1).powi_scalar(2).reshape([batch, modes]) * (0.5 / (self.sd * self.sd));
        let weights = softmax(logs + own, 1);
        let upto = weights.clone().cumsum(1);
        // Rounding may leave the sum below 1: scale the uniform by the sum.
        let u = uniform * upto.clone().narrow(1, modes - 1, 1);
        // Shift the sums by one instead of subtracting weights: every u then lies in exactly one
        // interval.
        let mut before = vec![u.zeros_like() - 1.0];
        if modes > 1 {
            before.push(upto.clone().narrow(1, 0, modes - 1));
        }
        let below = Tensor::cat(before, 1)
            .lower(u.clone().expand([batch, modes]))
            .float();
        let above = upto.greater_equal(u.expand([batch, modes])).float();
        let column = self.means.clone().narrow(1, i, 1).reshape([1, modes]);
        let chosen = below * above;
        let mean = (chosen.clone() * column).sum_dim(1) / chosen.sum_dim(1).clamp_min(1.0);
        mean + normal * self.sd
    }
}

impl Density for Mixture {
    fn coordinates(&self) -> Vec<String> {
        self.observables()
    }

    fn bounds(&self) -> [f64; 4] {
        self.bounds
    }

    fn log_plane(&self, x: f64, y: f64) -> f64 {
        let log = |(m, w): &([f64; 2], f64)| {
            w.ln() - 0.5 * ((x - m[0]).powi(2) + (y - m[1]).powi(2)) / (self.sd * self.sd)
        };
        let top = self.host.iter().map(log).fold(f64::NEG_INFINITY, f64::max);
        top + self
            .host
            .iter()
            .map(|p| (log(p) - top).exp())
            .sum::<f64>()
            .ln()
    }

    fn mode(&self) -> Vec<f64> {
        let heaviest = self.host.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        heaviest.map_or(vec![0.0, 0.0], |p| p.0.to_vec())
    }

    fn draws(&self, rng: &Rng, step: u32, n: usize) -> Vec<[f32; 2]> {
        let xi = rng.normals(Purpose::Data, step, n, 2);
        let choice = rng.uniforms(Purpose::Choice, step, n, 1);
        let mut total = 0.0;
        let upto: Vec<f64> = self
            .host
            .iter()
            .map(|p| {
                total += p.1;
                total
            })
            .collect();
        xi.chunks(2)
            .zip(choice)
            .map(|(p, u)| {
                let k = upto.partition_point(|&c| c < f64::from(u) * total);
                let m = self.host[k.min(self.host.len() - 1)].0;
                [0, 1].map(|i| (m[i] + self.sd * f64::from(p[i])) as f32)
            })
            .collect()
    }
}

/// A density drawn by the user: grey values on a square grid over [−4, 4]².
pub struct Drawing;

impl Drawing {
    /// Cells along one side.
    pub const SIDE: usize = 32;
    const REACH: f64 = 4.0;

    /// Recommended step sizes, as in a [`Registration`].
    pub const STEPS: Steps = &[
        ("rwm", 0.5),
        ("ula", 0.1),
        ("sgld", 0.1),
        ("mala", 0.3),
        ("hmc", 0.2),
        ("nuts", 0.2),
        ("underdamped", 0.2),
        ("tempering", 0.3),
    ];

    /// A mixture with one Gaussian per painted cell, 0.8 cells wide and weighted by its grey value:
    /// smooth, with a known exact distribution like every other target.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a grid of another size or without a painted cell.
    pub fn density(ink: &[u8], device: &Device) -> Result<Mixture> {
        let side = Self::SIDE;
        if ink.len() != side * side {
            return Err(Error::invalid(
                "drawing",
                format!("{side} × {side} grey values"),
                format!("{} values", ink.len()),
                "draw on the page's grid",
            ));
        }
        let cell = 2.0 * Self::REACH / side as f64;
        let at = |k: usize| (-Self::REACH + (k as f64 + 0.5) * cell) as f32;
        let parts: Vec<_> = ink
            .iter()
            .enumerate()
            .filter(|(_, v)| **v > 0)
            .map(|(k, &v)| ([at(k % side), at(k / side)], f64::from(v) / 255.0))
            .collect();
        if parts.is_empty() {
            return Err(Error::invalid(
                "drawing",
                "at least one painted cell",
                "an empty drawing",
                "paint something first",
            ));
        }
        let edge = Self::REACH + 1.0;
        Ok(Mixture::weighted(
            &parts,
            cell * 0.8,
            [-edge, edge, -edge, edge],
            device,
        ))
    }
}
