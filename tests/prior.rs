//! The session of the room Prior on a small untrained model: properties that hold for any weights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use mixwell::{
    artifact::{Card, DataCard, KnownAnswer},
    nn::{
        generator::{Generator, GeneratorConfig, UpConfig},
        layers::Init,
        tilt::{Tilt, TiltConfig},
    },
    rng::{Purpose, Rng},
    session::prior::{Prior, PriorConfig, PriorModel},
    session::studio::Studio,
    system::{
        self, Projection,
        latent_prior::{Architecture, LatentPrior, Reference, into_model},
    },
};
use pollster::block_on;

use crate::common::{devices, host};

const N: usize = 4;
const DIM: usize = 64;

fn architecture() -> Architecture {
    let up = |channels, kernel, stride, padding| UpConfig {
        channels,
        kernel,
        stride,
        padding,
    };
    Architecture {
        generator: GeneratorConfig {
            latent: N,
            shape: [1, 8, 8],
            layers: vec![up(6, 4, 1, 0), up(1, 4, 2, 1)],
        },
        sigma: 0.3,
        ratio: TiltConfig::Mlp {
            hidden: 8,
            layers: 2,
            bound: 0.0,
        },
        stages: 2,
        posterior_step: 0.1,
        latents: 12,
    }
}

fn model(device: &Device) -> LatentPrior {
    let architecture = architecture();
    let mut init = Init::new(3, device);
    let generator = Generator::new(&architecture.generator, &mut init).unwrap();
    let ratios = (0..2)
        .map(|_| Tilt::new(&architecture.ratio, [N, 1, 1], &mut init))
        .collect();
    let rng = Rng::new(4);
    let rows = |k: u32, n: usize, d: usize| rng.normal_tensor(Purpose::Data, k, n, d, device);
    let reference = Reference {
        latents: rows(0, 12, N),
        labels: (0..12).map(|i| i % 3).collect(),
        mean: Tensor::zeros([N], device),
        directions: rows(1, N, 2),
        explained: [0.4, 0.3],
    };
    let projection = Projection::new(Tensor::zeros([DIM], device), rows(2, DIM, 4) * 0.1);
    LatentPrior::new(generator, ratios, projection, reference, architecture)
}

fn files(device: &Device) -> (Card, Vec<u8>) {
    let weights = model(device).to_bytes().unwrap();
    let dict = mixwell::nn::dict::Dict::open(&weights, "test", device).unwrap();
    let stored = LatentPrior::from_dict(&dict, &architecture()).unwrap();
    let shared = into_model(std::sync::Arc::new(stored));
    let energies = block_on(system::start_energies(&*shared, 0, 1.0, 2)).unwrap();
    let steps = |e: f64| BTreeMap::from(["ula", "mala", "hmc"].map(|s| (s.to_owned(), e)));
    let stage = |kept: bool| {
        serde_json::json!({
            "iterations": 10, "ended": "plateau", "kept": kept,
            "checks": [{"iteration": 10, "loss": 0.6, "accuracy": 0.7}],
        })
    };
    let card = Card {
        format: 1,
        name: "latent-prior-test".into(),
        title: "Test".into(),
        description: String::new(),
        system: "latent-prior".into(),
        data: DataCard {
            name: "mnist".into(),
            classes: vec!["a".into(), "b".into(), "c".into()],
            shape: [1, 8, 8],
            preprocessing: String::new(),
        },
        architecture: serde_json::to_value(architecture()).unwrap(),
        training: serde_json::json!({}),
        metrics: BTreeMap::from([(
            "stages".to_owned(),
            serde_json::json!([stage(true), stage(true), stage(false)]),
        )]),
        step_sizes: BTreeMap::from([("latent".into(), steps(0.4)), ("pixel".into(), steps(0.02))]),
        known_answer: KnownAnswer {
            seed: 0,
            start_scale: 1.0,
            energies,
            tolerance: 1e-3,
        },
        licence: "none".into(),
        known_failures: Vec::new(),
    };
    (card, weights)
}

fn open(device: &Device) -> (Prior, PriorModel) {
    let (card, weights) = files(&Device::flex());
    let mut prior = Prior::new(device.clone());
    let info = block_on(prior.load(card, &weights, None)).unwrap();
    (prior, info)
}

fn config(info: &PriorModel) -> PriorConfig {
    PriorConfig {
        count: 6,
        warmup: 4,
        ..info.defaults.clone()
    }
}

