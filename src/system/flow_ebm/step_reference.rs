//! Whole training steps of both stages against PyTorch in double precision
//! (tests/fixtures/flow_ebm_step.py), with the same weights, batches and random numbers.
//!
//! One of the two steps is in the warm-up and one in the cosine decay. Some gradients are clipped and
//! some are not, and the chains accept and reject both kinds of proposals: a step that leaves out a part
//! of the method ends in other numbers. Gradients are read by a step of plain gradient descent in place
//! of Adam's, which hides their size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::SgdConfig,
    tensor::{Device, Tensor, TensorData},
};
use nalgebra::DMatrix;
use pollster::block_on;
use serde_json::Value;

use super::{
    Architecture, FlowEbm, FlowStage, FlowTraining, TiltStage, TiltTraining, recipe::level,
};
use crate::{
    nn::{
        dict::Dict,
        ema::Ema,
        flow::{FlowConfig, to_channels_last},
        tilt::{Tilt, TiltConfig},
    },
    system::projection::{COMPONENTS, Projection},
    test_support::{Fill, assert_near, host, numbers, parameters, pseudo, sketch, values},
};

const SHAPE: [usize; 3] = [1, 4, 4];
const DIM: usize = 16;
/// Iterations of the two steps: one in the warm-up, one in the cosine decay.
const ITERATIONS: [u64; 2] = [0, 5];
/// The first update of the average uses 1/10, the second this.
const DECAY: f64 = 0.15;
const FLOW_BATCH: usize = 8;
const TILT_BATCH: usize = 5;
/// Largest |U|.
const BOUND: f64 = 1.5;
/// Losses, in f32 against doubles.
const LOSS: f64 = 1e-5;
/// Gradients, states and initial values, relative to the largest.
const NEAR: f64 = 1e-4;
/// How far weights moved: Adam divides small gradients by their size, which also magnifies their errors.
const MOVED: f64 = 1e-3;
/// Rate of the steps that show gradients: a power of two, so that nothing is rounded, and large, so that
/// the weights do not hide the gradients.
const RATE: f64 = 1024.0;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/flow_ebm_step.json")).unwrap()
}

#[track_caller]
fn near_all(what: &str, found: &[Vec<f64>], expected: &Value, tolerance: f64) {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let what = format!("{what}, parameter {i}");
        assert_near(
            &what,
            &sketch(found, 8, 2000, 3),
            &numbers(expected),
            tolerance,
        );
    }
}

#[track_caller]
fn near_one(what: &str, found: f64, expected: &Value, tolerance: f64) {
    assert_near(what, &[found], &[expected.as_f64().unwrap()], tolerance);
}

/// All actnorms' values in one list: some biases are 0 but for rounding.
fn actnorms(module: &impl Module) -> Vec<f64> {
    let all = parameters(module).into_iter();
    all.filter(|parameter| parameter.path.contains("actnorm"))
        .flat_map(|parameter| parameter.values)
        .collect()
}

/// (a − b)·scale of every parameter.
fn difference(a: &[Vec<f64>], b: &[Vec<f64>], scale: f64) -> Vec<Vec<f64>> {
    let pairs = a.iter().zip(b);
    pairs
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b) * scale).collect())
        .collect()
}

/// Overwrites all parameters like the fixture's script, times `gain`. Actnorms keep their values, which
/// come from the data.
struct Filled {
    fill: Fill,
    path: Vec<String>,
    gain: f64,
}

impl Filled {
    fn new(first: u64, gain: f64) -> Self {
        Self {
            fill: Fill::new(first),
            path: Vec::new(),
            gain,
        }
    }
}

impl ModuleMapper for Filled {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.path.push(name.into());
        self.fill.enter_module(name, kind);
    }

    fn exit_module(&mut self, name: &str, kind: &str) {
        self.path.pop();
        self.fill.exit_module(name, kind);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.path.iter().any(|name| name == "actnorm") {
            return param;
        }
        let gain = self.gain;
        let filled = self.fill.map_float(param);
        filled.map(|t| (t.inner() * gain).autodiff().require_grad())
    }
}

/// Values in [0, 1), with another range for every pixel, `[count, D]`.
fn images(stream: u64, count: usize) -> Tensor<2> {
    let values = pseudo(stream, count * DIM).into_iter().enumerate();
    let values: Vec<f32> = values
        .map(|(i, v)| {
            let pixel = (i % DIM) as f64;
            ((f64::from(v) + 1.0) / 2.0 * (pixel + 8.0) / 32.0 + pixel / 64.0) as f32
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [count, DIM]), &Device::flex())
}

fn flow_stage() -> FlowStage {
    FlowStage {
        iterations: 8,
        learning_rate: 0.02,
        warmup: 2,
        clip_norm: 0.12,
        architecture: FlowConfig {
            shape: SHAPE,
            levels: vec![level(2, 2, 4, 3), level(2, 1, 5, 1)],
            clamp: 1.0,
        },
    }
}

