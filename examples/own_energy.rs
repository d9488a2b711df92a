//! A custom energy, sampled by three samplers and compared with known values.
//!
//!     cargo run --release --example own_energy

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mixwell::{
    Result,
    diagnostics::{Rule, largest_rhat},
    energy::{Energy, Evaluation, Space},
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig, Trace},
};

/// A double well in the first coordinate, a quadratic in the second: E(x, y) = (x² − 1)²/0.2 + y²/2.
/// Low energy is likely: p ∝ exp(−E/T).
struct DoubleWell;

impl Energy for DoubleWell {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: 2,
            image: None,
        }
    }

    /// States `[B, 2]` → E `[B]`. Autodiff computes the gradient; override `point` to write your own.
    fn evaluate(&self, state: Tensor<2>) -> Evaluation {
        let [batch, _] = state.dims();
        let x = state.clone().narrow(1, 0, 1);
        let y = state.narrow(1, 1, 1);
        let well = (x.powi_scalar(2) - 1.0).powi_scalar(2) / 0.2;
        Evaluation {
            energy: (well + y.powi_scalar(2) * 0.5).reshape([batch]),
            observed: None,
        }
    }
}

fn main() -> Result<()> {
    let device = Device::flex();
    println!(
        "sampler      R-hat of E   share in the right well (exact: 0.5)   variance of y (exact: 1)"
    );
    // Without a Metropolis test the step size must suit the steepest place where a chain may start: a
    // larger one diverges, and this one rarely crosses between the wells.
    for (sampler, step_size) in [("ula", 0.07), ("mala", 0.4), ("hmc", 0.25)] {
        let config = SamplerConfig {
            sampler: sampler.into(),
            step_size: Some(step_size),
            warmup: 200,
            ..SamplerConfig::default()
        };
        let rng = Rng::new(7);
        let starts = rng.normal_tensor(Purpose::Start, 0, 64, 2, &device) * 1.5;
        let mut run = Run::new(Arc::new(DoubleWell), &config, rng, starts)?;
        let mut trace = Trace::new(Vec::new(), 64);
        let (mut right, mut square, mut count) = (0.0, 0.0, 0.0);
        for _ in 0..100 {
            for draw in pollster::block_on(run.advance(20))? {
                trace.push(&draw);
            }
            if run.warming_up() {
                continue;
            }
            let states: Vec<f64> = run.states().into_data().iter().collect();
            for state in states.chunks(2) {
                right += f64::from(u8::from(state[0] > 0.0));
                square += state[1] * state[1];
                count += 1.0;
            }
        }
        let rhat = largest_rhat(&trace.summaries(&Rule::default())?).unwrap_or(f64::NAN);
        println!(
            "{sampler:<13}{rhat:<13.3}{:<39.3}{:.3}",
            right / count,
            square / count
        );
    }
    Ok(())
}
