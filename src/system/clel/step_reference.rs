//! Two whole training iterations against PyTorch (tests/fixtures/clel_step.py), written from the paper's
//! algorithm: buffer, augmentation, chains, both objectives, both optimisers with their schedules, and the
//! moving average, with the same noise. The second iteration starts from what the first wrote, so that a
//! state which is not kept, or kept wrongly, shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use burn::{
    module::Module,
    optim::{LearningRate, ModuleOptimizer, Optimizer},
    tensor::{Device, Tensor, TensorData},
};
use pollster::block_on;
use serde_json::Value;

use super::learn::{ChainStage, Stage, Step, Training};
use crate::{
    nn::{
        augment::{AugmentConfig, CropConfig, Interpolation, JitterConfig},
        ema::Ema,
        encoder::EncoderConfig,
        resnet::{EnergyNetConfig, Precision},
    },
    test_support::{Fill, assert_near, host, numbers, parameters, pseudo, sketch},
};

/// f32 against doubles, relative to the largest value: losses, states and averages.
const VALUE: f64 = 1e-5;
/// Gradients, and changes of weights by Adam, which divides small gradients by themselves.
const GRADIENT: f64 = 2e-4;
/// Shadow acceptances: differences of energies in units of T = σ²/(2a), which is 0.001 here.
const SHADOW: f64 = 1e-4;

const SHAPE: [usize; 3] = [1, 8, 8];
const DIM: usize = 64;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/clel_step.json")).unwrap()
}

/// The fixture's recipe.
fn stage(settings: &Value) -> Stage {
    let number = |name: &str| settings[name].as_f64().unwrap();
    let count = |name: &str| settings[name].as_u64().unwrap();
    let range = |name: &str| numbers(&settings[name]).try_into().unwrap();
    let (stages, mean, std) = (vec![(3, 1), (4, 1)], vec![0.4], vec![0.2]);
    Stage {
        iterations: count("iterations"),
        batch: count("batch") as usize,
        learning_rate: number("learning_rate"),
        warmup: count("warmup"),
        ema_half_life: number("ema_half_life"),
        alpha: number("alpha"),
        beta: number("beta"),
        guided: true,
        generated_negatives: true,
        buffer_augmentation: true,
        temperature: number("temperature"),
        encoder_learning_rate: number("encoder_learning_rate"),
        encoder_momentum: number("encoder_momentum"),
        encoder_weight_decay: number("encoder_weight_decay"),
        precision: Precision::F32,
        chains: ChainStage {
            steps: count("steps") as usize,
            drift: number("drift"),
            noise: number("noise"),
            buffer: count("buffer") as usize,
            reinit: number("reinit"),
        },
        augment: AugmentConfig {
            crop: Some(CropConfig {
                scale: range("scale"),
                ratio: range("ratio"),
                interpolation: Interpolation::Bicubic,
            }),
            colour: Some(JitterConfig {
                probability: number("jitter"),
                brightness: number("brightness"),
                contrast: number("contrast"),
                saturation: 0.0,
                hue: 0.0,
            }),
            grayscale: 0.0,
            flip: number("flip"),
        },
        energy: EnergyNetConfig {
            shape: SHAPE,
            stages: stages.clone(),
            scales: 1,
            hidden: 8,
            features: 5,
            mean: mean.clone(),
            std: std.clone(),
        },
        encoder: EncoderConfig {
            shape: SHAPE,
            stages,
            hidden: 8,
            latent: 5,
            mean,
            std,
        },
    }
}

/// A training with the fixture's weights instead of random ones.
fn training(stage: &Stage, seed: u64, device: &Device) -> Training {
    let mut training = Training::new(stage, seed, device).unwrap();
    training.net = training.net.map(&mut Fill::new(1000));
    training.encoder = training.encoder.map(|h| h.map(&mut Fill::new(2000)));
    training.average = Ema::new(&training.net, Training::decay(stage));
    training
}

/// One iteration on the fixture's images, `[B, D]`.
fn advance(training: &mut Training, stage: &Stage, device: &Device) -> Step {
    let values: Vec<f32> = pseudo(500 + training.iteration, stage.batch * DIM)
        .into_iter()
        .map(|v| (v + 1.0) / 2.0)
        .collect();
    let x = Tensor::from_data(TensorData::new(values, [stage.batch, DIM]), device);
    block_on(training.step(stage, x)).unwrap()
}

/// An optimiser that replaces every weight by its gradient: Adam's step hides a gradient's size.
#[derive(Clone)]
struct Reveal;

impl Optimizer for Reveal {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        _: LearningRate,
        _: Tensor<D>,
        gradient: Tensor<D>,
        _: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        (gradient, None)
    }

    fn to_device<const D: usize>(state: Self::State<D>, _: &Device) -> Self::State<D> {
        state
    }
}

/// Values of a module by path: all, or those that are trained.
fn collect(module: &impl Module, only_trained: bool) -> BTreeMap<String, Vec<f64>> {
    let all = parameters(module).into_iter();
    all.filter(|parameter| parameter.trained || !only_trained)
        .map(|parameter| (parameter.path, parameter.values))
        .collect()
}

/// As in the fixture's script: the values of a small tensor; of a large one its norm and three
/// projections.
fn digest(values: &[f64]) -> Vec<f64> {
    sketch(values, 32, 900, 3)
}

