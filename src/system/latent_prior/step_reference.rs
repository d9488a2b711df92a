//! Whole training steps against PyTorch (tests/fixtures/latent_prior_step.py): under N(0, I), the end of a
//! stage, and steps under the tilted prior, by short-run chains and by an encoder. The fixture was written
//! from the paper with the noise that this crate draws, so that losses, gradients, chains, weights and
//! averages must agree number by number. It holds what one formula alone cannot show: that the frozen
//! ratio enters the posterior and the chains, that the averages are what is frozen, and that rates fall.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor, TensorData},
};
use pollster::block_on;
use serde_json::Value;

use super::{
    density::vector,
    learn::{LatentStage, PosteriorKind, Training},
    sir,
};
use crate::{
    nn::{ema::Ema, layers::Init, tilt::Tilt},
    rng::{Purpose, Rng},
    test_support::{Fill, assert_near, host, numbers, pseudo, sketch, values},
};

/// Losses, metrics and states, f32 against f64.
const CLOSE: f64 = 2e-5;
/// Gradients, relative to the largest value of a tensor.
const GRADIENT: f64 = 5e-4;
/// Changes of weights: differences of rounded weights, after Adam's division.
const CHANGE: f64 = 2e-3;

fn fixture() -> Value {
    serde_json::from_str(include_str!(
        "../../../tests/fixtures/latent_prior_step.json"
    ))
    .unwrap()
}

/// A number, or NaN where the fixture has none.
fn scalar(what: &str, found: f64, expected: &Value) {
    match expected.as_f64() {
        Some(expected) => assert_near(what, &[found], &[expected], CLOSE),
        None => assert!(found.is_nan(), "{what}: found {found}, expected NaN"),
    }
}

/// Tensors one by one; large ones as the fixture's sketches.
fn near(what: &str, found: &[Vec<f64>], expected: &Value, tolerance: f64) {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let what = format!("{what}, tensor {i}");
        assert_near(
            &what,
            &sketch(found, 40, 500, 4),
            &numbers(expected),
            tolerance,
        );
    }
}

/// The gradient of every parameter, in visiting order.
fn slopes<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<Vec<f64>> {
    struct Found<'a>(&'a GradientsParams, Vec<Vec<f64>>);
    impl ModuleVisitor for Found<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(host(self.0.get::<D>(param.id).unwrap()));
        }
    }
    let mut found = Found(gradients, Vec::new());
    module.visit(&mut found);
    found.1
}

fn difference(after: &[Vec<f64>], before: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let pairs = after.iter().zip(before);
    pairs
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
        .collect()
}

/// Doubles all weights: the fixture's ratios are several nats, so that their slope matters.
struct Double;

impl ModuleMapper for Double {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| match (old.is_autodiff(), old.is_require_grad()) {
            (true, true) => (old.inner() * 2.0).autodiff().require_grad(),
            (true, false) => (old.inner() * 2.0).autodiff(),
            _ => old * 2.0,
        })
    }
}

/// Images of a pseudo-random stream, values in [0, 1).
fn images(stream: u64, count: usize, device: &Device) -> Tensor<2> {
    let values = pseudo(stream, count * 72);
    let values: Vec<f32> = values.into_iter().map(|v| (v + 1.0) / 2.0).collect();
    Tensor::from_data(TensorData::new(values, [count, 72]), device)
}

/// Overwrites the current stage's network.
fn refill_ratio(training: &mut Training, first: u64) {
    let prior = &mut training.prior;
    prior.bank = prior
        .bank
        .clone()
        .map(&mut Fill::new(first))
        .map(&mut Double);
    prior.average = Ema::new(&prior.bank, prior.config.ema_decay);
}

