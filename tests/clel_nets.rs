//! CLEL's networks against PyTorch (tests/fixtures/clel_nets.py), and their invariants: frozen and
//! trainable networks compute the same function, gradients match finite differences, and untrained
//! state survives training and saving.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Gradients, Tensor, TensorData},
};
use mixwell::{
    Error,
    nn::{
        dict::{Dict, DictBuilder},
        ema::Ema,
        encoder::{Encoder, EncoderConfig, FrozenEncoder},
        layers::Init,
        resnet::{
            Block, EnergyNet, EnergyNetConfig, FrozenEnergyNet, Precision, energy_of, unit_rows,
        },
        spectral::{ConvShape, Convolution, SpectralConv},
    },
    rng::{Purpose, Rng},
};
use serde_json::Value;

use crate::common::{Fill, assert_close, assert_near, devices, host, pseudo, values};

/// f32 against PyTorch's doubles, relative to the largest value: outputs.
const OUTPUT: f64 = 1e-5;
/// The same for gradients and after batch normalisation, whose small variances amplify rounding.
const GRADIENT: f64 = 1e-4;

fn fixture(name: &str) -> Value {
    let text = include_str!("fixtures/clel_nets.json");
    serde_json::from_str::<Value>(text).unwrap()[name].clone()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn pseudo_tensor<const D: usize>(index: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = pseudo(index, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Images in [0, 1), `[n, D]`.
fn images(index: u64, n: usize, dim: usize, device: &Device) -> Tensor<2> {
    (pseudo_tensor(index, [n, dim], device) + 1.0) / 2.0
}

/// Values, or gradients where `grads` are given, by path.
struct Collect<'a> {
    grads: Option<&'a Gradients>,
    path: Vec<String>,
    found: BTreeMap<String, Vec<f64>>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = match self.grads {
            Some(grads) => param.is_require_grad().then(|| param.grad(grads)).flatten(),
            None => Some(param.val().inner()),
        };
        if let Some(value) = value {
            self.found.insert(self.path.join("."), host(value));
        }
    }
}

fn collect(module: &impl Module, grads: Option<&Gradients>) -> BTreeMap<String, Vec<f64>> {
    let mut collect = Collect {
        grads,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    module.visit(&mut collect);
    collect.found
}

const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2470, 0.2435, 0.2616];

fn tiny() -> EnergyNetConfig {
    EnergyNetConfig::tiny([1, 28, 28], &[0.286], &[0.353])
}

fn multiscale() -> EnergyNetConfig {
    EnergyNetConfig {
        shape: [2, 16, 16],
        stages: vec![(3, 1), (3, 2), (4, 1)],
        scales: 3,
        hidden: 8,
        features: 5,
        mean: vec![0.4, 0.6],
        std: vec![0.3, 0.2],
    }
}

fn filled_net(config: &EnergyNetConfig, first: u64, device: &Device) -> EnergyNet {
    let mut net = EnergyNet::new(config, &mut Init::new(0, device))
        .unwrap()
        .map(&mut Fill::new(first));
    for _ in 0..3 {
        net.iterate();
    }
    net
}

#[test]
fn spectral_convolution_matches_pytorch() {
    let f = fixture("spectral");
    let shape = ConvShape {
        inputs: 3,
        outputs: 5,
        kernel: 3,
        bias: true,
    };
    for (name, device) in devices() {
        for device in [device.clone(), device.autodiff()] {
            let tracked = device.is_autodiff();
            let what = |part: &str| format!("spectral {part} on {name}, autodiff {tracked}");
            let layer = SpectralConv::new(&mut Init::new(0, &device), shape).map(&mut Fill::new(0));
            let layer = layer.iterated().iterated().iterated();
            let x = pseudo_tensor(100, [2, 3, 5, 4], &device.clone().inner());
            let y = layer.forward(x.clone());
            assert_near(&what("y"), &host(y.clone()), &numbers(&f["y"]), OUTPUT);
            let sigma = f["sigma"].as_f64().unwrap();
            assert_near(&what("σ"), &host(layer.sigma()), &[sigma], OUTPUT);
            assert_near(&what("u"), &host(layer.u.val()), &numbers(&f["u"]), OUTPUT);
            assert_near(&what("v"), &host(layer.v.val()), &numbers(&f["v"]), OUTPUT);
            assert!(!layer.u.is_require_grad() && !layer.v.is_require_grad());
            let frozen = layer.frozen().forward(x);
            assert_near(&what("frozen"), &host(frozen), &numbers(&f["y"]), OUTPUT);
            if tracked {
                let weights = pseudo_tensor(101, y.dims(), &device.clone().inner());
                let grads = (y * weights).sum().backward();
                let found = collect(&layer, Some(&grads));
                assert_eq!(found.len(), 2, "{:?}", found.keys());
                for (part, field) in [("weight", "weight_grad"), ("bias", "bias_grad")] {
                    let (_, gradient) = found.iter().find(|(k, _)| k.contains(part)).unwrap();
                    assert_near(&what(field), gradient, &numbers(&f[field]), OUTPUT);
                }
            }
        }
    }
}

#[test]
fn power_iterations_converge_to_the_largest_singular_value() {
    let f = fixture("spectral");
    let shape = ConvShape {
        inputs: 3,
        outputs: 5,
        kernel: 3,
        bias: false,
    };
    for (name, device) in devices() {
        let mut layer = SpectralConv::new(&mut Init::new(0, &device), shape);
        layer.weight = Param::from_tensor(pseudo_tensor(1, [5, 3, 3, 3], &device) * 0.2);
        for _ in 0..100 {
            layer.iterate();
        }
        let exact = f["exact"].as_f64().unwrap();
        assert_near(
            &format!("converged σ on {name}"),
            &host(layer.sigma()),
            &[exact],
            OUTPUT,
        );
    }
}

#[test]
fn residual_block_matches_pytorch() {
    let f = fixture("block");
    for (name, device) in devices() {
        let block = Block::new(&mut Init::new(0, &device), 3, 4).map(&mut Fill::new(200));
        let block = block.iterated().iterated().iterated();
        let y = block.forward(pseudo_tensor(300, [2, 3, 5, 4], &device));
        assert_near(
            &format!("block on {name}"),
            &host(y),
            &numbers(&f["y"]),
            OUTPUT,
        );
    }
}

/// The exact integers, by hand from arXiv 2303.03023's architectures, and PyTorch's counts.
#[test]
fn parameter_counts_match_the_paper() {
    let f = fixture("parameters");
    let device = Device::flex();
    let cifar = [3, 32, 32];
    let energy = [
        ("tiny", tiny(), 1_088_320),
        (
            "small",
            EnergyNetConfig::small(cifar, &MEAN, &STD),
            1_725_056,
        ),
        ("base", EnergyNetConfig::base(cifar, &MEAN, &STD), 6_955_648),
        (
            "large",
            EnergyNetConfig::large(cifar, &MEAN, &STD),
            30_706_816,
        ),
    ];
    for (name, config, expected) in energy {
        let net = EnergyNet::new(&config, &mut Init::new(0, &device)).unwrap();
        println!("energy net {name}: {} parameters", net.parameters());
        assert_eq!(net.parameters(), expected, "{name}");
        assert_eq!(net.frozen().parameters(), expected, "{name}, frozen");
        assert_eq!(f["energy"][name].as_u64().unwrap() as usize, expected);
        // The count does not depend on tracking.
        assert_eq!(net.train().parameters(), expected, "{name}, tracked");
    }
    let encoders = [
        (
            "resnet18",
            EncoderConfig::resnet18(cifar, &MEAN, &STD),
            12_483_776,
        ),
        (
            "small",
            EncoderConfig::small([1, 28, 28], &[0.286], &[0.353]),
            1_147_360,
        ),
    ];
    for (name, config, expected) in encoders {
        let net = Encoder::new(&config, &mut Init::new(0, &device)).unwrap();
        println!("encoder {name}: {} parameters", net.parameters());
        assert_eq!(net.parameters(), expected, "{name}");
        assert_eq!(f["encoder"][name].as_u64().unwrap() as usize, expected);
    }
}

#[test]
fn energy_nets_match_pytorch() {
    for (name, device) in devices() {
        for (i, (case, config)) in [("tiny", tiny()), ("multiscale", multiscale())]
            .into_iter()
            .enumerate()
        {
            let f = fixture(case);
            let what = |part: &str| format!("{case} {part} on {name}");
            let net = filled_net(&config, 1000 * (i as u64 + 1), &device);
            let frozen = net.frozen();
            let x = images(400 + i as u64, 2, config.dim(), &device);
            for (form, features) in [
                ("trainable", net.features(x.clone())),
                ("frozen", frozen.features(x.clone())),
            ] {
                let expected = numbers(&f["features"]);
                assert_near(
                    &what(&format!("{form} f")),
                    &host(features.clone()),
                    &expected,
                    OUTPUT,
                );
                let projected = frozen.project(features);
                let expected = numbers(&f["projected"]);
                assert_near(&what("g"), &host(projected), &expected, OUTPUT);
            }
            let expected = numbers(&f["energy"]);
            assert_near(
                &what("E"),
                &host(frozen.energy(x.clone())),
                &expected,
                OUTPUT,
            );
            let leaf = x.autodiff().require_grad();
            let mut grads = frozen.energy(leaf.clone()).sum().backward();
            let gradient = leaf.grad_remove(&mut grads).unwrap();
            let expected = numbers(&f["input_grad"]);
            assert_near(&what("∂E/∂x"), &host(gradient), &expected, GRADIENT);
        }
    }
}

#[test]
fn weight_gradients_match_pytorch() {
    let f = fixture("multiscale");
    for (name, device) in devices() {
        let config = multiscale();
        let net = filled_net(&config, 2000, &device.clone().autodiff());
        let x = images(401, 2, config.dim(), &device);
        let grads = net.energy(x).sum().backward();
        let found = collect(&net, Some(&grads));
        for (path, field) in [
            ("trunks.2.stem.weight", "stem_grad"),
            ("trunks.2.blocks.3.shortcut.weight", "shortcut_grad"),
        ] {
            let gradient = found
                .get(path)
                .unwrap_or_else(|| panic!("no {path} in {:?}", found.keys()));
            assert_near(
                &format!("{path} on {name}"),
                gradient,
                &numbers(&f[field]),
                GRADIENT,
            );
        }
        assert!(!found.keys().any(|k| k.ends_with(".u") || k.ends_with(".v")));
    }
}

#[test]
fn frozen_and_trainable_networks_agree() {
    for (name, device) in devices() {
        for config in [tiny(), multiscale()] {
            let net = filled_net(&config, 3000, &device.clone().autodiff());
            let frozen = net.frozen();
            let x = images(7, 3, config.dim(), &device);
            let (a, b) = (net.features(x.clone()), frozen.features(x.clone()));
            // The frozen network tracks no gradients.
            assert!(a.is_autodiff() && !b.is_autodiff());
            assert_near(&format!("f on {name}"), &host(b), &host(a.inner()), 1e-5);
            let (a, b) = (net.energy(x.clone()).inner(), frozen.energy(x));
            assert_close(&host(b), &host(a), 1e-5);
        }
    }
}

#[test]
fn input_gradients_match_finite_differences() {
    for (name, device) in devices() {
        let config = tiny();
        let frozen = filled_net(&config, 3000, &device).frozen();
        let x = images(8, 4, config.dim(), &device);
        let v = Rng::new(4).normal_tensor(Purpose::Data, 0, 4, config.dim(), &device);
        let leaf = x.clone().autodiff().require_grad();
        let mut grads = frozen.energy(leaf.clone()).sum().backward();
        let gradient = leaf.grad_remove(&mut grads).unwrap();
        let along = host((gradient * v.clone()).sum_dim(1));
        let h = 5e-4;
        let e = |s: f64| host(frozen.energy(x.clone() + v.clone() * s));
        let numerical: Vec<f64> = e(h)
            .iter()
            .zip(e(-h))
            .map(|(p, m)| (p - m) / (2.0 * h))
            .collect();
        // The tolerance covers kinks of the leaky ReLUs that a step crosses (0.7 % at 1e-3, in
        // doubles too); rounding is 2e-4 there.
        assert_near(&format!("∂E/∂x·v on {name}"), &along, &numerical, 1e-2);
    }
}

/// The hand-written backward pass through the trunks matches autodiff, for one and three scales and
/// for odd and even sizes.
#[test]
fn hand_written_backward_pass_matches_autodiff() {
    for (name, device) in devices() {
        for config in [tiny(), multiscale()] {
            let frozen = filled_net(&config, 3000, &device).frozen();
            let x = images(9, 3, config.dim(), &device);
            let leaf = x.clone().autodiff().require_grad();
            let energy = frozen.energy(leaf.clone());
            let mut grads = energy.clone().sum().backward();
            let expected = host(leaf.grad_remove(&mut grads).unwrap());
            let mut norm = None;
            let (value, gradient) = frozen.differentiate(x, |f| {
                let squares = f.powi_scalar(2).sum_dim(1).reshape([3]);
                norm = Some(squares.clone().inner());
                squares * 0.5
            });
            let norm = norm.unwrap();
            let what = |part: &str| format!("{part}, {} scales, on {name}", config.scales);
            assert_near(&what("E"), &host(value), &host(energy.inner()), 1e-6);
            let twice: Vec<f64> = host(norm).iter().map(|v| v / 2.0).collect();
            assert_near(
                &what("parts"),
                &twice,
                &host(frozen.energy(images(9, 3, config.dim(), &device))),
                1e-6,
            );
            assert_near(&what("∇E"), &host(gradient), &expected, 1e-5);
        }
    }
}

/// Trunks in 16 bits give the energies and gradients of the same network up to rounding, for one scale
/// and three, also for gradients far below the smallest positive f16 (6e-8).
#[test]
fn gradients_in_16_bits_match_32_bits() {
    for (name, device) in devices() {
        let tried = [(Precision::F16, 11.0), (Precision::Bf16, 8.0)];
        let tried = tried.map(|(p, bits)| (p, bits, p.is_supported(&device)));
        // The CPU supports both formats; a GPU may support one or none, as the command line reports.
        assert!(name != "cpu" || (tried[0].2 && tried[1].2), "{name}");
        for (precision, _, _) in tried.iter().filter(|(_, _, there)| !there) {
            println!("{name} has no {precision:?}");
        }
        for (precision, bits, _) in tried.into_iter().filter(|(_, _, there)| *there) {
            for (config, scale) in [(tiny(), 1.0), (multiscale(), 1.0), (tiny(), 1e-9)] {
                let frozen = filled_net(&config, 3000, &device).frozen();
                let rounded = frozen.clone().in_precision(precision);
                let x = images(9, 3, config.dim(), &device);
                let energy = |f: Tensor<2>| {
                    let [n, _] = f.dims();
                    f.powi_scalar(2).sum_dim(1).reshape([n]) * (0.5 * scale)
                };
                let (e, g) = frozen.differentiate(x.clone(), energy);
                let (e16, g16) = rounded.differentiate(x.clone(), energy);
                let what = |part: &str| format!("{part}, {precision:?}, {scale} on {name}");
                let unit = 2f64.powf(-bits);
                assert_near(&what("E"), &host(e16.clone()), &host(e), 8.0 * unit);
                let (g, g16) = (host(g), host(g16));
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let size = dot(&g, &g).sqrt();
                assert!(size > 0.0);
                let off: Vec<f64> = g.iter().zip(&g16).map(|(a, b)| a - b).collect();
                let off = dot(&off, &off).sqrt() / size;
                println!("{}: off by {off:.1e}", what("∇E"));
                // Far more than one rounding: sums are accumulated in 16 bits too, and units near zero
                // cross the leaky ReLU's kink. 0.5 to 8 % were observed; underflow or overflow would be
                // off by 100 %.
                assert!(off < 0.15, "{}: off by {off}", what("∇E"));
                assert!(off > 0.0, "{}: not rounded at all", what("∇E"));
                if scale == 1.0 {
                    let plain = host(rounded.energy(x));
                    assert_near(&what("E alone"), &plain, &host(e16), 1e-5);
                }
            }
        }
    }
}

/// Folding the normalisations into the layers changes no latent, and a file restores them up to f16
/// rounding.
#[test]
fn frozen_encoder_matches_the_encoder() {
    for (name, device) in devices() {
        let config = EncoderConfig::small([1, 28, 28], &[0.286], &[0.353]);
        let mut encoder = Encoder::new(&config, &mut Init::new(3, &device)).unwrap();
        for i in 0..3 {
            encoder.forward_train(images(20 + i, 8, 784, &device));
        }
        let x = images(30, 5, 784, &device);
        let frozen = encoder.frozen();
        let expected = host(encoder.latent(x.clone()));
        let what = |part: &str| format!("{part} on {name}");
        assert_near(
            &what("folded"),
            &host(frozen.latent(x.clone())),
            &expected,
            1e-4,
        );
        let mut to = DictBuilder::default();
        frozen.save(&mut to, "encoder");
        let bytes = to.finish().unwrap();
        let dict = Dict::open(&bytes, "test", &device).unwrap();
        let read = FrozenEncoder::load(&dict, "encoder", &config).unwrap();
        assert_eq!(read.parameters(), frozen.parameters());
        assert_near(&what("stored"), &host(read.latent(x)), &expected, 5e-3);
        let wider = EncoderConfig {
            latent: 64,
            ..config.clone()
        };
        let refused = FrozenEncoder::load(&dict, "encoder", &wider).unwrap_err();
        assert!(
            refused.to_string().contains("encoder.out.weight"),
            "{refused}"
        );
    }
}

fn train_step(net: EnergyNet, x: Tensor<2>) -> EnergyNet {
    let grads = net.energy(x).mean().backward();
    let grads = GradientsParams::from_grads(grads, &net);
    AdamConfig::new().init().step(1e-3, net, grads)
}

/// u and v are saved and loaded exactly, and only `iterate` changes them.
#[test]
fn power_iteration_vectors_survive_optimiser_and_record() {
    for (name, device) in devices() {
        let tracked = device.clone().autodiff();
        let config = multiscale();
        let net = filled_net(&config, 2000, &tracked);
        let x = images(401, 2, config.dim(), &device);
        let vectors = |net: &EnergyNet| -> BTreeMap<_, _> {
            collect(net, None)
                .into_iter()
                .filter(|(k, _)| k.ends_with(".u") || k.ends_with(".v"))
                .collect()
        };
        let before = vectors(&net);
        // 3 trunks of a stem, 4 blocks and a shortcut.
        assert_eq!(before.len(), 3 * (1 + 4 * 2 + 1) * 2);
        let trained = train_step(net.clone(), x.clone());
        assert_eq!(vectors(&trained), before, "{name}");
        let weights = collect(&trained, None);
        assert_ne!(weights, collect(&net, None), "{name}: nothing was trained");

        let blank = EnergyNet::new(&config, &mut Init::new(5, &tracked)).unwrap();
        let loaded = blank.load_record(trained.clone().into_record());
        assert_eq!(collect(&loaded, None), weights, "{name}");
        assert_eq!(loaded.parameters(), trained.parameters());
        // The resumed network continues like the other: step, iterate, step.
        let go_on = |net: EnergyNet| train_step(train_step(net, x.clone()).iterated(), x.clone());
        assert_eq!(
            collect(&go_on(loaded), None),
            collect(&go_on(trained.clone()), None)
        );
        // After an iteration and an average, u and v are still state and have unit length.
        let mut ema = Ema::new(&trained, 0.5);
        ema.update(&train_step(trained, x.clone()).iterated());
        let average = ema.average().clone().iterated();
        for (path, v) in vectors(&average) {
            let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((norm - 1.0).abs() < 1e-5, "{name}: ‖{path}‖ = {norm}");
        }
        assert!(host(average.frozen().energy(x)).iter().all(|e| *e > 0.0));
    }
}

#[test]
fn stored_networks_round_trip_and_damaged_files_are_refused() {
    let bytes = |net: &FrozenEnergyNet| {
        let mut to = DictBuilder::default();
        net.save(&mut to);
        to.finish().unwrap()
    };
    for (name, device) in devices() {
        for config in [tiny(), multiscale()] {
            let load = |bytes: &[u8], config: &EnergyNetConfig| {
                Dict::open(bytes, "test", &device).and_then(|d| FrozenEnergyNet::load(&d, config))
            };
            let net = filled_net(&config, 3000, &device).frozen();
            let stored = bytes(&net);
            let loaded = load(&stored, &config).unwrap();
            assert_eq!(loaded.parameters(), net.parameters());
            let x = images(9, 3, config.dim(), &device);
            let (f, expected) = (loaded.features(x.clone()), net.features(x.clone()));
            // f16 rounds each weight by a relative error of up to 5e-4.
            assert_near(
                &format!("stored f on {name}"),
                &host(f.clone()),
                &host(expected.clone()),
                2e-3,
            );
            assert_near(
                &format!("stored g on {name}"),
                &host(loaded.project(f)),
                &host(net.project(expected)),
                2e-3,
            );
            // A second round trip is exact.
            let again = load(&bytes(&loaded), &config).unwrap();
            assert_eq!(
                host(again.energy(x.clone())),
                host(loaded.energy(x.clone()))
            );

            let truncated = load(&stored[..stored.len() - 7], &config);
            assert!(matches!(truncated, Err(Error::Model { .. })));
            let mut other = config.clone();
            other.stages[0].0 += 1;
            let error = load(&stored, &other).unwrap_err().to_string();
            assert!(
                error.contains("expected tensor energy.trunk.0.stem.weight"),
                "{error}"
            );
        }
    }
}

#[test]
fn encoder_matches_pytorch() {
    let f = fixture("encoder");
    let config = EncoderConfig::small([1, 28, 28], &[0.286], &[0.353]);
    for (name, device) in devices() {
        for device in [device.clone(), device.autodiff()] {
            let tracked = device.is_autodiff();
            let near = |part: &str, found: Vec<f64>, tolerance: f64| {
                let what = format!("encoder {part} on {name}, autodiff {tracked}");
                assert_near(&what, &found, &numbers(&f[part]), tolerance);
            };
            let mut net = Encoder::new(&config, &mut Init::new(0, &device))
                .unwrap()
                .map(&mut Fill::new(5000));
            let x = images(500, 6, 28 * 28, &device.clone().inner());
            let before = collect(&net, None);
            near("eval", host(net.forward(x.clone())), GRADIENT);
            near("latent", host(net.latent(x.clone())), GRADIENT);
            assert_eq!(collect(&net, None), before, "inference changed the encoder");
            let y = net.forward_train(x);
            near("train", host(y.clone()), GRADIENT);
            let state = collect(&net, None);
            near("stem_mean", state["stem.norm.running_mean"].clone(), OUTPUT);
            near("stem_var", state["stem.norm.running_var"].clone(), OUTPUT);
            let shortcut = "blocks.2.shortcut.norm.running_var";
            near("shortcut_var", state[shortcut].clone(), OUTPUT);
            let hidden = |part: &str| state[&format!("hidden_norm.{part}")][..64].to_vec();
            near("hidden_mean", hidden("running_mean"), OUTPUT);
            near("hidden_var", hidden("running_var"), OUTPUT);
            if tracked {
                let weights = pseudo_tensor(501, y.dims(), &device.clone().inner());
                let grads = (unit_rows(y) * weights).sum().backward();
                let found = collect(&net, Some(&grads));
                assert!(!found.keys().any(|k| k.contains("running")));
                near("stem_grad", found["stem.weight"].clone(), GRADIENT);
                let gamma = "blocks.1.second.norm.gamma";
                near("gamma_grad", found[gamma].clone(), GRADIENT);
                near("out_bias_grad", found["out.bias"].clone(), GRADIENT);
            }
        }
    }
}

/// Running statistics are saved and loaded, and the optimiser does not change them.
#[test]
fn running_statistics_survive_optimiser_and_record() {
    let device = Device::flex().autodiff();
    let mut config = EncoderConfig::small([1, 8, 8], &[0.5], &[0.5]);
    config.stages = vec![(4, 1), (6, 1)];
    (config.hidden, config.latent) = (8, 5);
    let mut net = Encoder::new(&config, &mut Init::new(1, &device)).unwrap();
    let x = images(10, 6, 64, &device.clone().inner());
    let loss = net.latent_train(x.clone()).sum();
    let statistics = |net: &Encoder| -> BTreeMap<_, _> {
        collect(net, None)
            .into_iter()
            .filter(|(k, _)| k.contains("running"))
            .collect()
    };
    let before = statistics(&net);
    assert!(before.values().flatten().any(|v| *v != 0.0 && *v != 1.0));
    let grads = GradientsParams::from_grads(loss.backward(), &net);
    let trained = AdamConfig::new().init().step(1e-2, net.clone(), grads);
    assert_eq!(statistics(&trained), before);
    assert_ne!(collect(&trained, None), collect(&net, None));
    let blank = Encoder::new(&config, &mut Init::new(2, &device)).unwrap();
    let loaded = blank.load_record(trained.clone().into_record());
    assert_eq!(collect(&loaded, None), collect(&trained, None));
    assert_eq!(loaded.parameters(), trained.parameters());
    let z = host(loaded.valid().latent(x.clone()));
    assert_eq!(z, host(trained.valid().latent(x)));
    for row in z.chunks(5) {
        let norm = row.iter().map(|v| v * v).sum::<f64>();
        assert!((norm - 1.0).abs() < 1e-5);
    }
}

/// Standard deviations of the initial weights, on tensors large enough for a tight estimate.
#[test]
fn initial_weights_match_the_authors_code() {
    let device = Device::flex();
    let sd = |v: &[f64]| (v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64).sqrt();
    let config = EnergyNetConfig::small([3, 32, 32], &MEAN, &STD);
    let net = collect(
        &EnergyNet::new(&config, &mut Init::new(1, &device)).unwrap(),
        None,
    );
    for (path, expected) in [
        ("trunks.0.blocks.0.first.weight", (1.0f64 / 576.0).sqrt()),
        ("trunks.0.blocks.2.second.weight", (1.0f64 / 1152.0).sqrt()),
        ("head.first.weight", 0.01),
        ("projector.second.weight", 0.01),
    ] {
        let found = sd(&net[path]);
        assert!((found / expected - 1.0).abs() < 0.02, "{path}: {found}");
    }
    assert!(
        net.iter()
            .filter(|(k, _)| k.ends_with("bias"))
            .all(|(_, v)| v.iter().all(|v| *v == 0.0))
    );
    let config = EncoderConfig::small([1, 28, 28], &[0.286], &[0.353]);
    let net = collect(
        &Encoder::new(&config, &mut Init::new(1, &device)).unwrap(),
        None,
    );
    for (path, expected) in [
        ("blocks.0.first.weight", (2.0f64 / 288.0).sqrt()),
        ("blocks.1.shortcut.weight", (2.0f64 / 64.0).sqrt()),
        ("hidden.weight", (1.0f64 / 384.0).sqrt()),
        ("out.weight", (1.0f64 / 6144.0).sqrt()),
    ] {
        let found = sd(&net[path]);
        assert!((found / expected - 1.0).abs() < 0.03, "{path}: {found}");
    }
    // Uniform weights are bounded by √3 standard deviations.
    let bound = net["out.weight"]
        .iter()
        .fold(0.0, |m: f64, v| m.max(v.abs()));
    assert!((bound * 2048f64.sqrt() - 1.0).abs() < 1e-3, "{bound}");
    for i in 0..4 {
        let gamma = &net[&format!("blocks.{i}.second.norm.gamma")];
        assert!(gamma.iter().all(|v| *v == 0.0));
    }
}

/// The kernels for the CPU keep their own copy of the weights: it must follow them.
#[test]
fn changed_weights_are_used() {
    let device = Device::flex();
    let net = filled_net(&multiscale(), 0, &device).frozen();
    let x = images(3, 2, 512, &device);
    let at = |net: &FrozenEnergyNet| {
        let (energy, gradient) = net.differentiate(x.clone(), energy_of);
        [host(energy), host(gradient)].concat()
    };
    let first = at(&net);
    assert_eq!(at(&net), first);
    let other = filled_net(&multiscale(), 500, &device).frozen();
    // The first network, with the second's weights put in their places.
    let changed = net.map(&mut Replace(&mut values(&other).into_iter()));
    assert_eq!(at(&changed), at(&other));
    assert_ne!(at(&changed), first);
}

/// Puts values in the place of every parameter, in visiting order.
struct Replace<'a, I>(&'a mut I);

