//! Conditions, in-painting and the Studio's session on a small untrained CLEL model: properties that
//! hold for any weights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    artifact::{self, Card, DataCard, KnownAnswer, scores::Scores},
    data::{DataRef, Dataset, DatasetName, Split},
    energy::{self, Energy, Inpainting},
    eval::{
        Setting, evaluate,
        report::{Plan, Report},
    },
    nn::{
        augment::AugmentConfig,
        dict::{Dict, DictBuilder},
        encoder::{Encoder, EncoderConfig, FrozenEncoder},
        layers::Init,
        resnet::{EnergyNet, EnergyNetConfig, FrozenEnergyNet},
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    session::studio::{
        ConditionConfig, ConditionSource, InpaintConfig, Studio, StudioConfig, StudioModel,
    },
    system::{
        self,
        clel::{
            Architecture, Clel,
            compose::{Condition, Role},
            learn::ChainStage,
        },
    },
};
use pollster::block_on;

use crate::common::{devices, host};

const SHAPE: [usize; 3] = [1, 12, 12];
const DIM: usize = 144;
const LATENT: usize = 8;

fn architecture(guided: bool) -> Architecture {
    let (mean, std) = ([0.3], [0.35]);
    let mut energy = EnergyNetConfig::tiny(SHAPE, &mean, &std);
    energy.stages = vec![(6, 1), (8, 1)];
    (energy.hidden, energy.features) = (16, LATENT);
    let mut encoder = EncoderConfig::small(SHAPE, &mean, &std);
    encoder.stages = vec![(6, 1), (8, 1)];
    (encoder.hidden, encoder.latent) = (16, LATENT);
    Architecture {
        energy,
        beta: 0.01,
        encoder: guided.then_some(encoder),
        classes: if guided { 3 } else { 0 },
        augment: Some(AugmentConfig::strong(1)),
        chains: Some(ChainStage {
            steps: 5,
            drift: 100.0,
            noise: 0.001,
            buffer: 10,
            reinit: 0.0,
        }),
    }
}

/// A model with random weights, larger in the head so that energies are of order 1.
fn weights(architecture: &Architecture, device: &Device) -> Vec<u8> {
    let mut init = Init::new(7, device);
    let net = EnergyNet::new(&architecture.energy, &mut init).unwrap();
    let mut dict = DictBuilder::default();
    net.frozen().save(&mut dict);
    if let Some(config) = &architecture.encoder {
        let encoder = Encoder::new(config, &mut init).unwrap();
        encoder.frozen().save(&mut dict, "encoder");
        let means = Rng::new(3).normals(Purpose::Data, 0, 3, LATENT);
        dict.full_values("class_latents", &means, &[3, LATENT]);
    }
    dict.finish().unwrap()
}

fn clel(guided: bool, device: &Device) -> Clel {
    let architecture = architecture(guided);
    let weights = weights(&architecture, device);
    let dict = Dict::open(&weights, "test", device).unwrap();
    Clel::from_dict(&dict, &architecture).unwrap()
}

fn card(architecture: &Architecture) -> Card {
    Card {
        format: 1,
        name: "clel-test".into(),
        title: "Test".into(),
        description: String::new(),
        system: "clel".into(),
        data: DataCard {
            name: "test".into(),
            classes: vec!["a".into(), "b".into(), "c".into()],
            shape: SHAPE,
            preprocessing: String::new(),
        },
        architecture: serde_json::to_value(architecture).unwrap(),
        training: serde_json::Value::Null,
        metrics: BTreeMap::new(),
        step_sizes: BTreeMap::new(),
        known_answer: KnownAnswer {
            seed: 0,
            start_scale: 1.0,
            energies: BTreeMap::new(),
            tolerance: 1e-3,
        },
        licence: String::new(),
        known_failures: vec!["none known".into()],
    }
}

fn studio(guided: bool, device: &Device) -> (Studio, StudioModel) {
    let architecture = architecture(guided);
    let weights = weights(&architecture, device);
    let mut studio = Studio::new(device.clone());
    let info = block_on(studio.load(card(&architecture), &weights, None, None)).unwrap();
    (studio, info)
}

fn images(n: usize, seed: u64, device: &Device) -> Tensor<2> {
    Rng::new(seed).uniform_rows(Purpose::Data, 0, 0, n, DIM, device)
}

