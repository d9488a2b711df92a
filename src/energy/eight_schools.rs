//! Eight schools (Rubin 1981; Gelman et al., "Bayesian Data Analysis"), non-centred, on the
//! unconstrained scale: posteriordb's `eight_schools-eight_schools_noncentered`.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use super::{Density, Energy, Evaluation, Point, Registration, Space};
use crate::rng::{Purpose, Rng};

pub const REGISTRATION: Registration = Registration {
    name: "eight-schools",
    title: "Eight schools",
    description: "The posterior of a real hierarchical model: coaching effects in eight schools, non-centred, ten dimensions. The plane shows the mean of the effects and the log of their spread.",
    steps: &[
        ("rwm", 0.5),
        ("ula", 0.2),
        ("sgld", 0.2),
        ("mala", 0.6),
        ("hmc", 0.4),
        ("nuts", 0.4),
        ("underdamped", 0.3),
        ("tempering", 0.5),
    ],
    build: |device| Arc::new(EightSchools::new(device)),
};

/// Estimated effects and their standard errors.
const Y: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SIGMA: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
/// Scales of the priors μ ~ N(0, 5²) and τ ~ half-Cauchy(0, 5).
const PRIOR: f64 = 5.0;

/// States (μ, log τ, t₁ … t₈) with θⱼ = μ + τ tⱼ, tⱼ ~ N(0, 1), yⱼ ~ N(θⱼ, σⱼ²), and the Jacobian
/// τ of the logarithm.
pub struct EightSchools {
    /// `[1, 8]`
    y: Tensor<2>,
    /// `[1, 8]`
    sigma: Tensor<2>,
}

impl EightSchools {
    /// The posterior on a device.
    pub fn new(device: &Device) -> Self {
        let row = |v: [f64; 8]| {
            Tensor::from_data(
                TensorData::new(v.map(|v| v as f32).to_vec(), [1, 8]),
                device,
            )
        };
        Self {
            y: row(Y),
            sigma: row(SIGMA),
        }
    }

    /// E and its gradients with respect to μ, log τ and t.
    fn parts(&self, x: &Tensor<2>) -> [Tensor<2>; 4] {
        let column = |i| x.clone().narrow(1, i, 1);
        let (mu, log_tau, t) = (column(0), column(1), x.clone().narrow(1, 2, 8));
        let tau = log_tau.clone().exp();
        let z = (mu.clone() + tau.clone() * t.clone() - self.y.clone()) / self.sigma.clone();
        let square = (tau.clone() / PRIOR).powi_scalar(2);
        let energy = (z.clone().powi_scalar(2) + t.clone().powi_scalar(2)).sum_dim(1) * 0.5
            + (mu.clone() / PRIOR).powi_scalar(2) * 0.5
            + (square.clone() + 1.0).log()
            - log_tau;
        let pull = z / self.sigma.clone();
        let d_mu = pull.clone().sum_dim(1) + mu / (PRIOR * PRIOR);
        let d_log_tau = (pull.clone() * t.clone()).sum_dim(1) * tau.clone()
            + square.clone() * 2.0 / (square + 1.0)
            - 1.0;
        [energy, d_mu, d_log_tau, pull * tau + t]
    }
}

impl Energy for EightSchools {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: 10,
            image: None,
        }
    }

    fn observables(&self) -> Vec<String> {
        let schools = (1..=8).map(|j| format!("t{j}"));
        ["mu".to_owned(), "log tau".to_owned()]
            .into_iter()
            .chain(schools)
            .collect()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let [batch, _] = x.dims();
        let [energy, ..] = self.parts(&x);
        Evaluation {
            energy: energy.reshape([batch]),
            observed: Some(x),
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let [batch, _] = x.dims();
        let [energy, d_mu, d_log_tau, d_t] = self.parts(&x);
        Point {
            energy: energy.reshape([batch]),
            gradient: Tensor::cat(vec![d_mu, d_log_tau, d_t], 1),
            observed: Some(x.clone()),
            x,
        }
    }
}

impl Density for EightSchools {
    fn coordinates(&self) -> Vec<String> {
        self.observables()
    }

    fn bounds(&self) -> [f64; 4] {
        [-14.0, 22.0, -7.0, 5.0]
    }

    /// Curvature grows as τ²: at large τ, a step size that suits the rest is always rejected and the
    /// chain gets stuck. Twice the posterior's spread is over-dispersed but not stuck.
    fn start_bounds(&self) -> [f64; 4] {
        [-6.0, 14.0, -2.0, 2.5]
    }

    /// The tⱼ integrate out in closed form: yⱼ ~ N(μ, σⱼ² + τ²).
    fn log_plane(&self, mu: f64, log_tau: f64) -> f64 {
        let tau2 = (2.0 * log_tau).exp();
        let likelihood: f64 = Y
            .iter()
            .zip(SIGMA)
            .map(|(y, s)| {
                let v = s * s + tau2;
                -0.5 * ((y - mu).powi(2) / v + v.ln())
            })
            .sum();
        likelihood - 0.5 * (mu / PRIOR).powi(2) - (1.0 + tau2 / (PRIOR * PRIOR)).ln() + log_tau
    }

    fn mode(&self) -> Vec<f64> {
        let mut state = vec![0.0; 10];
        state[0] = 4.4;
        state[1] = 1.0;
        state
    }

    /// Over-dispersed starts for the tⱼ too, as a function of the point: chains with the same point have
    /// the same start.
    fn lift(&self, plane: &[[f32; 2]]) -> Vec<f32> {
        plane
            .iter()
            .flat_map(|p| {
                let [a, b] = p.map(f32::to_bits);
                let t =
                    Rng::new(u64::from(a) << 32 | u64::from(b)).normals(Purpose::Start, 1, 1, 8);
                p.iter()
                    .copied()
                    .chain(t.into_iter().map(|v| 1.5 * v))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(feature = "native")]
impl super::posterior::Posterior for EightSchools {
    fn names(&self) -> &'static [&'static str] {
        &[
            "theta[1]", "theta[2]", "theta[3]", "theta[4]", "theta[5]", "theta[6]", "theta[7]",
            "theta[8]", "mu", "tau",
        ]
    }

    fn constrained(&self, x: Tensor<2>) -> Tensor<2> {
        let mu = x.clone().narrow(1, 0, 1);
        let tau = x.clone().narrow(1, 1, 1).exp();
        let theta = x.narrow(1, 2, 8) * tau.clone() + mu.clone();
        Tensor::cat(vec![theta, mu, tau], 1)
    }
}