impl<I: Iterator<Item = Vec<f64>>> burn::module::ModuleMapper for Replace<'_, I> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.0.next().unwrap();
        param.map(|old| {
            let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            Tensor::from_data(TensorData::new(values, old.dims()), &old.device())
        })
    }
}

/// A new layer's σ is near the largest singular value, which its random u and v are not; so it has had
/// power iterations.
#[test]
fn a_new_layer_knows_its_largest_singular_value() {
    let device = Device::flex();
    let shape = ConvShape {
        inputs: 8,
        outputs: 12,
        kernel: 3,
        bias: true,
    };
    for seed in 0..5 {
        let layer = SpectralConv::new(&mut Init::new(seed, &device), shape);
        let weights = nalgebra::DMatrix::from_row_iterator(12, 72, host(layer.weight.val()));
        let exact = weights.singular_values()[0];
        let found = host(layer.sigma())[0];
        assert!((found / exact - 1.0).abs() < 0.05, "{found} for {exact}");
    }
}

#[test]
fn inconsistent_configs_are_refused() {
    let init = |config: &EnergyNetConfig| {
        EnergyNet::new(config, &mut Init::new(0, &Device::flex())).map(|_| ())
    };
    let refused = |change: &dyn Fn(&mut EnergyNetConfig)| {
        let mut config = multiscale();
        change(&mut config);
        assert!(
            matches!(init(&config), Err(Error::Invalid { .. })),
            "{config:?}"
        );
    };
    init(&multiscale()).unwrap();
    refused(&|c| c.stages.clear());
    refused(&|c| c.stages[1].1 = 0);
    refused(&|c| c.scales = 0);
    refused(&|c| c.hidden = 0);
    refused(&|c| c.std[1] = 0.0);
    refused(&|c| c.mean.truncate(1));
    // 16 → 4 by scale 3, then 2, 1: no pixel is left for a fourth stage.
    refused(&|c| c.stages.push((4, 1)));
    refused(&|c| c.shape = [2, 15, 16]);
    let large = EnergyNetConfig::large([1, 28, 28], &[0.5], &[0.5]);
    assert!(matches!(large.check(), Err(Error::Invalid { .. })));
    let mut config = EncoderConfig::small([1, 28, 28], &[0.5], &[0.5]);
    config.check().unwrap();
    config.latent = 0;
    assert!(matches!(config.check(), Err(Error::Invalid { .. })));
}
