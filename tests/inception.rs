//! The FID network against pytorch-fid (tests/fixtures/inception.py): its resize, all layers with
//! weights from a formula, and, if the environment variable MIXWELL_INCEPTION names a file with
//! Google's weights, features with those. Files of other networks are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{env, fs, path::PathBuf, time::Instant};

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    Error, Result,
    eval::inception::{FEATURES, Inception, SIZE},
    nn::dict::DictBuilder,
};
use serde_json::Value;

use crate::common::{assert_near, devices, host, pseudo, skipped};

fn fixture(group: &str, name: &str) -> Value {
    let text = include_str!("fixtures/inception.json");
    serde_json::from_str::<Value>(text).unwrap()[group][name].clone()
}

fn numbers(v: Value) -> Vec<f64> {
    serde_json::from_value(v).unwrap()
}

fn pseudo_tensor(index: u64, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values = pseudo(index, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Images in [0, 1).
fn images(index: u64, shape: [usize; 4], device: &Device) -> Tensor<4> {
    (pseudo_tensor(index, shape, device) + 1.0) / 2.0
}

/// As inception.py: the stream is the name's 32-bit FNV-1a.
fn formula(name: &str, shape: &[usize]) -> Vec<f32> {
    let stream = name.bytes().fold(0x811C_9DC5u32, |h, byte| {
        (h ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let p = pseudo(stream.into(), shape.iter().product());
    let fan_in: usize = shape[1..].iter().product();
    let (shift, scale) = match name.rsplit_once(".bn.") {
        None => (0.0, (6.0 / fan_in as f64).sqrt()),
        Some((_, "weight")) => (1.0, 0.3),
        Some((_, "bias")) => (0.0, 0.1),
        Some((_, "running_mean")) => (0.0, 0.2),
        Some((_, "running_var")) => (1.0, 0.5),
        other => panic!("{other:?}"),
    };
    p.iter()
        .map(|&v| (shift + scale * f64::from(v)) as f32)
        .collect()
}

fn by_formula(device: &Device) -> Inception {
    Inception::from_values(|name, shape| Ok(formula(name, shape)), device).unwrap()
}

/// Every 8th feature, as stored.
fn some(features: &[f64]) -> Vec<f64> {
    features.iter().step_by(8).copied().collect()
}

/// A unique path in the temporary folder; its file is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("mixwell-{}-{name}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn resize_matches_pytorch() {
    for (device_name, device) in devices() {
        for (name, shape) in [
            ("grey", [1, 1, 28, 28]),
            ("rgb", [2, 3, 17, 40]),
            ("large", [1, 3, 700, 311]),
        ] {
            let prepared = Inception::prepare(images(1, shape, &device));
            let dims = prepared.dims();
            assert_eq!(dims, [shape[0], 3, SIZE, SIZE]);
            let all = host(prepared);
            let mut found = Vec::new();
            for (i, plane) in all.chunks(SIZE * SIZE).enumerate() {
                let part: Vec<f64> = (0..SIZE)
                    .step_by(23)
                    .flat_map(|y| plane[y * SIZE..][..SIZE].iter().step_by(29).copied())
                    .collect();
                if shape[1] == 3 || i == 0 {
                    found.extend(part);
                } else {
                    assert_eq!(part, found, "grey is equal in all channels");
                }
            }
            let expected = numbers(fixture("prepare", name));
            assert_near(&format!("{device_name}, {name}"), &found, &expected, 1e-5);
        }
    }
}

#[test]
fn all_layers_match_pytorch_fid() {
    for (name, device) in devices() {
        let net = by_formula(&device);
        let start = Instant::now();
        let features = net.pool3(pseudo_tensor(2, [2, 3, 139, 139], &device));
        assert_eq!(features.dims(), [2, FEATURES]);
        let expected = numbers(fixture("formula", "pool3"));
        assert_near(name, &some(&host(features)), &expected, 1e-5);
        println!("{name}: {:.1?}", start.elapsed());
    }
}

#[test]
fn features_match_pytorch_fid_from_a_file() {
    let device = Device::flex();
    let mut dict = DictBuilder::default();
    Inception::from_values(
        |name, shape| {
            let values = formula(name, shape);
            dict.full_values(name, &values, shape);
            Ok(values)
        },
        &device,
    )
    .unwrap();
    let file = Scratch::new("formula.safetensors", &dict.finish().unwrap());
    let net = Inception::open(&file.0, &device).unwrap();
    let start = Instant::now();
    for (index, name, shape) in [(3, "rgb", [1, 3, 32, 32]), (4, "grey", [1, 1, 28, 28])] {
        let features = net.features(images(index, shape, &device));
        let expected = numbers(fixture("formula", name));
        assert_near(name, &some(&host(features)), &expected, 1e-5);
    }
    println!("two images: {:.1?}", start.elapsed());
}

#[test]
fn features_match_pytorch_fid_with_googles_weights() {
    let Some(path) = env::var_os("MIXWELL_INCEPTION") else {
        skipped(
            "the features with Google's weights are not compared: MIXWELL_INCEPTION names no file of them",
        );
        return;
    };
    let device = Device::flex();
    let net = Inception::open(path.as_ref(), &device).unwrap();
    for (index, name, shape) in [
        (10, "noise", [1, 3, 32, 32]),
        (11, "blobs", [1, 3, 5, 5]),
        (12, "grey", [1, 1, 28, 28]),
    ] {
        let features = host(net.features(images(index, shape, &device)));
        let expected = fixture("google", name);
        let mean = features.iter().sum::<f64>() / FEATURES as f64;
        assert_near(
            &format!("{name}, mean"),
            &[mean],
            &[expected["mean"].as_f64().unwrap()],
            1e-5,
        );
        let expected = numbers(expected["features"].clone());
        assert_near(name, &some(&features), &expected, 1e-5);
    }
}

/// The problem of a refused file; checks its path and fix.
#[track_caller]
fn refused(result: Result<Inception>, path: &std::path::Path) -> String {
    match result {
        Err(Error::Data {
            path: named,
            problem,
            fix,
        }) => {
            assert_eq!(named, path);
            assert!(fix.contains("pt_inception-2015-12-05"), "{fix}");
            problem
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn files_of_other_networks_are_refused() {
    let device = Device::flex();
    let open = |name: &str, bytes: &[u8]| {
        let file = Scratch::new(name, bytes);
        refused(Inception::open(&file.0, &device), &file.0)
    };
    let first = "Conv2d_1a_3x3.conv.weight";
    let has = |found: String, parts: &[&str]| {
        for part in parts {
            assert!(found.contains(part), "{found:?} without {part:?}");
        }
    };

    for name in ["none.pth", "none.safetensors"] {
        let path = env::temp_dir().join(format!("mixwell-{name}"));
        let problem = refused(Inception::open(&path, &device), &path);
        has(problem, &["cannot be read"]);
    }

    // A checkpoint with the first tensor alone: it is read, and the second is reported missing.
    let tiny = include_bytes!("fixtures/tiny.pth");
    let missing = ["Conv2d_1a_3x3.bn.weight", "[32]", "no such tensor"];
    has(open("tiny.pth", tiny), &missing);
    has(open("cut.pth", &tiny[..2000]), &["not a complete PyTorch"]);
    has(open("empty.pth", &[]), &["not a complete PyTorch"]);
    has(
        open("page.pth", b"<!DOCTYPE html>"),
        &["not a complete PyTorch"],
    );

    let safe = |name: &str, shape: &[usize]| {
        let mut dict = DictBuilder::default();
        dict.full_values(name, &vec![0.0; shape.iter().product()], shape);
        dict.finish().unwrap()
    };
    let whole = safe(first, &[32, 3, 3, 3]);
    has(open("one.safetensors", &whole), &missing);
    for (name, shape, parts) in [
        (
            first,
            &[32, 1, 3, 3][..],
            &["[32, 3, 3, 3]", "[32, 1, 3, 3]"][..],
        ),
        (
            "fc.weight",
            &[1000, 2048],
            &["[1008, 2048]", "[1000, 2048]"],
        ),
        ("AuxLogits.fc.weight", &[1000, 768], &["auxiliary"]),
    ] {
        has(open("other.safetensors", &safe(name, shape)), parts);
    }
    has(
        open("cut.safetensors", &whole[..whole.len() - 1]),
        &["not a complete safetensors"],
    );
    has(open("pickle.safetensors", tiny), &["not a complete"]);
}