/// Compares every tensor of a module; both sides must name the same ones.
fn compare(what: &str, found: &BTreeMap<String, Vec<f64>>, expected: &Value, tolerance: f64) {
    let expected = expected.as_object().unwrap();
    let mut names: Vec<&String> = expected.keys().collect();
    names.sort();
    assert_eq!(found.keys().collect::<Vec<_>>(), names, "{what}");
    for (name, values) in found {
        let expected = numbers(&expected[name]);
        assert_near(
            &format!("{what}, {name}"),
            &digest(values),
            &expected,
            tolerance,
        );
    }
}

/// Values after minus values before.
fn change(
    before: &BTreeMap<String, Vec<f64>>,
    after: BTreeMap<String, Vec<f64>>,
) -> BTreeMap<String, Vec<f64>> {
    let apart = |(name, after): (String, Vec<f64>)| {
        let pairs = after.iter().zip(&before[&name]);
        let values = pairs.map(|(a, b)| a - b).collect();
        (name, values)
    };
    after.into_iter().map(apart).collect()
}

/// What the chains and the objectives report, the buffer, the change of every weight and of every untrained
/// state, and the average, after each of two iterations.
#[test]
fn two_iterations_match_pytorch() {
    let (f, device) = (fixture(), Device::flex());
    let stage = stage(&f["stage"]);
    let seed = f["stage"]["seed"].as_u64().unwrap();
    let mut training = training(&stage, seed, &device);
    let both = |t: &Training| {
        let encoder = t.encoder.as_ref().unwrap();
        [collect(&t.net, false), collect(encoder, false)]
    };
    for (i, expected) in f["steps"].as_array().unwrap().iter().enumerate() {
        let before = both(&training);
        let step = advance(&mut training, &stage, &device);
        for (name, found, tolerance) in [
            ("data", step.data, VALUE),
            ("samples", step.samples, VALUE),
            ("guidance", step.guidance, VALUE),
            ("contrastive", step.contrastive, VALUE),
            ("nearest", step.nearest, VALUE),
            ("displacement", step.displacement, VALUE),
            ("saturated", step.saturated, VALUE),
            ("shadow", step.shadow, SHADOW),
            ("gradient", step.gradient, 2.0 * VALUE),
        ] {
            let expected = expected["metrics"][name].as_f64().unwrap();
            assert_near(&format!("{name}, {i}"), &[found], &[expected], tolerance);
        }
        let images: Vec<f64> = training.buffer.images().iter().map(|&v| v.into()).collect();
        let buffer = numbers(&expected["buffer"]);
        assert_near(&format!("buffer, {i}"), &images, &buffer, VALUE);
        let age = expected["mean_age"].as_f64().unwrap();
        assert!((training.buffer.mean_age() - age).abs() < 1e-9, "{i}");
        let [net, encoder] = &before;
        let [net_after, encoder_after] = both(&training);
        for (name, found) in [
            ("energy_change", change(net, net_after)),
            ("encoder_change", change(encoder, encoder_after)),
        ] {
            compare(&format!("{name} {i}"), &found, &expected[name], GRADIENT);
        }
        let average = collect(training.average.average(), false);
        compare(
            &format!("average {i}"),
            &average,
            &expected["average"],
            VALUE,
        );
    }
}

/// The gradients of both objectives, before weight decay, in each of two iterations. The last iteration of
/// each training writes its gradients in place of its weights.
#[test]
fn gradients_of_two_iterations_match_pytorch() {
    let (f, device) = (fixture(), Device::flex());
    let stage = stage(&f["stage"]);
    let seed = f["stage"]["seed"].as_u64().unwrap();
    for (i, expected) in f["steps"].as_array().unwrap().iter().enumerate() {
        let mut training = training(&stage, seed, &device);
        for _ in 0..i {
            advance(&mut training, &stage, &device);
        }
        training.net_optimiser = ModuleOptimizer::from(Reveal);
        training.encoder_optimiser = ModuleOptimizer::from(Reveal);
        advance(&mut training, &stage, &device);
        let encoder = training.encoder.as_ref().unwrap();
        for (name, found) in [
            ("energy_gradient", collect(&training.net, true)),
            ("encoder_gradient", collect(encoder, true)),
        ] {
            compare(&format!("{name} {i}"), &found, &expected[name], GRADIENT);
        }
    }
}

/// What is exported is the moving average, with W/σ at the largest singular value: ten power iterations
/// suffice for the average's own. Sixty give the same network; the network in training is another.
#[test]
fn the_exported_network_is_the_average() {
    let device = Device::flex();
    let stage = stage(&fixture()["stage"]);
    let mut training = Training::new(&stage, 3, &device).unwrap();
    training.net = training.net.map(&mut Fill::new(0));
    let x = Tensor::from_data(TensorData::new(pseudo(9, 4 * DIM), [4, DIM]), &device);
    let x = (x + 1.0) / 2.0;
    let exported = host(training.frozen().energy(x.clone()));
    let converged = |net: &crate::nn::resnet::EnergyNet| {
        let mut net = net.clone();
        for _ in 0..60 {
            net.iterate();
        }
        host(net.frozen().energy(x.clone()))
    };
    // The average is still that of the first weights.
    let average = converged(training.average.average());
    assert_near("E of the average", &exported, &average, 1e-3);
    let trained = converged(&training.net);
    let scale = average.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    assert!(
        exported
            .iter()
            .zip(&trained)
            .any(|(a, b)| (a - b).abs() > 0.1 * scale),
        "{exported:?} and {trained:?}"
    );
}