/// One step, compared with the fixture's: what it reports, its gradients, the negatives, the chains' step
/// size, and how weights and averages changed.
fn compare_step(training: &mut Training, stage: &LatentStage, expected: &Value, seed: u64) {
    let device = Device::flex();
    let i = training.iteration;
    let name = |what: &str| format!("{:?}, step {i}: {what}", stage.posterior.kind);
    let x = images(1000 + i, stage.batch, &device);
    // Every draw is a function of its counter: the objective computed here is the step's own.
    let (_, latents, gradients) = block_on(training.objective(stage, x.clone())).unwrap();
    near(
        &name("gradients"),
        &slopes(&training.nets, &gradients),
        &expected["gradients"],
        GRADIENT,
    );
    assert_near(
        &name("latents"),
        &host(latents.clone()),
        &numbers(&expected["latents"]),
        CLOSE,
    );
    let (nets, bank) = (values(&training.nets), training.prior.bank.clone());
    let ratio_iteration = training.prior.book.iteration;

    let found = block_on(training.step(stage, x)).unwrap();
    scalar(&name("mse"), found.mse, &expected["mse"]);
    scalar(&name("norm"), found.norm, &expected["norm"]);
    scalar(&name("shadow"), found.shadow, &expected["shadow"]);
    scalar(&name("gradient"), found.gradient, &expected["gradient"]);
    scalar(
        &name("prior loss"),
        found.prior.loss,
        &expected["prior_loss"],
    );
    let acceptance = found.prior.acceptance;
    scalar(&name("acceptance"), acceptance, &expected["acceptance"]);

    let after = values(&training.nets);
    let change = difference(&after, &nets);
    near(&name("change"), &change, &expected["change"], CHANGE);
    let lag = difference(&values(training.average.average()), &after);
    near(&name("lag of the average"), &lag, &expected["lag"], CHANGE);

    let prior = &mut training.prior;
    if i < stage.warmup {
        let idle = difference(&values(&prior.bank), &values(&bank));
        assert!(idle.iter().flatten().all(|&v| v == 0.0), "{}", name("idle"));
        return;
    }
    // Exact draws under N(0, I), afterwards the persistent chains.
    let negatives = if prior.frozen.is_empty() {
        let rng = Rng::new(seed).derived(Purpose::Proposed, 0);
        let (chains, latent) = (stage.prior.chains, stage.generator.latent);
        rng.normal_tensor(
            Purpose::Proposed,
            ratio_iteration as u32,
            chains,
            latent,
            &device,
        )
    } else {
        prior.chains[0].states()
    };
    assert_near(
        &name("negatives"),
        &host(negatives.clone()),
        &numbers(&expected["negatives"]),
        CLOSE,
    );
    let step_size = prior.chains[0].step_sizes()[0];
    scalar(&name("step size"), step_size, &expected["step_size"]);
    let after = values(&prior.bank);
    let change = difference(&after, &values(&bank));
    let expected_change = &expected["ratio_change"];
    near(&name("ratio's change"), &change, expected_change, CHANGE);
    let lag = difference(&values(prior.average.average()), &after);
    near(&name("ratio's lag"), &lag, &expected["ratio_lag"], CHANGE);
    // The gradient of the step that was made, at the weights before it.
    let next = std::mem::replace(&mut prior.bank, bank);
    let loss = prior.loss(latents, negatives);
    let gradients = GradientsParams::from_grads(loss.backward(), &prior.bank);
    near(
        &name("ratio's gradients"),
        &slopes(&prior.bank, &gradients),
        &expected["ratio_gradients"],
        GRADIENT,
    );
    prior.bank = next;
}

/// Ends the first stage: the average is frozen, the chains are resampled and moved under the new prior.
fn compare_end(training: &mut Training, expected: &Value) {
    let prior = &mut training.prior;
    block_on(prior.end("longest")).unwrap();
    let stage = prior.book.stages.iter().find(|s| s.kept).unwrap();
    let ess = stage.resampled_ess.unwrap();
    scalar(
        "ESS of the chains' weights",
        ess,
        &expected["resampled_ess"],
    );
    assert_eq!(prior.frozen.len(), 1);
    let frozen = values(&prior.frozen[0]);
    for (found, expected) in frozen.iter().zip(expected["frozen"].as_array().unwrap()) {
        assert_near("frozen ratio", found, &numbers(expected), CLOSE);
    }
    for (which, chains) in prior.chains.iter().enumerate() {
        assert_near(
            &format!("chains {which} under the new prior"),
            &host(chains.states()),
            &numbers(&expected["chains"][which]),
            CLOSE,
        );
        let step = chains.step_sizes()[0];
        scalar("step size", step, &expected["step_sizes"][which]);
    }
}

