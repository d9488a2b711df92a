//! The latent prior against PyTorch (tests/fixtures/latent_prior.py), finite differences, and known
//! distributions: a ratio of Gaussians, rings at a known distance, importance weights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use burn::{
    module::{Module, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor, TensorData},
};
use mixwell::{
    energy::Energy,
    eval::toys::{self, ToyPlan},
    nn::{
        generator::{Generator, GeneratorConfig, LatentEncoder, UpConfig},
        layers::Init,
        tilt::{Tilt, TiltConfig},
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    system::{
        Projection,
        latent_prior::{
            Architecture, LatentPrior, PriorEnergy, Reference,
            infer::PosteriorEnergy,
            into_model,
            ratio::{Arm, RatioConfig, RatioTraining, Rule, logistic},
            sir,
        },
    },
};
use pollster::block_on;
use serde_json::Value;

use crate::common::{Fill, assert_near, devices, host, pseudo};

const LATENT: usize = 5;
const SIGMA: f64 = 0.3;
/// f32 against PyTorch's doubles, relative to the largest value.
const TOLERANCE: f64 = 2e-5;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/latent_prior.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    let list = v.as_array().unwrap();
    list.iter().map(|x| x.as_f64().unwrap()).collect()
}

fn config() -> GeneratorConfig {
    let up = |channels, kernel, stride, padding| UpConfig {
        channels,
        kernel,
        stride,
        padding,
    };
    GeneratorConfig {
        latent: LATENT,
        shape: [2, 6, 6],
        layers: vec![up(8, 3, 1, 0), up(6, 4, 2, 1), up(2, 3, 1, 1)],
    }
}

fn mlp(first: u64, device: &Device) -> Tilt {
    let network = TiltConfig::Mlp {
        hidden: 7,
        layers: 2,
        bound: 0.0,
    };
    let net = Tilt::new(&network, [LATENT, 1, 1], &mut Init::new(1, device));
    net.map(&mut Fill::new(first))
}

fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn scaled(index: u64, n: usize, scale: f32) -> Vec<f32> {
    pseudo(index, n).into_iter().map(|v| v * scale).collect()
}

fn generator(device: &Device) -> Generator {
    let net = Generator::new(&config(), &mut Init::new(1, device)).unwrap();
    net.map(&mut Fill::new(100))
}

fn latents(device: &Device) -> Tensor<2> {
    tensor(scaled(1, 4 * LATENT, 1.5), [4, LATENT], device)
}

fn images(device: &Device) -> Tensor<2> {
    let values = pseudo(2, 4 * 72).into_iter().map(|v| (v + 1.0) / 2.0);
    tensor(values.collect(), [4, 72], device)
}

fn posterior(device: &Device) -> PosteriorEnergy {
    PosteriorEnergy {
        generator: generator(device),
        ratios: vec![mlp(200, device), mlp(300, device)],
        images: images(device),
        sigma: SIGMA,
    }
}

fn model(device: &Device) -> Arc<LatentPrior> {
    let eye: Vec<f32> = (0..LATENT * 2)
        .map(|i| if i % 3 == 0 { 1.0 } else { 0.0 })
        .collect();
    let reference = Reference {
        latents: latents(device),
        labels: vec![0, 1, 2, 3],
        mean: Tensor::zeros([LATENT], device),
        directions: tensor(eye, [LATENT, 2], device),
        explained: [0.5, 0.25],
    };
    let architecture = Architecture {
        generator: config(),
        sigma: SIGMA,
        ratio: TiltConfig::Mlp {
            hidden: 7,
            layers: 2,
            bound: 0.0,
        },
        stages: 2,
        posterior_step: 0.1,
        latents: 4,
    };
    let projection = Projection::new(
        Tensor::zeros([72], device),
        tensor(scaled(9, 72 * 4, 0.1), [72, 4], device),
    );
    Arc::new(LatentPrior::new(
        generator(device),
        vec![mlp(200, device), mlp(300, device)],
        projection,
        reference,
        architecture,
    ))
}