#[test]
fn chains_do_not_depend_on_call_sizes_or_device() {
    let mut all = Vec::new();
    for (name, device) in devices() {
        let (mut prior, info) = open(&device);
        assert_eq!((info.stages.len(), info.latent), (3, N));
        for sampler in mixwell::session::prior::SAMPLERS {
            let config = PriorConfig {
                sampler: sampler.into(),
                ..config(&info)
            };
            block_on(prior.begin(config.clone())).unwrap();
            let whole = block_on(prior.advance(20)).unwrap();
            block_on(prior.begin(config)).unwrap();
            block_on(prior.advance(7)).unwrap();
            let cut = block_on(prior.advance(13)).unwrap();
            assert_eq!(whole.images, cut.images, "{sampler} on {name}");
            assert_eq!((whole.transitions, whole.diagnostics.len()), (20, 8));
            assert!(whole.ratio.is_some() && whole.acceptance.is_some());
            all.push((sampler, whole.images.0));
        }
    }
    // The same chains on every device, up to one grey level.
    for (sampler, images) in &all {
        let (_, first) = all.iter().find(|(s, _)| s == sampler).unwrap();
        assert!(first.iter().zip(images).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}

#[test]
fn every_stage_is_shown_and_bad_requests_are_refused() {
    let (mut prior, info) = open(&Device::flex());
    for stage in 0..=2 {
        let config = PriorConfig {
            stage,
            ..config(&info)
        };
        let frame = block_on(prior.begin(config)).unwrap();
        assert_eq!(frame.ratio.is_some(), stage > 0);
        assert!(frame.diagnostics.is_empty() && frame.sir.is_none());
    }
    let good = config(&info);
    let sir = PriorConfig {
        sampler: "sir".into(),
        proposals: 500,
        ..good.clone()
    };
    let drawn = block_on(prior.begin(sir.clone())).unwrap();
    let weights = drawn.sir.unwrap();
    assert!(weights.ess > 1.0 && weights.ess <= 500.0 && weights.distinct <= 6);
    assert_eq!(block_on(prior.advance(5)).unwrap().images, drawn.images);
    let bad = [
        PriorConfig {
            stage: 3,
            ..good.clone()
        },
        PriorConfig {
            count: 3,
            ..good.clone()
        },
        PriorConfig {
            warmup: 1001,
            ..good.clone()
        },
        PriorConfig {
            start_scale: 0.0,
            ..good.clone()
        },
        PriorConfig {
            temperature: f64::NAN,
            ..good.clone()
        },
        PriorConfig {
            sampler: "nuts".into(),
            ..good.clone()
        },
        PriorConfig {
            step_size: Some(-1.0),
            ..good.clone()
        },
        PriorConfig {
            proposals: 5,
            ..sir
        },
    ];
    for config in bad {
        assert!(block_on(prior.begin(config.clone())).is_err(), "{config:?}");
    }
    // The last valid run is kept.
    assert_eq!(block_on(prior.advance(0)).unwrap().images, drawn.images);
    let mut empty = Prior::new(Device::flex());
    assert!(block_on(empty.begin(good)).is_err() && block_on(empty.advance(1)).is_err());
}

#[test]
fn images_are_inferred_scored_and_joined() {
    let device = Device::flex();
    let (prior, _) = open(&device);
    // An image from the generator is reconstructed.
    let z = Rng::new(9).normal_tensor(Purpose::Start, 0, 2, N, &device);
    let made = host(model(&device).decode(z));
    let bytes: Vec<u8> = made.iter().map(|&v| (v * 255.0).round() as u8).collect();
    let [a, b] =
        [0, 1].map(|i| block_on(prior.reconstruct(&bytes[i * DIM..(i + 1) * DIM], 300)).unwrap());
    assert!(a.mse < 2e-3 && b.mse < 2e-3, "{} {}", a.mse, b.mse);
    let noise: Vec<u8> = Rng::new(1)
        .words(Purpose::Data, 0, 1, DIM)
        .into_iter()
        .map(|w| (w >> 24) as u8)
        .collect();
    let strange = block_on(prior.reconstruct(&noise, 300)).unwrap();
    assert!(
        strange.score > a.score.max(b.score) + 10.0,
        "{}",
        strange.score
    );
    assert!(
        strange.percentiles.is_empty(),
        "no reference scores were loaded"
    );
    let way = block_on(prior.interpolate(&a.latent.0, &b.latent.0, 5, true)).unwrap();
    assert_eq!(way.energies.0.len(), 5);
    for bad in [
        block_on(prior.interpolate(&a.latent.0[1..], &b.latent.0, 5, true)).err(),
        block_on(prior.interpolate(&a.latent.0, &b.latent.0, 1, true)).err(),
        block_on(prior.reconstruct(&noise[1..], 10)).err(),
        block_on(prior.reconstruct(&noise, 0)).err(),
    ] {
        assert!(bad.is_some());
    }
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let device = Device::flex();
    let (card, weights) = files(&device);
    let load = |card: Card, weights: &[u8], scores: Option<&[u8]>| {
        block_on(Prior::new(device.clone()).load(card, weights, scores)).err()
    };
    assert!(load(card.clone(), &weights[..weights.len() / 2], None).is_some());
    assert!(load(card.clone(), &weights, Some(b"{}")).is_some());
    let foreign = Card {
        system: "clel".into(),
        ..card.clone()
    };
    let error = load(foreign, &weights, None).unwrap().to_string();
    assert!(error.contains("latent-prior"), "{error}");

    // The Studio samples such a model and scores images with it, but offers no descent for it.
    let mut studio = Studio::new(device.clone());
    let info = block_on(studio.load(card, &weights, None, None)).unwrap();
    let mut config = info.defaults.clone();
    (config.count, config.steps) = (2, 3);
    block_on(studio.begin(config)).unwrap();
    assert_eq!(block_on(studio.advance(3)).unwrap().step, 3);
    let image = vec![128u8; DIM];
    let score = block_on(studio.score(&image)).unwrap();
    assert!(score.energy.is_finite() && score.gradient.0.len() == DIM);
    assert!(block_on(studio.descend(Some(&image), 1)).is_err());
}
