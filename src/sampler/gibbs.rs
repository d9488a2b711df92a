//! Gibbs: one coordinate after another, each drawn from its conditional distribution given the others.
//!
//! Geman & Geman 1984. Needs a target with known [conditionals](crate::energy::Conditionals). Nothing
//! is tuned and nothing is rejected, but it mixes slowly where coordinates are correlated and never
//! moves between modes that no axis-parallel step connects. A sweep over all coordinates counts as one
//! gradient, which is about its cost.

use burn::tensor::Tensor;

use super::{
    noise::Noise,
    settings::Settings,
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::{
    energy::{Conditionals, Energy, Point},
    error::{Error, Result},
    rng::Purpose,
};

pub const REGISTRATION: Registration = Registration {
    name: "gibbs",
    title: "Gibbs",
    description: "One coordinate at a time, drawn from its exact conditional distribution given the others; only for targets with known conditionals.",
    tested: true,
    target_accept: None,
    relative: None,
    settings: &[],
    build: |_: &Settings| Box::new(Gibbs),
};

struct Gibbs;

fn conditionals(target: &dyn Energy) -> Result<&dyn Conditionals> {
    target.conditionals().ok_or_else(|| {
        Error::invalid(
            "Gibbs",
            "a target with known conditionals",
            format!("a target in {} space without them", target.space().name),
            "choose another sampler, or a Gaussian or a mixture",
        )
    })
}

impl Sampler for Gibbs {
    fn gradients_per_transition(&self) -> usize {
        1
    }

    fn check(&self, target: &dyn Energy, temperature: f64) -> Result<()> {
        if temperature != 1.0 {
            return Err(Error::invalid(
                "temperature",
                "1 for Gibbs, whose conditionals are those of p at T = 1",
                temperature,
                "set the temperature to 1, or choose another sampler",
            ));
        }
        conditionals(target).map(|_| ())
    }

    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        _memory: Option<Tensor<2>>,
        _tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let Ok(conditionals) = conditionals(target) else {
            // `check` rejects such a target before the first transition.
            return point.into();
        };
        let [rows, dim] = point.x.dims();
        let normals = noise.normals(Purpose::Gibbs, rows, dim);
        let uniforms = noise.uniforms(Purpose::GibbsChoice, rows, dim);
        let mut x = point.x;
        for i in 0..dim {
            let column = |t: &Tensor<2>| t.clone().narrow(1, i, 1);
            let value = conditionals.draw(x.clone(), i, column(&normals), column(&uniforms));
            let mut parts = Vec::new();
            if i > 0 {
                parts.push(x.clone().narrow(1, 0, i));
            }
            parts.push(value);
            if i + 1 < dim {
                parts.push(x.clone().narrow(1, i + 1, dim - i - 1));
            }
            x = Tensor::cat(parts, 1);
        }
        target.point(x).into()
    }
}