#[test]
fn generator_posterior_and_objectives_match_pytorch() {
    let expected = fixture();
    for (name, device) in devices() {
        let near = |what: &str, found: &[f64]| {
            assert_near(
                &format!("{what} on {name}"),
                found,
                &numbers(&expected[what]),
                TOLERANCE,
            );
        };
        let (z, posterior) = (latents(&device), posterior(&device));
        near("image", &host(posterior.generator.forward(z.clone())));
        let terms = posterior.terms(&z);
        near("reconstruction", &host(terms.reconstruction));
        near("tilt", &host(terms.tilt));
        near("mse", &host(terms.mse));
        let point = posterior.point(z.clone());
        near("energy", &host(point.energy));
        near("gradient_z", &host(point.gradient));
        let prior = PriorEnergy {
            latent: LATENT,
            ratios: posterior.ratios.clone(),
        };
        let point = prior.point(z.clone());
        near("prior", &host(point.energy));
        near("gradient_prior", &host(point.gradient));

        // The joint chain's gradient is the posterior's in z and the residual in x.
        let joint = into_model(model(&device)).target("pixel").unwrap();
        let state = Tensor::cat(vec![images(&device), z.clone()], 1);
        let point = joint.point(state.clone());
        near("energy", &host(point.energy.clone()));
        near("gradient_x", &host(point.gradient.clone().narrow(1, 0, 72)));
        near(
            "gradient_z",
            &host(point.gradient.clone().narrow(1, 72, LATENT)),
        );
        let evaluated = joint.evaluate(state);
        near("energy", &host(evaluated.energy));
        assert_near(
            "observables of both ways",
            &host(point.observed.unwrap()),
            &host(evaluated.observed.unwrap()),
            1e-5,
        );

        let f = &posterior.ratios[0];
        let minus = tensor(scaled(3, 6 * LATENT, 1.5), [6, LATENT], &device);
        let loss = host(logistic(f.forward(z), f.forward(minus)));
        let logistic = expected["logistic"].as_f64().unwrap();
        assert!((loss[0] - logistic).abs() < 1e-6, "{loss:?} {logistic}");

        let encoder = LatentEncoder::new(&config(), 3, &mut Init::new(1, &device));
        let encoder = encoder.map(&mut Fill::new(400));
        let x = images(&device).reshape([4, 2, 6, 6]) * 2.0 - 1.0;
        let (mean, log_variance) = encoder.forward(x);
        near("kl", &host(LatentEncoder::divergence(&mean, &log_variance)));
        near("mean", &host(mean));
        near("log_variance", &host(log_variance));
    }
}

/// Gradient descent by autodiff of the energy, which uses no backward pass of our own.
#[test]
fn descent_matches_autodiff() {
    let device = Device::flex();
    let posterior = posterior(&device);
    let (drift, steps) = (0.003, 12);
    let (z, trace) = block_on(posterior.descend(drift, steps)).unwrap();
    let mut expected = Tensor::<2>::zeros([4, LATENT], &device);
    let mut energies = Vec::new();
    for _ in 0..steps {
        let leaf = expected.clone().autodiff().require_grad();
        let energy = posterior.evaluate(leaf.clone()).energy;
        energies.extend(host(energy.clone().inner()));
        let gradients = energy.sum().backward();
        expected = expected - leaf.grad(&gradients).unwrap() * drift;
    }
    assert_near("z", &host(z), &host(expected), 1e-4);
    let trace: Vec<f64> = trace.into_iter().map(f64::from).collect();
    assert_near("energies", &trace, &energies, 1e-5);
    assert!(trace[trace.len() - 4] < trace[0], "it descends");
}

/// Whatever the heads say, log s² lies within ±8.
#[test]
fn log_variances_are_clamped() {
    let device = Device::flex();
    let encoder = LatentEncoder::new(&config(), 3, &mut Init::new(1, &device));
    let encoder = encoder.map(&mut Fill::new(400));
    let x = images(&device).reshape([4, 2, 6, 6]) * 2000.0;
    let log_variance = host(encoder.forward(x).1);
    assert!(
        log_variance.contains(&8.0) && log_variance.contains(&-8.0),
        "{log_variance:?}"
    );
    assert!(log_variance.iter().all(|v| v.abs() <= 8.0));
}