fn compare_training(kind: PosteriorKind, name: &str) {
    let (device, fixture) = (Device::flex(), fixture());
    let seed = fixture["seed"].as_u64().unwrap();
    let expected = &fixture[name];
    let stage: LatentStage = serde_json::from_value(expected["stage"].clone()).unwrap();
    assert_eq!(stage.posterior.kind, kind);
    let mut training = Training::new(&stage, seed, &device).unwrap();
    training.nets = training.nets.clone().map(&mut Fill::new(100));
    training.average = Ema::new(&training.nets, stage.decay());
    refill_ratio(&mut training, 200);

    let before = expected["before"].as_u64().unwrap() as usize;
    let steps = expected["steps"].as_array().unwrap();
    for step in &steps[..before] {
        compare_step(&mut training, &stage, step, seed);
    }
    compare_end(&mut training, &expected["ended"]);
    // With `inherit` the new network is compared: old hidden layers, a last layer near 0. Without it all
    // is new, and near 0; the fixture's weights make the comparison sharper.
    if !stage.prior.inherit {
        refill_ratio(&mut training, 300);
    }
    let next = values(&training.prior.bank);
    near("next network", &next, &expected["ended"]["next"], CLOSE);
    for step in &steps[before..] {
        compare_step(&mut training, &stage, step, seed);
    }

    let held_out = images(1100, stage.held_out, &device);
    let check = &expected["check"];
    let z = block_on(training.infer(&stage, held_out.clone(), 1)).unwrap();
    assert_near("inferred", &host(z), &numbers(&check["inferred"]), CLOSE);
    let (found, ended) = block_on(training.check(&stage, &held_out))
        .unwrap()
        .unwrap();
    assert_eq!(ended, None);
    scalar("held-out loss", found.loss, &check["held_out_loss"]);
    let accuracy = &check["held_out_accuracy"];
    scalar("held-out accuracy", found.accuracy, accuracy);
    assert_near(
        "held-out chains",
        &host(training.prior.chains[1].states()),
        &numbers(&check["held_out_chains"]),
        CLOSE,
    );
}

#[test]
fn steps_with_short_run_latents_match_pytorch() {
    compare_training(PosteriorKind::Langevin, "langevin");
}

#[test]
fn steps_with_amortised_latents_match_pytorch() {
    compare_training(PosteriorKind::Encoder, "encoder");
}

/// New networks: Xavier-normal generator, He-normal encoder and ratio, biases of the ratio's hidden layers.
#[test]
fn initial_weights_match_pytorch() {
    let fixture = fixture();
    let stage = fixture["encoder"]["stage"].clone();
    let stage: LatentStage = serde_json::from_value(stage).unwrap();
    let seed = fixture["seed"].as_u64().unwrap();
    let training = Training::new(&stage, seed, &Device::flex()).unwrap();
    let expected = &fixture["initial"];
    near("nets", &values(&training.nets), &expected["nets"], CLOSE);
    let bank = values(&training.prior.bank);
    near("ratio", &bank, &expected["ratio"], CLOSE);
}

/// Sampling-importance-resampling at T ≠ 1: draws of N(0, T·I) with weights exp(−ΣU/T), in two chunks.
#[test]
fn resampling_at_another_temperature_matches_pytorch() {
    let (device, fixture) = (Device::flex(), fixture());
    let stage = fixture["langevin"]["stage"].clone();
    let stage: LatentStage = serde_json::from_value(stage).unwrap();
    let n = stage.generator.latent;
    let ratio = |first: u64| {
        let net = Tilt::new(
            &stage.prior.network(),
            vector(n),
            &mut Init::new(1, &device),
        );
        net.map(&mut Fill::new(first)).map(&mut Double)
    };
    let expected = &fixture["sir"];
    let whole = |what: &str| expected[what].as_u64().unwrap();
    let drawn = block_on(sir::resample(
        &[ratio(200), ratio(300)],
        n,
        &Rng::new(whole("seed")),
        [whole("count") as usize, whole("proposals") as usize],
        expected["temperature"].as_f64().unwrap(),
        &device,
    ))
    .unwrap();
    scalar("ESS", drawn.ess, &expected["ess"]);
    assert_eq!(drawn.distinct as u64, whole("distinct"));
    let z = &numbers(&expected["z"]);
    assert_near("resampled draws", &host(drawn.z), z, CLOSE);
}