fn conditions(roles: &[(Role, f64)]) -> Vec<Condition> {
    let all = Rng::new(11).normals(Purpose::Choice, 0, roles.len(), LATENT);
    roles
        .iter()
        .zip(all.chunks(LATENT))
        .map(|(&(role, weight), latent)| Condition {
            latent: latent.to_vec(),
            role,
            weight,
        })
        .collect()
}

/// E(x, z) term by term from cosines in f64.
#[test]
fn composed_energies_match_the_formula() {
    for (name, device) in devices() {
        let model = clel(true, &device);
        let x = images(4, 5, &device);
        let roles = [
            (Role::All, 1.0),
            (Role::None, 0.5),
            (Role::Any, 2.0),
            (Role::Any, 1.0),
        ];
        let beta = 3.0;
        let conditions = conditions(&roles);
        let composed = model.composed(beta, &conditions).unwrap();
        let terms = composed.terms(x.clone());
        let cosines = host(terms.cosines);
        let marginal = host(model.scores(x.clone()).0);
        let expected: Vec<f64> = cosines
            .chunks(4)
            .zip(&marginal)
            .map(|(c, e)| {
                let any = (beta * 2.0 * c[2]).exp() + (beta * c[3]).exp();
                e - beta * c[0] + beta * 0.5 * c[1] - any.ln()
            })
            .collect();
        assert!(cosines.iter().all(|c| c.abs() <= 1.0 + 1e-6));
        crate::common::assert_close(&host(composed.evaluate(x.clone()).energy), &expected, 1e-5);
        crate::common::assert_close(&host(composed.point(x).energy), &expected, 1e-5);
        // The first term is the model's energy; NOT has the other sign.
        let parts = host(terms.energies);
        for (row, (c, e)) in parts.chunks(5).zip(cosines.chunks(4).zip(&marginal)) {
            let expected = [
                *e,
                -beta * c[0],
                beta * 0.5 * c[1],
                -beta * 2.0 * c[2],
                -beta * c[3],
            ];
            crate::common::assert_close(row, &expected, 1e-4);
        }
        let conflict = host(terms.conflict);
        assert_eq!(conflict.len(), 25, "{name}");
        for i in 0..5 {
            assert!((conflict[i * 5 + i] - 1.0).abs() < 1e-4, "{conflict:?}");
            for j in 0..5 {
                assert!((conflict[i * 5 + j] - conflict[j * 5 + i]).abs() < 1e-5);
            }
        }
        // One option among "any" is a condition like any other.
        let alone = |role| {
            let one = self::conditions(&[(role, 1.0)]);
            host(
                model
                    .composed(beta, &one)
                    .unwrap()
                    .evaluate(images(4, 5, &device))
                    .energy,
            )
        };
        crate::common::assert_close(&alone(Role::Any), &alone(Role::All), 1e-5);
    }
}

/// E(x) − 0.1 cos(h(x), g(f(x))), from the networks of the file.
#[test]
fn outlier_scores_match_the_formula() {
    let device = Device::flex();
    let architecture = architecture(true);
    let bytes = weights(&architecture, &device);
    let dict = Dict::open(&bytes, "test", &device).unwrap();
    let net = FrozenEnergyNet::load(&dict, &architecture.energy).unwrap();
    let encoder = architecture.encoder.as_ref().unwrap();
    let encoder = FrozenEncoder::load(&dict, "encoder", encoder).unwrap();
    let x = images(6, 5, &device);
    let f = net.features(x.clone());
    let (g, z) = (
        host(net.project(f.clone())),
        host(encoder.latent(x.clone())),
    );
    let (energy, ood) = clel(true, &device).scores(x);
    let (energy, ood) = (host(energy), host(ood.unwrap()));
    let rows = g.chunks(LATENT).zip(z.chunks(LATENT)).zip(
        host(f)
            .chunks(LATENT)
            .map(<[f64]>::to_vec)
            .collect::<Vec<_>>(),
    );
    for (i, ((g, z), f)) in rows.enumerate() {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let expected = 0.5 * dot(&f, &f);
        assert!((energy[i] - expected).abs() < 1e-5 * expected.max(1.0));
        let cosine = dot(g, z) / (dot(g, g) * dot(z, z)).sqrt();
        assert!(cosine.abs() > 0.01, "too small to be seen: {cosine}");
        assert!((ood[i] - (expected - 0.1 * cosine)).abs() < 1e-5 * expected.max(1.0));
    }
    assert!(
        clel(false, &device)
            .scores(images(2, 5, &device))
            .1
            .is_none()
    );
}