#[test]
fn generator_weight_gradients_and_shapes_match_pytorch() {
    let expected = fixture();
    let device = Device::flex();
    let net = generator(&device.clone().autodiff());
    let target = images(&device).reshape([4, 2, 6, 6]) * 2.0 - 1.0;
    let loss = (net.forward(latents(&device)) - target)
        .powi_scalar(2)
        .sum()
        / (2.0 * SIGMA * SIGMA);
    let grads = GradientsParams::from_grads(loss.backward(), &net);
    struct Found<'a>(&'a GradientsParams, Vec<Vec<f64>>);
    impl burn::module::ModuleVisitor for Found<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(host(self.0.get::<D>(param.id).unwrap()));
        }
    }
    let mut found = Found(&grads, Vec::new());
    net.visit(&mut found);
    let wanted = expected["weight_gradients"].as_array().unwrap();
    assert_eq!(found.1.len(), wanted.len());
    for (i, (found, wanted)) in found.1.iter().zip(wanted).enumerate() {
        assert_near(
            &format!("parameter {i}"),
            found,
            &numbers(wanted),
            TOLERANCE,
        );
    }
    let size = |config: GeneratorConfig| {
        Generator::new(&config, &mut Init::new(1, &device))
            .unwrap()
            .num_params()
    };
    let published = &expected["parameters"];
    assert_eq!(
        size(GeneratorConfig::grey28(8, 256)) as u64,
        published["grey28"]
    );
    assert_eq!(
        size(GeneratorConfig::cifar(128, 128)) as u64,
        published["cifar"]
    );
}

/// Directional derivatives of every energy by central differences.
#[test]
fn gradients_are_finite_differences() {
    for (name, device) in devices() {
        let shared = into_model(model(&device));
        let targets: Vec<(String, Arc<dyn Energy>, Tensor<2>)> = vec![
            (
                "posterior".into(),
                Arc::new(posterior(&device)),
                latents(&device),
            ),
            (
                "stage-1".into(),
                shared.target("stage-1").unwrap(),
                latents(&device),
            ),
            (
                "latent".into(),
                shared.target("latent").unwrap(),
                latents(&device),
            ),
            (
                "pixel".into(),
                shared.target("pixel").unwrap(),
                Tensor::cat(vec![images(&device), latents(&device)], 1),
            ),
        ];
        for (what, target, x) in targets {
            let [n, dim] = x.dims();
            let v = tensor(pseudo(7, n * dim), [n, dim], &device);
            let along = host((target.point(x.clone()).gradient * v.clone()).sum_dim(1));
            let h = 1e-3;
            let at = |t: f64| host(target.evaluate(x.clone() + v.clone() * t).energy);
            let numerical: Vec<f64> = at(h)
                .iter()
                .zip(at(-h))
                .map(|(a, b)| (a - b) / (2.0 * h))
                .collect();
            // Kinks of the leaky ReLU and rounding of E limit the accuracy of differences.
            assert_near(
                &format!("∂E({what})/∂v on {name}"),
                &along,
                &numerical,
                2e-2,
            );
        }
    }
}

#[test]
fn spaces_open_and_wrong_names_are_refused() {
    let device = Device::flex();
    let shared = into_model(model(&device));
    let stage = |k: usize| shared.target(&format!("stage-{k}")).unwrap();
    let energy = |t: &dyn Energy| host(t.evaluate(latents(&device)).energy);
    assert_eq!(
        energy(&*stage(2)),
        energy(&*shared.target("latent").unwrap())
    );
    let gaussian = host(latents(&device).powi_scalar(2).sum_dim(1) * 0.5);
    assert_near("stage 0", &energy(&*stage(0)), &gaussian, 1e-6);
    for bad in ["stage-3", "stage-", "stage--1", "image"] {
        assert!(shared.target(bad).is_err(), "{bad}");
    }
    assert!(shared.starts("latent", &Rng::new(1), 2, 0.0).is_err());
    // Both spaces start at the same images.
    let latent = shared.starts("latent", &Rng::new(1), 3, 1.2).unwrap();
    let pixel = shared.starts("pixel", &Rng::new(1), 3, 1.2).unwrap();
    let shown = |space: &str, x| host(shared.target(space).unwrap().to_image(x).unwrap());
    assert_near(
        "starts",
        &shown("pixel", pixel),
        &shown("latent", latent),
        1e-6,
    );
}

