//! Samplers against published reference posteriors (posteriordb): every mean within four combined
//! standard errors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    diagnostics::{Draws, ess_mean, rhat_rank},
    energy::{
        EightSchools,
        posterior::{Autoregression, Garch, GaussianMixture, Posterior},
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
};
use pollster::block_on;
use serde_json::Value;

use crate::common::{devices, host};

struct Case {
    reference: &'static str,
    target: Arc<dyn Posterior>,
    /// Where chains start: means and standard deviations, doubled below, of the unconstrained
    /// coordinates.
    centre: Vec<f32>,
    spread: Vec<f32>,
    step: f64,
}

fn cases(device: &Device) -> Vec<Case> {
    let mut centre = vec![4.4, 0.8];
    centre.extend([0.0; 8]);
    vec![
        Case {
            reference: "eight_schools-eight_schools_noncentered",
            target: Arc::new(EightSchools::new(device)),
            centre,
            spread: [vec![3.3, 0.4], vec![1.0; 8]].concat(),
            step: 0.3,
        },
        Case {
            reference: "arK-arK",
            target: Arc::new(Autoregression::new(device)),
            centre: vec![0.0, 0.69, 0.44, 0.105, -0.036, -0.30, -1.895],
            spread: vec![0.011, 0.08, 0.08, 0.08, 0.08, 0.08, 0.05],
            step: 0.01,
        },
        Case {
            reference: "garch-garch11",
            target: Arc::new(Garch::new(device)),
            centre: vec![5.05, 0.31, 0.30, 0.98],
            spread: vec![0.12, 0.39, 0.56, 0.6],
            step: 0.15,
        },
        Case {
            reference: "low_dim_gauss_mix-low_dim_gauss_mix",
            target: Arc::new(GaussianMixture::new(device)),
            centre: vec![-2.733, 1.723, 0.028, 0.023, 0.496],
            spread: vec![0.042, 0.012, 0.03, 0.039, 0.066],
            step: 0.01,
        },
    ]
}

fn reference(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("fixtures/posteriors.json")).unwrap();
    all["posteriors"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["name"] == name)
        .unwrap()
        .clone()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

const CHAINS: usize = 32;

/// Parameter draws, parameter → chain → draw, after a warm-up that learns the mass.
fn draws(case: &Case, sampler: &str, n: usize, device: &Device) -> Vec<Vec<Vec<f64>>> {
    let dim = case.centre.len();
    let row = |v: &[f32]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, dim]), device);
    let x = Rng::new(31).normal_tensor(Purpose::Start, 0, CHAINS, dim, device)
        * row(&case.spread)
        * 2.0
        + row(&case.centre);
    let settings = SamplerConfig {
        step_size: Some(case.step),
        warmup: 500,
        adapt_mass: true,
        target_accept: Some(if sampler == "mala" { 0.574 } else { 0.9 }),
        ..SamplerConfig::new(sampler)
            .with("leapfrog_steps", 8)
            .with("max_tree_depth", 6)
    };
    let mut run = Run::new(case.target.clone(), &settings, Rng::new(32), x).unwrap();
    block_on(run.advance(500)).unwrap();
    let k = case.target.names().len();
    let mut out = vec![vec![Vec::new(); CHAINS]; k];
    for _ in 0..n {
        block_on(run.advance(1)).unwrap();
        let values = host(case.target.constrained(run.states()));
        for (chain, row) in values.chunks(k).enumerate() {
            for (parameter, &v) in row.iter().enumerate() {
                out[parameter][chain].push(v);
            }
        }
    }
    out
}

fn check(case: &Case, sampler: &str, n: usize, device: &Device) {
    let reference = reference(case.reference);
    let (means, errors) = (
        numbers(&reference["mean"]),
        numbers(&reference["mcse_mean"]),
    );
    let names = case.target.names();
    let published: Vec<&str> = reference["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(names, published);
    for (i, chains) in draws(case, sampler, n, device).iter().enumerate() {
        let view = Draws::new(chains).unwrap();
        let all: Vec<f64> = chains.iter().flatten().copied().collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let var = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (all.len() - 1) as f64;
        let (ess, rhat) = (ess_mean(&view), rhat_rank(&view));
        let what = format!("{sampler} on {}, {}", case.reference, names[i]);
        // Without this, a large standard error would let any mean pass.
        assert!(
            ess > 400.0 && rhat < 1.05,
            "{what}: ESS {ess}, R-hat {rhat}"
        );
        let z = (mean - means[i]) / (var / ess + errors[i] * errors[i]).sqrt();
        assert!(z.abs() < 4.0, "{what}: {mean} for {}, z {z}", means[i]);
    }
}

#[test]
fn nuts_matches_the_published_means() {
    let device = Device::flex();
    for case in cases(&device) {
        check(&case, "nuts", 400, &device);
    }
}

#[test]
fn hmc_matches_the_published_means() {
    let device = Device::flex();
    for case in cases(&device) {
        check(&case, "hmc", 500, &device);
    }
}

#[test]
fn posterior_gradients_match_finite_differences() {
    for (name, device) in devices() {
        for case in cases(&device) {
            let dim = case.centre.len();
            let row =
                |v: &[f32]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, dim]), &device);
            let normal = |k: u32| Rng::new(3).normal_tensor(Purpose::Start, k, 8, dim, &device);
            let x = normal(0) * row(&case.spread) + row(&case.centre);
            // In units of each coordinate's scale.
            let v = normal(1) * row(&case.spread);
            let gradient = host((case.target.point(x.clone()).gradient * v.clone()).sum_dim(1));
            let h = 0.03;
            let e = |s: f64| host(case.target.evaluate(x.clone() + v.clone() * s).energy);
            let (plus, minus) = (e(h), e(-h));
            for (i, g) in gradient.iter().enumerate() {
                let n = (plus[i] - minus[i]) / (2.0 * h);
                // f32 energies of a few hundred to 2000 nats, differenced over 0.06.
                assert!(
                    (g - n).abs() < 0.03 * n.abs().max(1.0),
                    "{} on {name}: {g} against {n}",
                    case.reference
                );
            }
        }
    }
}