#[test]
fn composed_gradients_match_finite_differences() {
    for (name, device) in devices() {
        let model = clel(true, &device);
        let roles = [
            (Role::All, 1.0),
            (Role::None, 0.5),
            (Role::Any, 2.0),
            (Role::Any, 1.0),
        ];
        let composed = model.composed(3.0, &conditions(&roles)).unwrap();
        let x = images(4, 6, &device);
        let v = Rng::new(8).normal_tensor(Purpose::Data, 1, 4, DIM, &device);
        let gradient = composed.point(x.clone()).gradient;
        let along = host((gradient * v.clone()).sum_dim(1));
        let h = 1e-3;
        let e = |s: f64| host(composed.evaluate(x.clone() + v.clone() * s).energy);
        for ((a, p), m) in along.iter().zip(e(h)).zip(e(-h)) {
            let numerical = (p - m) / (2.0 * h);
            let scale = along.iter().fold(0.0, |s: f64, v| s.max(v.abs()));
            // Kinks of the leaky ReLUs, as in tests/clel_nets.rs.
            assert!(
                (a - numerical).abs() < 0.03 * scale,
                "{name}: {a} against {numerical}"
            );
        }
    }
}

#[test]
fn invalid_conditions_are_refused() {
    let device = Device::flex();
    let model = clel(true, &device);
    let good = conditions(&[(Role::All, 1.0)]);
    let refused = |beta: f64, change: fn(&mut Condition)| {
        let mut bad = good.clone();
        change(&mut bad[0]);
        model.composed(beta, &bad).err().unwrap().to_string()
    };
    assert!(refused(1.0, |c| c.latent.truncate(3)).contains("8 numbers"));
    assert!(refused(1.0, |c| c.latent.fill(0.0)).contains("not all 0"));
    assert!(refused(1.0, |c| c.weight = -1.0).contains("positive"));
    assert!(refused(f64::NAN, |_| ()).contains("condition 1"));
    assert!(model.composed(1.0, &[]).is_err());
    let plain = clel(false, &device);
    assert!(!plain.has_latents() && plain.latent(images(1, 1, &device)).is_err());
}

/// For a Gaussian with correlation 0.9, x₁ given x₀ = 1 has a closed form, N(μ₁ + 0.9 (1 − μ₀)·…), from
/// the precision matrix. HMC on the free coordinate alone must find it.
#[test]
fn fixed_coordinates_leave_the_conditional_distribution() {
    for (name, device) in devices() {
        let target: Arc<dyn Energy> = (energy::find("gaussian").unwrap().build)(&device);
        let dim = target.space().dim;
        assert_eq!(dim, 2);
        // The Hessian and the mean, from gradients: ∇E = Λ(x − μ).
        let at = |x: [f32; 2]| {
            let x = Tensor::from_data(TensorData::new(x.to_vec(), [1, 2]), &device);
            host(target.point(x).gradient)
        };
        let (g0, g1, g2) = (at([0.0, 0.0]), at([1.0, 0.0]), at([0.0, 1.0]));
        let (l01, l11) = (g1[1] - g0[1], g2[1] - g0[1]);
        // ∂E/∂x₁ = l01 (x₀ − 0) + l11 x₁ + g0[1]: zero at the conditional mean.
        let (given, variance) = (1.5, 1.0 / l11);
        let mean = -(g0[1] + l01 * given) / l11;
        let known = [Some(given as f32), None];
        let inpainting = Arc::new(Inpainting::new(target, &known, &device).unwrap());
        assert_eq!(inpainting.space().dim, 1);
        let starts = Rng::new(1).normal_tensor(Purpose::Start, 0, 400, 1, &device);
        let config = SamplerConfig {
            sampler: "hmc".into(),
            step_size: Some(0.5 * variance.sqrt()),
            warmup: 0,
            ..SamplerConfig::default()
        };
        let mut run = Run::new(inpainting.clone(), &config, Rng::new(2), starts).unwrap();
        block_on(run.advance(60)).unwrap();
        let mut values = Vec::new();
        for _ in 0..8 {
            block_on(run.advance(10)).unwrap();
            let whole = host(inpainting.complete(run.states()));
            assert!(whole.chunks(2).all(|x| (x[0] - given).abs() < 1e-6));
            values.extend(whole.chunks(2).map(|x| x[1]));
        }
        let n = values.len() as f64;
        let m = values.iter().sum::<f64>() / n;
        let s = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1.0);
        // 3200 draws, nearly independent: four standard errors, doubled for the remaining correlation.
        assert!(
            (m - mean).abs() < 8.0 * (variance / n).sqrt(),
            "{name}: mean {m} against {mean}"
        );
        assert!(
            (s / variance - 1.0).abs() < 8.0 * (2.0 / n).sqrt(),
            "{name}: variance {s} against {variance}"
        );
    }
}

