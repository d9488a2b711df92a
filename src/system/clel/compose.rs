//! Conditional and compositional energies.
//!
//! p(z|x) is a von Mises–Fisher distribution about g(f(x))/‖g(f(x))‖ with concentration β, so
//! conditioning on a latent z adds −β cos(g(f(x)), z) to the energy (arXiv 2303.03023, eq. 4 and §3.3:
//! instance- and class-conditional samples). Conditions compose as energies do (Hinton 2002; Du, Li,
//! Mordatch 2020): AND adds them, NOT subtracts them, OR takes −log Σ exp(−E).

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{
    energy::{pixel_space, point_of},
    objective::cosine,
};
use crate::{
    energy::{Energy, Evaluation, Point, Space},
    error::{Error, Result},
    nn::resnet::{FrozenEnergyNet, energy_of, unit_rows},
    pixels::as_images,
};

/// Logical role of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub enum Role {
    /// AND.
    All,
    /// OR, among all conditions with this role.
    Any,
    /// NOT.
    None,
}

/// A condition: a latent, its role and its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// z; only its direction matters.
    pub latent: Vec<f32>,
    /// Its role.
    pub role: Role,
    /// w > 0; the condition's concentration is β·w.
    pub weight: f64,
}

/// E(x) = ½‖f‖² − β Σ_all w cos(g, z) + β Σ_none w cos(g, z) − log Σ_any exp(β w cos(g, z)), with
/// f = f(x) and g = g(f).
pub struct ComposedEnergy {
    net: FrozenEnergyNet,
    shape: [usize; 3],
    /// Unit columns, `[D, K]`.
    latents: Tensor<2>,
    roles: Vec<Role>,
    /// β·w of each condition, `[1, K]`; negative for [`Role::None`].
    strengths: Tensor<2>,
}

impl ComposedEnergy {
    /// The energy of a network under conditions, for images of `shape` `[C, H, W]` and latents of
    /// dimension `features`.
    ///
    /// # Errors
    /// [`Error::Invalid`] without conditions, for latents of another dimension or of norm 0, for a
    /// negative or non-finite β, and for a weight that is not positive and finite.
    pub fn new(
        net: FrozenEnergyNet,
        shape: [usize; 3],
        features: usize,
        beta: f64,
        conditions: &[Condition],
        device: &burn::tensor::Device,
    ) -> Result<Self> {
        let mut latents = Vec::new();
        let mut strengths = Vec::new();
        for (i, condition) in conditions.iter().enumerate() {
            let norm = condition.latent.iter().map(|v| v * v).sum::<f32>().sqrt();
            let strength = beta * condition.weight;
            let positive = beta.is_finite() && beta >= 0.0 && condition.weight > 0.0;
            if condition.latent.len() != features
                || !(norm.is_finite() && norm > 0.0)
                || !(positive && strength.is_finite())
            {
                return Err(Error::invalid(
                    format!("condition {}", i + 1),
                    format!(
                        "a latent of {features} numbers, not all 0, β ≥ 0 and a positive weight"
                    ),
                    format!(
                        "{} numbers of length {norm}, β {beta}, weight {}",
                        condition.latent.len(),
                        condition.weight
                    ),
                    "take the latent from this model's encoder",
                ));
            }
            latents.extend_from_slice(&condition.latent);
            let sign = if condition.role == Role::None {
                -1.0
            } else {
                1.0
            };
            strengths.push((sign * strength) as f32);
        }
        let k = conditions.len();
        if k == 0 {
            return Err(Error::invalid(
                "conditions",
                "at least one",
                "none",
                "sample the marginal energy instead",
            ));
        }
        let rows = Tensor::<2>::from_data(TensorData::new(latents, [k, features]), device);
        Ok(Self {
            net,
            shape,
            latents: unit_rows(rows).transpose(),
            roles: conditions.iter().map(|c| c.role).collect(),
            strengths: Tensor::from_data(TensorData::new(strengths, [1, k]), device),
        })
    }

    /// cos(g, z) of every condition, `[B, features]` → `[B, K]`.
    fn cosines(&self, f: Tensor<2>) -> Tensor<2> {
        unit_rows(self.net.project(f)).matmul(self.latents.clone())
    }

    /// E of each condition alone, −β w cos (or + for NOT), `[B, features]` → `[B, K]`.
    fn parts(&self, f: Tensor<2>) -> Tensor<2> {
        -(self.cosines(f) * self.strengths.clone())
    }

    fn conditional(&self, f: Tensor<2>) -> Tensor<1> {
        let [batch, _] = f.dims();
        let parts = self.parts(f);
        let column = |k: usize| parts.clone().narrow(1, k, 1);
        let (any, sum): (Vec<usize>, Vec<usize>) =
            (0..self.roles.len()).partition(|&k| self.roles[k] == Role::Any);
        let mut total = parts.zeros_like().narrow(1, 0, 1);
        for k in sum {
            total = total + column(k);
        }
        if !any.is_empty() {
            let options = Tensor::cat(any.into_iter().map(column).collect(), 1).neg();
            // The maximum is detached: its gradient cancels.
            let top = options.clone().detach().max_dim(1);
            let lse = (options - top.clone()).exp().sum_dim(1).log() + top;
            total = total - lse;
        }
        total.reshape([batch])
    }

    /// The separate terms at states `[B, D]`: ½‖f‖², then the energy of each condition. Returns their
    /// energies and cosines, and the cosines between their gradients.
    pub fn terms(&self, x: Tensor<2>) -> Terms {
        let count = self.roles.len();
        let (energy, gradient) = self.net.energy_and_gradient(x.clone());
        let (mut energies, mut gradients) = (vec![energy], vec![gradient]);
        for k in 0..count {
            let part = |f: Tensor<2>| {
                let [batch, _] = f.dims();
                self.parts(f).narrow(1, k, 1).reshape([batch])
            };
            let (energy, gradient) = self.net.differentiate(x.clone(), part);
            energies.push(energy);
            gradients.push(gradient);
        }
        let mut conflict = Vec::new();
        for a in &gradients {
            for b in &gradients {
                conflict.push(cosine(a.clone(), b.clone()).mean());
            }
        }
        let [batch, _] = x.dims();
        let column = |t: Tensor<1>| t.reshape([batch, 1]);
        Terms {
            energies: Tensor::cat(energies.into_iter().map(column).collect(), 1),
            cosines: self.cosines(self.net.features(x)),
            conflict: Tensor::cat(conflict, 0),
        }
    }
}

/// The terms of a composition: the model's energy and the conditions.
pub struct Terms {
    /// `[B, 1 + K]`
    pub energies: Tensor<2>,
    /// cos(g(f(x)), z), `[B, K]`.
    pub cosines: Tensor<2>,
    /// Mean over the batch of the cosine between two terms' gradients, `[(1 + K)²]`; −1 if they are
    /// opposed.
    pub conflict: Tensor<1>,
}

impl Energy for ComposedEnergy {
    fn space(&self) -> Space {
        pixel_space(self.shape)
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let f = self.net.features(x);
        Evaluation {
            energy: energy_of(f.clone()) + self.conditional(f),
            observed: None,
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        point_of(&self.net, x, |f| energy_of(f.clone()) + self.conditional(f))
    }

    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        Some(as_images(x, self.shape))
    }
}