/// The data-space chain samples the same prior: moments of z under the joint and the latent chain.
#[test]
fn joint_chain_has_the_prior_as_marginal() {
    let device = Device::flex();
    let shared = into_model(model(&device));
    let moments = |space: &str| {
        let config = SamplerConfig {
            step_size: Some(0.1),
            warmup: 200,
            ..SamplerConfig::new("hmc").with("leapfrog_steps", 10)
        };
        let x = shared.starts(space, &Rng::new(2), 64, 1.0).unwrap();
        let mut run = Run::new(shared.target(space).unwrap(), &config, Rng::new(3), x).unwrap();
        let draws = block_on(run.advance(600)).unwrap();
        // The tilt is the first observable, the same function of z in both spaces.
        let values: Vec<f64> = draws[200..]
            .iter()
            .flat_map(|d| d.observed[0].iter().map(|&v| f64::from(v)))
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (
            mean,
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n,
        )
    };
    let (joint, latent) = (moments("pixel"), moments("latent"));
    println!("mean and variance of the tilt: joint {joint:?}, latent {latent:?}");
    assert!((joint.0 - latent.0).abs() < 0.1 * latent.1.sqrt());
    assert!((joint.1 / latent.1 - 1.0).abs() < 0.15);
}

fn ratio_config(arm: Arm) -> RatioConfig {
    RatioConfig {
        arm,
        hidden: 32,
        layers: 2,
        learning_rate: 3e-3,
        ema_decay: 0.99,
        chains: 512,
        transitions: 3,
        step_size: 0.3,
        burn_in: 50,
        anneal: false,
        bound: 0.0,
        resample: false,
        inherit: false,
        bridges: 3,
        rule: Rule {
            check_every: 50,
            tolerance: 0.002,
            patience: 4,
            longest: 400,
            chance: 0.69,
            stages: 4,
        },
    }
}

/// For N(m, s²I) against N(0, I), the logistic objective must find
/// log r(z) = −‖z − m‖²/(2s²) + ‖z‖²/2 − n log s, constant included.
#[test]
fn ratio_of_two_gaussians_is_recovered() {
    for (name, device) in devices() {
        let (m, s) = ([0.7f64, -0.4], 0.8f64);
        let mut training = RatioTraining::new(&ratio_config(Arm::Nce), 2, 1, &device).unwrap();
        let shift = Tensor::<1>::from_floats([m[0], m[1]], &device).reshape([1, 2]);
        let rng = Rng::new(5);
        let steps = if name == "cpu" { 900 } else { 400 };
        for i in 0..steps {
            let z = rng.normal_tensor(Purpose::Data, i, 512, 2, &device) * s + shift.clone();
            block_on(training.step(z)).unwrap();
        }
        let z = rng.normal_tensor(Purpose::Data, 9999, 400, 2, &device) * s + shift;
        let points: Vec<f64> = host(z.clone());
        let found: Vec<f64> = host(training.learned()[0].forward(z))
            .iter()
            .map(|u| -u)
            .collect();
        let mut square = 0.0;
        for (z, f) in points.chunks(2).zip(&found) {
            let far = (z[0] - m[0]).powi(2) + (z[1] - m[1]).powi(2);
            let log_ratio = -far / (2.0 * s * s) + (z[0] * z[0] + z[1] * z[1]) / 2.0 - 2.0 * s.ln();
            square += (f - log_ratio).powi(2) / 400.0;
        }
        println!("log ratio on {name}: rms error {:.3}", square.sqrt());
        assert!(square.sqrt() < if name == "cpu" { 0.08 } else { 0.12 });
    }
}