fn new_flow() -> FlowTraining {
    FlowTraining::new(&flow_stage(), DECAY, 27, images(11, FLOW_BATCH)).unwrap()
}

fn filled_flow() -> FlowTraining {
    let mut training = new_flow();
    training.flow = training.flow.map(&mut Filled::new(750, 1.0));
    training.ema = Ema::new(&training.flow, DECAY);
    training.watched = true;
    training
}

fn tilt_stage() -> TiltStage {
    TiltStage {
        iterations: 8,
        learning_rate: 0.03,
        warmup: 2,
        l2: 0.2,
        clip_norm: 0.3,
        chains: 6,
        transitions: 2,
        step_size: 0.8,
        target_accept: 0.78,
        architecture: mlp(BOUND),
    }
}

fn mlp(bound: f64) -> TiltConfig {
    TiltConfig::Mlp {
        hidden: 7,
        layers: 2,
        bound,
    }
}

fn filled_tilt() -> TiltTraining {
    let device = Device::flex();
    let flow = filled_flow();
    let frozen = block_on(flow.flow.frozen(&flow.config)).unwrap();
    let projection = Projection::new(
        Tensor::zeros([DIM], &device),
        Tensor::ones([DIM, COMPONENTS], &device),
    );
    let seed = (7 << 32) + 41;
    let mut training =
        TiltTraining::new(&tilt_stage(), DECAY, seed, frozen, projection, &device).unwrap();
    training.tilt = training.tilt.map(&mut Filled::new(620, 2.0));
    training.ema = Ema::new(&training.tilt, DECAY);
    training.watched = true;
    training
}

/// Actnorms from the first batch, through a network of rotations and through one whose couplings do
/// something; and the flow's density, trainable and frozen. The frozen flow's reference is made of its
/// inverse alone: the Jacobian of z → x, by autograd.
#[test]
fn initialisation_and_density_match_pytorch() {
    let expected = fixture();
    let found = actnorms(&new_flow().flow);
    assert_near("actnorms", &found, &numbers(&expected["actnorms"]), NEAR);
    let training = filled_flow();
    let x = images(11, FLOW_BATCH);
    let channels_last = to_channels_last(x.clone(), SHAPE);
    let again = training
        .flow
        .clone()
        .initialised_from(channels_last.clone());
    let wanted = numbers(&expected["actnorms_of_filled"]);
    assert_near(
        "actnorms behind couplings",
        &actnorms(&again),
        &wanted,
        NEAR,
    );
    let found = host(training.flow.log_prob(channels_last).inner());
    assert_near("log q", &found, &numbers(&expected["log_prob"]), LOSS);
    let frozen = block_on(training.flow.frozen(&training.config)).unwrap();
    let (found, z) = frozen.log_prob(x.clone());
    let wanted = numbers(&expected["frozen_log_prob"]);
    assert_near("frozen log q", &host(found), &wanted, LOSS);
    let wanted = numbers(&expected["frozen_latents"]);
    assert_near("latents", &host(z.clone()), &wanted, NEAR);
    assert_near("x from z", &host(frozen.inverse(z)), &host(x), 1e-5);
}

/// Loss, gradients, weights and their average after each of two steps of maximum likelihood.
#[test]
fn two_steps_of_the_flow_match_pytorch() {
    let batch = |k: usize| images(11 + k as u64, FLOW_BATCH);
    let begin = |steps: usize| {
        let mut training = filled_flow();
        for (k, iteration) in ITERATIONS.into_iter().enumerate().take(steps) {
            training.iteration = iteration;
            block_on(training.step(&flow_stage(), batch(k))).unwrap();
        }
        training
    };
    let all = fixture()["flow"].clone();
    let start = values(&filled_flow().flow);
    for (k, iteration) in ITERATIONS.into_iter().enumerate() {
        let expected = &all[k];
        let named = |what: &str| format!("flow, step {k}: {what}");

        let mut probe = begin(k);
        let before = values(&probe.flow);
        probe.optimiser = SgdConfig::new().init();
        probe.iteration = iteration;
        let mut stage = flow_stage();
        (stage.learning_rate, stage.warmup) = (RATE, iteration + 1);
        block_on(probe.step(&stage, batch(k))).unwrap();
        let gradients = difference(&before, &values(&probe.flow), 1.0 / RATE);
        near_all(&named("gradient"), &gradients, &expected["gradients"], NEAR);

        let mut training = begin(k);
        training.iteration = iteration;
        let step = block_on(training.step(&flow_stage(), batch(k))).unwrap();
        near_one(&named("loss"), step.loss, &expected["loss"], LOSS);
        let norm = step.gradient.unwrap();
        near_one(&named("norm"), norm, &expected["gradient_norm"], NEAR);
        assert_eq!(training.iteration, iteration + 1);
        let moved = difference(&values(&training.flow), &start, 1.0);
        near_all(&named("moved"), &moved, &expected["moved"], MOVED);
        let moved = difference(&values(training.ema.average()), &start, 1.0);
        near_all(&named("average"), &moved, &expected["average_moved"], MOVED);
    }
}