#[test]
fn invalid_known_coordinates_are_refused() {
    let device = Device::flex();
    let target: Arc<dyn Energy> = (energy::find("gaussian").unwrap().build)(&device);
    let refused = |known: &[Option<f32>]| Inpainting::new(target.clone(), known, &device).is_err();
    assert!(refused(&[Some(1.0)]));
    assert!(refused(&[Some(1.0), Some(2.0)]), "no coordinate is free");
    assert!(refused(&[Some(f32::NAN), None]));
    assert!(!refused(&[Some(1.0), None]));
}

fn config(info: &StudioModel) -> StudioConfig {
    StudioConfig {
        count: 3,
        steps: 4,
        rounds: 2,
        ..info.defaults.clone()
    }
}

#[test]
fn a_seed_gives_one_run_for_any_call_sizes() {
    let device = Device::flex();
    let (mut studio, info) = studio(true, &device);
    let config = config(&info);
    block_on(async {
        let first = studio.begin(config.clone()).await.unwrap();
        assert_eq!((first.step, first.of, first.round), (0, 8, 1));
        assert_eq!(first.images.0.len(), 3 * DIM);
        let whole = studio.advance(100).await.unwrap();
        assert_eq!((whole.step, whole.round), (8, 2));
        studio.begin(config.clone()).await.unwrap();
        let mut cut = studio.advance(1).await.unwrap();
        for n in [3, 0, 2, 5] {
            cut = studio.advance(n).await.unwrap();
        }
        assert_eq!(cut.images, whole.images);
        assert_eq!(cut.energies, whole.energies);
        // Scoring and a descent in between change nothing.
        studio.begin(config.clone()).await.unwrap();
        studio.advance(4).await.unwrap();
        studio.score(&[9; DIM]).await.unwrap();
        studio.descend(Some(&[9; DIM]), 2).await.unwrap();
        assert_eq!(studio.advance(4).await.unwrap().images, whole.images);
        let other = StudioConfig {
            seed: config.seed + 1,
            ..config.clone()
        };
        studio.begin(other).await.unwrap();
        assert_ne!(studio.advance(8).await.unwrap().images, whole.images);
        // A refused configuration leaves the last run unchanged.
        for bad in [
            StudioConfig {
                count: 0,
                ..config.clone()
            },
            StudioConfig {
                steps: 2001,
                ..config.clone()
            },
            StudioConfig {
                temperature: f64::NAN,
                ..config.clone()
            },
            StudioConfig {
                conditions: vec![ConditionConfig {
                    of: ConditionSource::Class(3),
                    role: Role::All,
                    weight: 1.0,
                }],
                ..config.clone()
            },
        ] {
            assert!(studio.begin(bad).await.is_err());
        }
        assert_eq!(studio.advance(0).await.unwrap().step, 8);
    });
    // T = σ²/(2a) scales with the setting.
    let hot = StudioConfig {
        temperature: 4.0,
        ..config
    };
    let frame = block_on(studio.begin(hot)).unwrap();
    assert!((frame.temperature / (4.0 * 1e-6 / 200.0) - 1.0).abs() < 1e-6);
}