/// The method's claim at small size: at ten nats one ratio fails and adaptive stages succeed.
#[test]
fn one_ratio_fails_where_stages_succeed() {
    let device = Device::flex();
    let run = |arm, stages| {
        let plan = ToyPlan {
            nats: 10.0,
            arm,
            stages,
            iterations: 1600,
            batch: 256,
            seed: 1,
        };
        let result = toys::run(&plan, &toys::settings(&plan), &device).unwrap();
        result.parts.divergence
    };
    let (once, staged) = (run(Arm::Nce, 1), run(Arm::Adaptive, 4));
    println!("KL: one shot {once:.2}, stages {staged:.2}");
    assert!(staged < 0.2 && once > 2.0);
    // If the data follow N(0, I), nothing is learned, and the first stage detects it.
    let mut idle = RatioTraining::new(&ratio_config(Arm::Adaptive), 2, 1, &device).unwrap();
    let rng = Rng::new(8);
    let mut i = 0;
    while !idle.book.finished {
        i += 1;
        block_on(idle.step(rng.normal_tensor(Purpose::Data, i, 512, 2, &device))).unwrap();
        if idle.check_due() {
            let z = rng.normal_tensor(Purpose::Data, 100_000 + i, 512, 2, &device);
            block_on(idle.check(z)).unwrap();
        }
    }
    assert_eq!((idle.book.kept(), idle.book.stages.len()), (0, 1));
    assert_eq!(idle.book.stages[0].ended, "at chance");
}

/// Resampling from N(0, I) gives the tilted distribution; compared with long chains on the same prior.
#[test]
fn resampled_draws_follow_the_prior() {
    let device = Device::flex();
    let ratios = vec![mlp(200, &device)];
    let drawn = block_on(sir::resample(
        &ratios,
        LATENT,
        &Rng::new(1),
        [4000, 40_000],
        1.0,
        &device,
    ))
    .unwrap();
    assert!(drawn.ess > 4000.0 && drawn.ess <= 40_000.0, "{}", drawn.ess);
    let target = Arc::new(PriorEnergy {
        latent: LATENT,
        ratios: ratios.clone(),
    });
    let config = SamplerConfig {
        step_size: Some(0.5),
        warmup: 100,
        ..SamplerConfig::default()
    };
    let x = Rng::new(2).normal_tensor(Purpose::Start, 0, 2000, LATENT, &device);
    let mut run = Run::new(target, &config, Rng::new(3), x).unwrap();
    block_on(run.advance(300)).unwrap();
    let mean = |z: Tensor<2>| host(z.mean_dim(0));
    let (a, b) = (mean(drawn.z), mean(run.states()));
    println!("means: resampled {a:?}, chains {b:?}");
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.12));
    // Without a tilt all weights are equal.
    let even = block_on(sir::resample(
        &[],
        LATENT,
        &Rng::new(1),
        [10, 1000],
        1.0,
        &device,
    ));
    assert!((even.unwrap().ess - 1000.0).abs() < 1e-6);
    let few = block_on(sir::resample(
        &[],
        LATENT,
        &Rng::new(1),
        [10, 9],
        1.0,
        &device,
    ));
    assert!(few.is_err());
}

#[test]
fn weights_round_trip_and_damaged_files_are_refused() {
    let device = Device::flex();
    let model = model(&device);
    let bytes = model.to_bytes().unwrap();
    let read = |bytes: &[u8], architecture: &Architecture| {
        let dict = mixwell::nn::dict::Dict::open(bytes, "test", &device)?;
        LatentPrior::from_dict(&dict, architecture)
    };
    let back = read(&bytes, model.architecture()).unwrap();
    let image = |m: &LatentPrior| host(m.decode(latents(&device)));
    assert_near("stored", &image(&back), &image(&model), 5e-3);
    assert_eq!(back.reference.labels, [0, 1, 2, 3]);
    assert!(read(&bytes[..bytes.len() / 2], model.architecture()).is_err());
    let more = Architecture {
        stages: 3,
        ..model.architecture().clone()
    };
    let error = read(&bytes, &more).unwrap_err().to_string();
    assert!(error.contains("ratio.2"), "{error}");
}

/// The arm of the plain autoencoder learns no ratio.
#[test]
fn the_gaussian_arm_learns_nothing() {
    let device = Device::flex();
    for (arm, count) in [(Arm::Gaussian, 0), (Arm::Nce, 1), (Arm::Bridges, 3)] {
        let training = RatioTraining::new(&ratio_config(arm), 2, 1, &device).unwrap();
        assert_eq!(training.learned().len(), count, "{arm:?}");
    }
}