/// Metrics, chains, gradients, weights and their average after each of two steps of the tilt.
#[test]
fn two_steps_of_the_tilt_match_pytorch() {
    let batch = |k: usize| images(13 + k as u64, TILT_BATCH);
    let begin = |steps: usize| {
        let mut training = filled_tilt();
        for (k, iteration) in ITERATIONS.into_iter().enumerate().take(steps) {
            training.iteration = iteration;
            block_on(training.step(&tilt_stage(), batch(k))).unwrap();
        }
        training
    };
    let all = fixture()["tilt"].clone();
    let start = values(&filled_tilt().tilt);
    for (k, iteration) in ITERATIONS.into_iter().enumerate() {
        let expected = &all[k];
        let named = |what: &str| format!("tilt, step {k}: {what}");

        let mut training = begin(k);
        training.iteration = iteration;
        let step = block_on(training.step(&tilt_stage(), batch(k))).unwrap();
        let states = host(training.chains.states());
        let wanted = numbers(&expected["states"]);
        assert_near(&named("chains"), &states, &wanted, NEAR);
        near_one(&named("data"), step.data, &expected["data"], NEAR);
        near_one(&named("samples"), step.samples, &expected["samples"], NEAR);
        near_one(
            &named("acceptance"),
            step.acceptance,
            &expected["acceptance"],
            NEAR,
        );
        near_one(
            &named("step size"),
            step.step_size,
            &expected["step_size"],
            1e-8,
        );
        assert_eq!(training.chains.step_sizes(), [step.step_size]);
        let norm = step.gradient.unwrap();
        near_one(&named("norm"), norm, &expected["gradient_norm"], NEAR);

        let mut probe = begin(k);
        let before = values(&probe.tilt);
        probe.optimiser = SgdConfig::new().init();
        probe.iteration = iteration;
        let mut stage = tilt_stage();
        (stage.learning_rate, stage.warmup) = (RATE, iteration + 1);
        block_on(probe.step(&stage, batch(k))).unwrap();
        let gradients = difference(&before, &values(&probe.tilt), 1.0 / RATE);
        near_all(&named("gradient"), &gradients, &expected["gradients"], NEAR);

        let moved = difference(&values(&training.tilt), &start, 1.0);
        near_all(&named("moved"), &moved, &expected["moved"], MOVED);
        let moved = difference(&values(training.ema.average()), &start, 1.0);
        near_all(&named("average"), &moved, &expected["average_moved"], MOVED);
    }
}

/// A model read back from its bytes has the trained density, of all pixels, and the trained tilt, with
/// its bound.
#[test]
fn a_loaded_model_keeps_the_density_and_the_bound() {
    let device = Device::flex();
    let (flow, tilt) = (filled_flow(), filled_tilt());
    let trained = FlowEbm {
        flow: tilt.flow.clone(),
        tilt: tilt.tilt.valid(),
        projection: tilt.projection.clone(),
    };
    let bytes = trained.to_bytes().unwrap();
    let dict = Dict::open(&bytes, "test", &device).unwrap();
    let architecture = Architecture {
        flow: flow.config.clone(),
        tilt: mlp(BOUND),
    };
    let loaded = FlowEbm::from_dict(&dict, &architecture).unwrap();

    let x = images(11, FLOW_BATCH);
    let channels_last = to_channels_last(x.clone(), SHAPE);
    let log_q = host(flow.flow.log_prob(channels_last).inner());
    // Stored in f16. A log-determinant of one pixel only would be off by several nats.
    let found = host(loaded.flow.log_prob(x).0);
    assert_near("loaded log q", &found, &log_q, 5e-3);

    let x = images(12, 1);
    let h = 3e-3;
    let steps = Tensor::<2>::eye(DIM, &device) * h;
    let plus = host(loaded.flow.forward(x.clone() + steps.clone()).0);
    let minus = host(loaded.flow.forward(x.clone() - steps).0);
    let columns = plus.iter().zip(&minus).map(|(p, m)| (p - m) / (2.0 * h));
    let jacobian = DMatrix::from_row_iterator(DIM, DIM, columns);
    let numerical = jacobian.determinant().abs().ln();
    let found = host(loaded.flow.forward(x).1)[0];
    assert!(
        (found - numerical).abs() < 0.05,
        "{found} against {numerical}"
    );

    // Far from the data, where the bound decides.
    let far = images(13, TILT_BATCH) * 8.0;
    let free = Tilt::load(&dict, "tilt", &mlp(0.0), SHAPE).unwrap();
    let free = host(free.forward(far.clone()));
    assert!(free.iter().any(|u| u.abs() > 2.0 * BOUND), "{free:?}");
    let u = host(loaded.tilt.forward(far.clone()));
    assert_near("loaded U", &u, &host(trained.tilt.forward(far)), 1e-2);
    assert!(u.iter().all(|u| u.abs() <= BOUND), "{u:?}");
}