#[test]
fn kept_pixels_are_kept_and_conditions_have_terms() {
    let device = Device::flex();
    let (mut studio, info) = studio(true, &device);
    let image: Vec<u8> = (0..DIM).map(|i| (i * 7 % 256) as u8).collect();
    let known: Vec<u8> = (0..DIM).map(|i| u8::from(i % 3 == 0)).collect();
    let config = StudioConfig {
        conditions: vec![
            ConditionConfig {
                of: ConditionSource::Class(1),
                role: Role::All,
                weight: 1.0,
            },
            ConditionConfig {
                of: ConditionSource::Image(image.clone()),
                role: Role::None,
                weight: 2.0,
            },
        ],
        inpaint: Some(InpaintConfig {
            image: image.clone(),
            known: known.clone(),
        }),
        ..config(&info)
    };
    block_on(async {
        studio.begin(config.clone()).await.unwrap();
        let frame = studio.advance(8).await.unwrap();
        for shown in frame.images.0.chunks(DIM) {
            let kept = |i: &usize| known[*i] == 1;
            assert!((0..DIM).filter(kept).all(|i| shown[i] == image[i]));
            assert!((0..DIM).any(|i| shown[i] != image[i]));
        }
        let names: Vec<_> = frame
            .terms
            .iter()
            .map(|t| (t.name.as_str(), t.role))
            .collect();
        assert_eq!(
            names,
            [("model", "model"), ("class 1: b", "all"), ("image", "none")]
        );
        assert_eq!(frame.conflict.0.len(), 9);
        let all = StudioConfig {
            inpaint: Some(InpaintConfig {
                image: image.clone(),
                known: vec![1; DIM],
            }),
            ..config.clone()
        };
        let refused = studio.begin(all).await.unwrap_err().to_string();
        assert!(refused.contains("leave at least one"), "{refused}");
        let wrong = StudioConfig {
            inpaint: Some(InpaintConfig {
                image: vec![0; 10],
                known,
            }),
            ..config
        };
        assert!(studio.begin(wrong).await.is_err());
    });
}

#[test]
fn descent_lowers_the_energy_and_continues() {
    let device = Device::flex();
    let (mut studio, _) = studio(true, &device);
    let image: Vec<u8> = (0..DIM).map(|i| (i * 37 % 256) as u8).collect();
    block_on(async {
        assert!(studio.descend(None, 1).await.is_err(), "nowhere to start");
        let score = studio.score(&image).await.unwrap();
        assert_eq!(score.gradient.0.len(), DIM);
        assert!(score.ood.is_some() && score.class_cosines.unwrap().0.len() == 3);
        let start = studio.descend(Some(&image), 0).await.unwrap();
        assert_eq!(start.image.0, image);
        assert!((start.energy - score.energy).abs() < 1e-6 * score.energy.abs().max(1.0));
        let low = studio.descend(None, 5).await.unwrap();
        assert!(low.step == 5 && low.energy < start.energy, "{low:?}");
        let whole = studio.descend(Some(&image), 7).await.unwrap();
        studio.descend(Some(&image), 3).await.unwrap();
        let parts = studio.descend(None, 4).await.unwrap();
        assert_eq!((parts.step, parts.image), (7, whole.image));
        assert!(studio.score(&image[1..]).await.is_err());
    });
}

#[test]
fn a_model_without_guidance_generates_but_has_no_conditions() {
    let device = Device::flex();
    let (mut studio, info) = studio(false, &device);
    block_on(async {
        studio.begin(config(&info)).await.unwrap();
        assert_eq!(studio.advance(8).await.unwrap().step, 8);
        let conditioned = StudioConfig {
            conditions: vec![ConditionConfig {
                of: ConditionSource::Class(0),
                role: Role::All,
                weight: 1.0,
            }],
            ..config(&info)
        };
        let refused = studio.begin(conditioned).await.unwrap_err().to_string();
        assert!(refused.contains("guided"), "{refused}");
        assert!(studio.score(&[0; DIM]).await.unwrap().ood.is_none());
    });
    // Truncated weights are an error, and the loaded model stays.
    let architecture = architecture(false);
    let bytes = weights(&architecture, &device);
    let cut = block_on(studio.load(card(&architecture), &bytes[..bytes.len() / 2], None, None));
    assert!(cut.is_err());
    assert!(block_on(studio.score(&[0; DIM])).is_ok());
}

