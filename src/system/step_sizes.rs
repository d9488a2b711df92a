//! Recommended step sizes for a card: those to which samplers adapt in every space of a finished model.

use std::collections::BTreeMap;

use super::Model;
use crate::{
    error::Result,
    rng::Rng,
    sampler::{Run, SamplerConfig, Trace},
};

/// Step sizes by space and sampler, and acceptances under "acceptance_SPACE_SAMPLER".
pub type Steps = (
    BTreeMap<String, BTreeMap<String, f64>>,
    BTreeMap<String, f64>,
);

/// Adapts MALA and HMC for 80 transitions of 16 chains, from the initial step size `first(space)`. ULA
/// gets half of MALA's step size.
///
/// # Errors
/// Whatever the chains report.
pub fn adapted_steps(model: &dyn Model, seed: u64, first: fn(&str) -> f64) -> Result<Steps> {
    let mut step_sizes: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let mut acceptance = BTreeMap::new();
    for space in model.spaces() {
        let of_space = step_sizes.entry(space.into()).or_default();
        for sampler in ["mala", "hmc"] {
            let config = SamplerConfig {
                sampler: sampler.into(),
                step_size: Some(first(space)),
                warmup: 80,
                ..SamplerConfig::default()
            };
            let x = model.starts(space, &Rng::new(seed), 16, 1.0)?;
            let target = model.target(space)?;
            let mut trace = Trace::new(target.observables(), 16);
            let mut run = Run::new(target, &config, Rng::new(seed), x)?;
            for draw in pollster::block_on(run.advance(100))? {
                trace.push(&draw);
            }
            let key = format!("acceptance_{space}_{sampler}");
            acceptance.insert(key, trace.acceptance());
            of_space.insert(sampler.into(), round(run.step_sizes()[0]));
        }
        // Half of MALA's step size, i.e. a quarter of its drift: the unadjusted chain then has a small
        // bias and stays stable.
        let ula = of_space["mala"] / 2.0;
        of_space.insert("ula".into(), round(ula));
    }
    Ok((step_sizes, acceptance))
}

/// Three significant digits: a recommendation, not a measurement.
fn round(v: f64) -> f64 {
    let scale = 10f64.powf(2.0 - v.abs().log10().floor());
    (v * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::round;

    #[test]
    fn step_sizes_have_three_digits() {
        for (v, expected) in [
            (0.012_345, 0.0123),
            (0.999_6, 1.0),
            (2.728_28, 2.73),
            (12_345.0, 12_300.0),
        ] {
            assert!(
                (round(v) / expected - 1.0).abs() < 1e-12,
                "{v}: {}",
                round(v)
            );
        }
    }
}
