//! The flow's layers against PyTorch, and the flow's invariants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Tensor, TensorData},
};
use mixwell::{
    Error,
    energy::{Energy, Gaussian, Mixture},
    nn::{
        dict::Dict,
        flow::{
            ActNorm, Flow, FlowConfig, InvConv, LevelConfig, TrainableFlow, squeeze, unsqueeze,
        },
        layers::{Conv, Init, leaky},
        tilt::{Tilt, TiltConfig},
    },
    rng::{Purpose, Rng},
    system::{
        COMPONENTS, Projection,
        flow_ebm::{Architecture, FlowEbm, LatentEnergy, PixelEnergy},
    },
};
use nalgebra::DMatrix;
use pollster::block_on;
use serde_json::Value;

use crate::common::{Fill, assert_close, assert_near, devices, host, pseudo};

fn fixture(name: &str) -> Value {
    let text = include_str!("fixtures/flow.json");
    serde_json::from_str::<Value>(text).unwrap()[name].clone()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn tensor<const D: usize>(v: &Value, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = numbers(v).iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn actnorm_matches_pytorch() {
    for (_, device) in devices() {
        let f = fixture("actnorm");
        let x = tensor(&f["x"], [5, 3, 4, 2], &device).permute([0, 2, 3, 1]);
        let layer = ActNorm::new(&Init::new(0, &device), 3).initialised_from(&x);
        assert_close(&host(layer.bias.val()), &numbers(&f["bias"]), 1e-5);
        assert_close(
            &host(layer.log_scale.val()),
            &numbers(&f["log_scale"]),
            1e-4,
        );
        let (y, log_det) = layer.forward(x);
        assert_close(&host(y.permute([0, 3, 1, 2])), &numbers(&f["y"]), 1e-4);
        assert_close(&host(log_det), &[f["log_det"].as_f64().unwrap()], 1e-4);
    }
}

#[test]
fn invertible_convolution_matches_pytorch() {
    for (_, device) in devices() {
        let f = fixture("invconv");
        let matrix = |v: &Value| DMatrix::from_row_slice(4, 4, &numbers(v));
        let permutation = numbers(&f["permutation"])
            .iter()
            .map(|&v| v as usize)
            .collect();
        let init = Init::new(0, &device);
        let layer = InvConv::from_factors(
            &init,
            permutation,
            &matrix(&f["lower"]),
            &matrix(&f["upper"]),
        );
        let x = tensor(&f["x"], [2, 4, 3, 3], &device).permute([0, 2, 3, 1]);
        let (y, log_det) = layer.forward(x);
        assert_close(&host(y.permute([0, 3, 1, 2])), &numbers(&f["y"]), 1e-5);
        assert_close(&host(log_det), &[f["log_det"].as_f64().unwrap()], 1e-5);
    }
}

#[test]
fn invertible_convolution_starts_at_a_rotation() {
    let device = Device::flex();
    let layer = InvConv::new(&mut Init::new(3, &device), 6);
    let eye = Tensor::<2>::eye(6, &device).reshape([1, 6, 1, 6]);
    let (a, log_det) = layer.forward(eye);
    let a = a.reshape([6, 6]);
    let product = a.clone().matmul(a.transpose());
    assert_close(&host(product), &host(Tensor::<2>::eye(6, &device)), 1e-5);
    assert_close(&host(log_det), &[0.0], 1e-5);
}

#[test]
fn squeeze_matches_the_reference_and_unsqueeze_inverts_it() {
    for (_, device) in devices() {
        let f = fixture("squeeze");
        let x = tensor(&f["x"], [1, 2, 4, 4], &device).permute([0, 2, 3, 1]);
        let y = squeeze(x.clone(), 2);
        assert_close(
            &host(y.clone().permute([0, 3, 1, 2])),
            &numbers(&f["y"]),
            0.0,
        );
        assert_close(&host(unsqueeze(y, 2)), &host(x), 0.0);
    }
}

#[test]
fn convolutions_match_pytorch() {
    for (_, device) in devices() {
        let f = fixture("conv_stack");
        let mut init = Init::new(0, &device);
        let mut first = Conv::new(&mut init, 1, 3, 3, 1, 1, 1.0);
        first.weight = Param::from_tensor(tensor(&f["w1"], [3, 1, 3, 3], &device));
        first.bias = Param::from_tensor(tensor(&f["b1"], [3], &device));
        let mut second = Conv::new(&mut init, 3, 2, 4, 2, 1, 1.0);
        second.weight = Param::from_tensor(tensor(&f["w2"], [2, 3, 4, 4], &device));
        second.bias = Param::from_tensor(tensor(&f["b2"], [2], &device));
        let x = tensor(&f["x"], [2, 1, 8, 8], &device);
        let y = leaky(second.forward(leaky(first.forward(x.clone()))));
        assert_close(&host(y), &numbers(&f["y"]), 1e-5);
        let last = first.forward_channels_last(x.clone().permute([0, 2, 3, 1]));
        assert_close(
            &host(last.permute([0, 3, 1, 2])),
            &host(first.forward(x)),
            1e-6,
        );
    }
}

/// Perturbs every weight at random, so that no coupling is the identity.
struct Shake(Rng, u32);

impl ModuleMapper for Shake {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.1 += 1;
        let (rng, step) = (self.0, self.1);
        param.map(|t| {
            let dims = t.dims();
            let n = dims.iter().product();
            let noise = rng.normals(Purpose::Weights, step, 1, n);
            let noise = Tensor::from_data(TensorData::new(noise, dims), &t.device());
            t + noise * 0.05
        })
    }
}

fn level(squeeze: usize, steps: usize, kernel: usize) -> LevelConfig {
    LevelConfig {
        squeeze,
        steps,
        hidden: 8,
        kernel,
    }
}

fn config(shape: [usize; 3]) -> FlowConfig {
    FlowConfig {
        shape,
        levels: vec![level(2, 2, 3), level(2, 2, 1)],
        clamp: 2.0,
    }
}

fn shaken(config: &FlowConfig, device: &Device) -> TrainableFlow {
    TrainableFlow::new(config, &mut Init::new(1, device))
        .unwrap()
        .map(&mut Shake(Rng::new(9), 0))
}

fn normal(n: usize, dim: usize, step: u32, device: &Device) -> Tensor<2> {
    Rng::new(4).normal_tensor(Purpose::Data, step, n, dim, device)
}

#[test]
fn inverse_and_forward_compose_to_identity_in_both_orders() {
    for (name, device) in devices() {
        for shape in [[1, 8, 8], [3, 8, 4]] {
            let config = config(shape);
            let flow = block_on(shaken(&config, &device).frozen(&config)).unwrap();
            let x = normal(5, config.dim(), 0, &device);
            let (z, _) = flow.forward(x.clone());
            assert_close(&host(flow.inverse(z.clone())), &host(x.clone()), 1e-4);
            let back = flow.forward(flow.inverse(x.clone())).0;
            assert_close(&host(back), &host(x), 1e-4);
            assert!(host(z).iter().all(|v| v.is_finite()), "{name}");
        }
    }
}

#[test]
fn frozen_flow_matches_the_trained_flow() {
    for (_, device) in devices() {
        let config = config([1, 8, 8]);
        let trainable = shaken(&config, &device);
        let flow = block_on(trainable.frozen(&config)).unwrap();
        let x = normal(3, 64, 0, &device);
        let a = trainable.log_prob(x.clone().reshape([3, 8, 8, 1]));
        // Freezing rounds the mixing matrices to f16: a relative error of 5e-4 per entry.
        assert_close(&host(flow.log_prob(x).0), &host(a), 1e-2);
    }
}

#[test]
fn tilt_of_images_matches_pytorch() {
    let expected = numbers(&fixture("tilt")["u"]);
    for (name, device) in devices() {
        let config = TiltConfig::Conv { channels: 3 };
        let tilt = Tilt::new(&config, [1, 8, 8], &mut Init::new(2, &device));
        let tilt = tilt.map(&mut Fill::new(800));
        let x = Tensor::<2>::from_data(TensorData::new(pseudo(810, 5 * 64), [5, 64]), &device);
        let found = host(tilt.forward((x + 1.0) / 2.0));
        assert_near(&format!("U on {name}"), &found, &expected, 1e-5);
    }
}

/// Of a flow as trained, and of the same flow read back from its file.
#[test]
fn log_determinant_matches_the_numerical_jacobian() {
    for (name, device) in devices() {
        let (architecture, model) = ebm_of([1, 4, 4], &device);
        let bytes = model.to_bytes().unwrap();
        let stored = Dict::open(&bytes, "test", &device)
            .and_then(|d| FlowEbm::from_dict(&d, &architecture))
            .unwrap();
        for (which, flow) in [("trained", model.flow), ("stored", stored.flow)] {
            log_determinant_is_the_jacobians(&format!("{which} on {name}"), &flow, &device);
        }
    }
}

fn log_determinant_is_the_jacobians(what: &str, flow: &Flow, device: &Device) {
    let x = normal(1, 16, 0, device);
    let h = 1e-2;
    // Central differences, one batch: rows x ± h·eᵢ.
    let steps = Tensor::<2>::eye(16, device) * h;
    let plus = host(flow.forward(x.clone() + steps.clone()).0);
    let minus = host(flow.forward(x.clone() - steps).0);
    let columns: Vec<f64> = plus
        .iter()
        .zip(&minus)
        .map(|(p, m)| (p - m) / (2.0 * h))
        .collect();
    let numerical = DMatrix::from_row_slice(16, 16, &columns)
        .determinant()
        .abs()
        .ln();
    let found = host(flow.forward(x).1)[0];
    // f32 differences of O(1) values over 2e-2: 1e-5 per entry, 16 × 16 entries.
    assert!(
        (found - numerical).abs() < 5e-3,
        "{what}: {found} against {numerical}"
    );
}

#[test]
fn actnorm_initialisation_standardises_every_layer() {
    let device = Device::flex();
    let config = config([1, 8, 8]);
    let x = normal(256, 64, 0, &device) * 5.0 + 3.0;
    let flow = TrainableFlow::new(&config, &mut Init::new(1, &device))
        .unwrap()
        .initialised_from(x.clone().reshape([256, 8, 8, 1]));
    let (z, _) = flow.forward(x.reshape([256, 8, 8, 1]));
    let z = host(z);
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    let var = z.iter().map(|v| v * v).sum::<f64>() / z.len() as f64 - mean * mean;
    assert!(
        mean.abs() < 0.05 && (var - 1.0).abs() < 0.1,
        "mean {mean}, variance {var}"
    );
}

fn ebm(device: &Device) -> (Architecture, FlowEbm) {
    ebm_of([1, 8, 8], device)
}

fn ebm_of(shape: [usize; 3], device: &Device) -> (Architecture, FlowEbm) {
    let dim = shape.iter().product();
    let architecture = Architecture {
        flow: config(shape),
        tilt: TiltConfig::Conv { channels: 4 },
    };
    let flow = block_on(shaken(&architecture.flow, device).frozen(&architecture.flow)).unwrap();
    let tilt = Tilt::new(&architecture.tilt, shape, &mut Init::new(2, device))
        .map(&mut Shake(Rng::new(3), 0));
    let directions = normal(dim, COMPONENTS, 5, device);
    let projection = Projection::new(Tensor::zeros([dim], device), directions);
    (
        architecture,
        FlowEbm {
            flow,
            tilt,
            projection,
        },
    )
}

/// Every registered target: gradient along random directions against central differences.
#[test]
fn gradients_are_finite_differences() {
    for (name, device) in devices() {
        let model = Arc::new(ebm(&device).1);
        let targets: Vec<(&str, f64, Arc<dyn Energy>)> = vec![
            (
                "gaussian",
                1e-2,
                Arc::new(Gaussian::new(&[1.0, -2.0, 0.0], &[1.0, 0.5, 3.0], &device)),
            ),
            (
                "mixture",
                1e-2,
                Arc::new(Mixture::new(&[[0.0, 1.0], [2.0, -1.0]], 0.7, &device)),
            ),
            ("latent", 1e-3, Arc::new(LatentEnergy(model.clone()))),
            ("pixel", 1e-3, Arc::new(PixelEnergy(model.clone()))),
        ];
        for (target, h, energy) in targets {
            let dim = energy.space().dim;
            let mut x = normal(6, dim, 1, &device) * 0.7;
            if target == "pixel" {
                // Near the model's mass: elsewhere the flow's curvature dominates the difference.
                x = model.flow.inverse(x);
            }
            let v = normal(6, dim, 2, &device);
            let gradient = host((energy.point(x.clone()).gradient * v.clone()).sum_dim(1));
            let e = |s: f64| host(energy.evaluate(x.clone() + v.clone() * s).energy);
            let (plus, minus) = (e(h), e(-h));
            let numerical: Vec<f64> = plus
                .iter()
                .zip(&minus)
                .map(|(p, m)| (p - m) / (2.0 * h))
                .collect();
            for (g, n) in gradient.iter().zip(&numerical) {
                // Tolerance for f32 energies of O(100) differenced over 2h, and kinks of the ReLUs.
                assert!(
                    (g - n).abs() < 0.02 * n.abs().max(5.0),
                    "{target} on {name}: {g} against {n}"
                );
            }
        }
    }
}

/// The two spaces define one model: E_pixel(g(z)) + log|det ∂g/∂z| = E_latent(z) + const.
#[test]
fn pixel_and_latent_energies_define_one_model() {
    for (_, device) in devices() {
        let model = Arc::new(ebm(&device).1);
        let z = normal(5, 64, 3, &device);
        let x = model.flow.inverse(z.clone());
        let (_, log_det) = model.flow.forward(x.clone());
        let latent = LatentEnergy(model.clone()).evaluate(z);
        let pixel = PixelEnergy(model.clone()).evaluate(x);
        let constant = 32.0 * std::f64::consts::TAU.ln();
        let expected: Vec<f64> = host(latent.energy)
            .iter()
            .zip(host(log_det))
            .map(|(e, d)| e - d + constant)
            .collect();
        assert_close(&host(pixel.energy), &expected, 1e-4);
        assert_close(
            &host(pixel.observed.unwrap()),
            &host(latent.observed.unwrap()),
            1e-3,
        );
    }
}

#[test]
fn stored_weights_round_trip_and_damaged_files_are_refused() {
    let device = Device::flex();
    let (architecture, model) = ebm(&device);
    let bytes = model.to_bytes().unwrap();
    let load = |bytes: &[u8], architecture: &Architecture| {
        Dict::open(bytes, "test", &device).and_then(|d| FlowEbm::from_dict(&d, architecture))
    };
    let stored = load(&bytes, &architecture).unwrap();
    let z = normal(4, 64, 0, &device);
    let energy = |m: FlowEbm| host(LatentEnergy(Arc::new(m)).evaluate(z.clone()).energy);
    let first = energy(stored.clone());
    // The flow's log-determinant is stored too: log q(x) of images, not only energies of latents.
    let density = |m: &FlowEbm| host(m.flow.log_prob(z.clone()).0);
    assert_close(&density(&stored), &density(&model), 5e-3);
    // f16 costs about 1e-3; a second round trip is exact.
    assert_close(&first, &energy(model), 5e-3);
    let again = load(&stored.to_bytes().unwrap(), &architecture).unwrap();
    assert_eq!(energy(again), first);

    let truncated = load(&bytes[..bytes.len() - 7], &architecture);
    assert!(matches!(truncated, Err(Error::Model { .. })));
    let mut other = architecture.clone();
    other.flow.levels[0].hidden = 9;
    let error = load(&bytes, &other).unwrap_err().to_string();
    assert!(
        error.contains("expected tensor flow.0.0.coupling.first.weight"),
        "{error}"
    );
    other.flow.levels[0].squeeze = 3;
    assert!(matches!(load(&bytes, &other), Err(Error::Invalid { .. })));
}