/// All of `mixwell eval`, on a small model and synthetic data.
#[test]
fn eval_measures_writes_and_is_reproducible() {
    let device = Device::flex();
    let root = std::env::temp_dir().join(format!("mixwell-eval-{}", std::process::id()));
    let folder = root.join("clel-test");
    let architecture = architecture(true);
    let weights = weights(&architecture, &device);
    let mut card = card(&architecture);
    card.data.name = "mnist".into();
    artifact::write_model(&folder, &card, &weights).unwrap();
    let pictures = root.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    // Of the model's own size: read as they are.
    let mut drawn = Vec::new();
    for i in 0..3u8 {
        let image =
            image::GrayImage::from_fn(12, 12, |x, y| image::Luma([(x as u8 * 20) ^ (y as u8 * i)]));
        image.save(pictures.join(format!("{i}.png"))).unwrap();
        drawn.extend(image.into_raw());
    }
    let load = |_: &DataRef, split: Split, _: [usize; 3]| {
        let (count, seed) = match split {
            Split::Train => (60, 1),
            Split::Test => (20, 2),
        };
        let words = Rng::new(seed).words(Purpose::Data, 0, count, DIM);
        Ok(Dataset {
            images: words.iter().map(|w| (w >> 25) as u8).collect(),
            labels: vec![0; count],
            count,
            height: 12,
            width: 12,
            channels: 1,
            ..Dataset::empty("mnist", split)
        })
    };
    let plan = Plan {
        samples: 12,
        seed: 4,
        rounds: Some(1),
        steps: Some(2),
        images: 20,
        others: vec![pictures.to_string_lossy().into_owned()],
        resamples: 50,
        neighbours: 4,
        reference: None,
    };
    let measure = || {
        let mut notes = Vec::new();
        let report = evaluate(
            &plan,
            Setting {
                model: folder.to_str().unwrap(),
                classifier: None,
                against: None,
                inception: None,
                kept_samples: Some(root.join("kept.samples")),
                data: None,
                load: &load,
                device: (device.clone(), "CPU".into()),
                note: &mut |text| notes.push(text.to_owned()),
            },
        );
        (report, notes)
    };
    let (report, notes) = measure();
    let report = report.unwrap();
    assert!(notes.iter().any(|n| n.contains("12 of 12")), "{notes:?}");
    // Without the networks, no number is reported that could be mistaken for FID.
    assert!(report.fid.is_none() && report.classifier_feature_distance.is_none());
    assert_eq!(report.gradients, 2);
    let sets: Vec<_> = report.auroc.keys().map(String::as_str).collect();
    assert_eq!(sets, ["flat", "noise", "pictures", "samples"]);
    for a in report.auroc.values() {
        assert!(a.energy.low <= a.energy.high && a.ood.is_some());
    }
    // The pictures' areas by their definition, from both scores of every image.
    let scores = |bytes: &[u8]| {
        let values: Vec<f32> = bytes.iter().map(|&v| f32::from(v) / 255.0).collect();
        let x = TensorData::new(values, [bytes.len() / DIM, DIM]);
        let (energy, ood) = clel(true, &device).scores(Tensor::from_data(x, &device));
        [host(energy), host(ood.unwrap())]
    };
    let test = load(&DataRef::Known(DatasetName::Mnist), Split::Test, SHAPE).unwrap();
    let (inside, outside) = (scores(&test.images), scores(&drawn));
    let found = report.auroc["pictures"];
    let found = [found.energy.value, found.ood.unwrap().value];
    for (k, found) in found.into_iter().enumerate() {
        let pairs = inside[k]
            .iter()
            .flat_map(|i| outside[k].iter().map(move |o| o > i));
        let won = pairs.clone().filter(|won| *won).count() as f64;
        let area = won / pairs.count() as f64;
        assert!((found - area).abs() < 1e-12, "{found} for {area}");
    }
    assert_eq!(report.energies["train"].counts.iter().sum::<usize>(), 20);
    assert!(report.neighbours.samples > 0.0 && report.neighbours.images == 4);
    let text = std::fs::read(folder.join("scores.json")).unwrap();
    let scores = Scores::parse(&text, "clel-test").unwrap();
    assert_eq!(scores.sets.len(), 5);
    assert!(
        scores.sets[0].auroc.is_none(),
        "the model's data set comes first"
    );
    for file in ["eval.json", "samples.png", "neighbours.png"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    // Card and manifest include the results, and the model still loads.
    let (card, _) = system::read_model(folder.to_str().unwrap(), &device).unwrap();
    assert!(card.metrics.contains_key("auroc_noise") && !card.metrics.contains_key("fid"));
    let manifest = std::fs::read_to_string(root.join("manifest.json")).unwrap();
    assert!(manifest.contains("scores.json"));
    // The stored scores give a test image its percentile.
    let mut studio = Studio::new(device.clone());
    let (card, bytes) = artifact::read_files(folder.to_str().unwrap()).unwrap();
    block_on(studio.load(card, &bytes, None, Some(&text))).unwrap();
    let image = load(
        &DataRef::Known(DatasetName::Mnist),
        Split::Test,
        [1, 12, 12],
    )
    .unwrap()
    .images[..DIM]
        .to_vec();
    let score = block_on(studio.score(&image)).unwrap();
    let p = score.percentiles[0].energy;
    assert!(score.percentiles.len() == 5 && p.low <= p.below && p.below <= p.high);
    // It is the first of the twenty whose energies the percentiles are of.
    let energies = &inside[0];
    let lower = energies.iter().filter(|e| **e < energies[0]).count();
    let share = lower as f64 / 19.0;
    assert!(
        (p.below - share).abs() < 0.03,
        "{} for rank {lower} of 20",
        p.below
    );
    // The same seed gives the same report; only the time differs.
    // The second evaluation reads the samples that the first stored.
    let (again, notes) = measure();
    let again = again.unwrap();
    assert!(
        notes.iter().any(|n| n.contains("stored samples")),
        "{notes:?}"
    );
    assert_eq!(
        Report {
            seconds: 0.0,
            ..again
        },
        Report {
            seconds: 0.0,
            ..report
        }
    );
    // Stored samples of another plan are refused, and so is a file without samples.
    let kept = |plan: &Plan| {
        let setting = Setting {
            model: folder.to_str().unwrap(),
            classifier: None,
            against: None,
            inception: None,
            kept_samples: Some(root.join("kept.samples")),
            data: None,
            load: &load,
            device: (device.clone(), "CPU".into()),
            note: &mut |_| (),
        };
        evaluate(plan, setting).unwrap_err().to_string()
    };
    let other = Plan {
        seed: 5,
        ..plan.clone()
    };
    assert!(kept(&other).contains("seed: 5"));
    std::fs::write(root.join("kept.samples"), b"no samples").unwrap();
    assert!(kept(&plan).contains("kept.samples"));
    // A baseline evaluated with the same plan is added to the card; one of another plan is refused.
    let with = |plan: &Plan| {
        let setting = Setting {
            model: folder.to_str().unwrap(),
            classifier: None,
            against: folder.to_str(),
            inception: None,
            kept_samples: None,
            data: None,
            load: &load,
            device: (device.clone(), "CPU".into()),
            note: &mut |_| (),
        };
        evaluate(plan, setting)
    };
    with(&plan).unwrap();
    let (card, _) = artifact::read_files(folder.to_str().unwrap()).unwrap();
    assert_eq!(card.metrics["baseline"]["model"], "clel-test");
    let more = Plan {
        samples: 13,
        ..plan.clone()
    };
    assert!(
        with(&more)
            .unwrap_err()
            .to_string()
            .contains("same options")
    );
    let text = std::fs::read(folder.join("scores.json")).unwrap();
    // An empty folder among the other sets is reported, and written files stay unchanged.
    let empty = root.join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let bad = Plan {
        others: vec![empty.to_string_lossy().into_owned()],
        ..plan.clone()
    };
    let setting = Setting {
        model: folder.to_str().unwrap(),
        classifier: None,
        against: None,
        inception: None,
        kept_samples: None,
        data: None,
        load: &load,
        device: (device.clone(), "CPU".into()),
        note: &mut |_| (),
    };
    let refused = evaluate(&bad, setting).unwrap_err().to_string();
    assert!(refused.contains("found none"), "{refused}");
    assert_eq!(std::fs::read(folder.join("scores.json")).unwrap(), text);
    std::fs::remove_dir_all(root).unwrap();
}
