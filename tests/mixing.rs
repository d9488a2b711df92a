//! The project's central claim, small enough to check exactly: a weak flow of eight modes, a tilt that
//! corrects it, and chains that mix in latent space and stick in data space.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    diagnostics::Rule,
    energy::Energy,
    nn::{
        flow::{Flow, FlowConfig, LevelConfig},
        tilt::TiltConfig,
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig, Trace},
    system::{
        Projection,
        flow_ebm::{
            FlowEbm, FlowStage, LatentEnergy, PixelEnergy, TiltStage, train_flow, train_tilt,
        },
    },
};
use pollster::block_on;

use crate::common::host;

const MODES: usize = 8;
const RADIUS: f64 = 2.0;
const SD: f64 = 0.16;

fn modes() -> impl Iterator<Item = (f64, f64)> {
    (0..MODES).map(|k| {
        let angle = std::f64::consts::TAU * k as f64 / MODES as f64;
        (RADIUS * angle.cos(), RADIUS * angle.sin())
    })
}

/// Eight Gaussians on a circle, 256 points for each iteration.
fn batch(iteration: u64, device: &Device) -> Tensor<2> {
    let rng = Rng::new(21);
    let n = 256;
    let noise = rng.normals(Purpose::Data, iteration as u32, n, 2);
    let which = rng.uniforms(Purpose::Shuffle, iteration as u32, n, 1);
    let modes: Vec<_> = modes().collect();
    let values: Vec<f32> = (0..n)
        .flat_map(|i| {
            let (x, y) = modes[(which[i] * MODES as f32) as usize];
            [
                x as f32 + SD as f32 * noise[2 * i],
                y as f32 + SD as f32 * noise[2 * i + 1],
            ]
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [n, 2]), device)
}

fn log_data_density(x: f64, y: f64) -> f64 {
    let s2 = SD * SD;
    let sum: f64 = modes()
        .map(|(a, b)| (-((x - a).powi(2) + (y - b).powi(2)) / (2.0 * s2)).exp())
        .sum();
    (sum / (MODES as f64 * std::f64::consts::TAU * s2))
        .max(1e-300)
        .ln()
}

/// Midpoints of a grid over [-4, 4]², and the area of a cell.
const SIDE: usize = 160;
const CELL: f64 = 8.0 / SIDE as f64;

fn grid(device: &Device) -> (Vec<(f64, f64)>, Tensor<2>) {
    let at = |i: usize| -4.0 + (i as f64 + 0.5) * CELL;
    let points: Vec<_> = (0..SIDE * SIDE)
        .map(|k| (at(k / SIDE), at(k % SIDE)))
        .collect();
    let values: Vec<f32> = points
        .iter()
        .flat_map(|&(x, y)| [x as f32, y as f32])
        .collect();
    let n = points.len();
    (
        points,
        Tensor::from_data(TensorData::new(values, [n, 2]), device),
    )
}

/// KL(data ‖ model) in nats by the grid, and the model's mass on it, from unnormalised log densities.
fn kl(points: &[(f64, f64)], log_model: &[f64]) -> (f64, f64) {
    let area = CELL * CELL;
    let mass: f64 = log_model.iter().map(|l| l.exp() * area).sum();
    let kl = points
        .iter()
        .zip(log_model)
        .map(|(&(x, y), l)| {
            let p = log_data_density(x, y);
            p.exp() * area * (p - (l - mass.ln()))
        })
        .sum();
    (kl, mass)
}

fn trained(device: &Device) -> (Flow, FlowEbm) {
    let flow_stage = FlowStage {
        iterations: 2000,
        learning_rate: 3e-3,
        warmup: 20,
        clip_norm: 1.0,
        architecture: FlowConfig {
            shape: [2, 1, 1],
            levels: vec![LevelConfig {
                squeeze: 1,
                steps: 8,
                hidden: 64,
                kernel: 1,
            }],
            clamp: 2.0,
        },
    };
    let flow = train_flow(&flow_stage, 1, |i| batch(i, device)).unwrap();
    let tilt_stage = TiltStage {
        iterations: 4000,
        learning_rate: 2e-3,
        warmup: 20,
        l2: 1e-4,
        clip_norm: 1.0,
        chains: 256,
        transitions: 3,
        step_size: 0.3,
        target_accept: 0.574,
        architecture: TiltConfig::Mlp {
            hidden: 64,
            layers: 3,
            bound: 0.0,
        },
    };
    let plane = Projection::new(Tensor::zeros([2], device), Tensor::eye(2, device));
    let model = train_tilt(&tilt_stage, 1, flow.clone(), plane, |i| {
        batch(i + 10_000, device)
    })
    .unwrap();
    (flow, model)
}

/// Worst R-hat of energy, tilt and both coordinates; chains start over-dispersed.
fn worst_rhat(target: Arc<dyn Energy>, x: Tensor<2>, transitions: usize) -> (f64, f64) {
    let settings = SamplerConfig {
        sampler: "mala".into(),
        step_size: Some(0.1),
        warmup: 200,
        ..SamplerConfig::default()
    };
    let chains = x.dims()[0];
    let mut trace = Trace::new(target.observables(), chains);
    let mut run = Run::new(target, &settings, Rng::new(2), x).unwrap();
    for draw in block_on(run.advance(200 + transitions)).unwrap() {
        trace.push(&draw);
    }
    let worst = trace
        .summaries(&Rule::default())
        .unwrap()
        .iter()
        .map(|s| s.rhat.unwrap_or(f64::INFINITY))
        .fold(0.0, f64::max);
    (worst, trace.acceptance())
}

#[test]
fn tilt_corrects_the_flow_and_latent_chains_mix_where_data_space_chains_stick() {
    let device = Device::flex();
    let (flow, model) = trained(&device);
    let (points, x) = grid(&device);
    let log_q = host(flow.log_prob(x.clone()).0);
    let (flow_kl, flow_mass) = kl(&points, &log_q);
    assert!(
        (flow_mass - 1.0).abs() < 0.02,
        "the flow's density integrates to {flow_mass}"
    );
    let u = host(model.tilt.forward(x));
    let log_p: Vec<f64> = log_q.iter().zip(&u).map(|(q, u)| q - u).collect();
    let (model_kl, _) = kl(&points, &log_p);
    println!("KL(data‖flow) {flow_kl:.4}, KL(data‖model) {model_kl:.4}");
    assert!(
        3.0 * model_kl < flow_kl,
        "KL(data‖flow) {flow_kl}, KL(data‖model) {model_kl}"
    );

    let model = Arc::new(model);
    let z = Rng::new(2).normal_tensor(Purpose::Start, 0, 16, 2, &device) * 1.5;
    let x = model.flow.inverse(z.clone());
    // The same sampler, temperature, warm-up and number of gradients on both sides.
    let latent = worst_rhat(Arc::new(LatentEnergy(model.clone())), z, 10_000);
    let pixel = worst_rhat(Arc::new(PixelEnergy(model)), x, 10_000);
    println!("worst R-hat (acceptance): latent {latent:?}, data space {pixel:?}");
    assert!(latent.0 <= 1.05, "latent R-hat {}", latent.0);
    assert!(pixel.0 > 2.0, "data-space R-hat {}", pixel.0);
}
