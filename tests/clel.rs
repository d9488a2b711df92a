//! CLEL's objectives against PyTorch, and the identity that makes it work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    nn::{
        augment::AugmentConfig,
        encoder::EncoderConfig,
        resnet::{EnergyNetConfig, Precision, energy_of, unit_rows},
    },
    rng::{Purpose, Rng},
    system::clel::{
        learn::{ChainStage, Stage, Step, Training},
        objective::{Weights, contrastive_loss, cosine, energy_loss},
    },
};
use pollster::block_on;
use serde_json::Value;

use crate::common::{assert_close, devices, host};

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/clel_objective.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// The same inputs as in the fixture's script.
fn wave(n: usize, d: usize, a: f64, b: f64, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..n * d)
        .map(|i| (i as f64 * a + b).sin() as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, [n, d]), device)
}

#[test]
fn contrastive_loss_matches_pytorchs_cross_entropy() {
    let f = fixture();
    let [n, m, d] = ["n", "m", "d"].map(|k| f[k].as_u64().unwrap() as usize);
    for (_, device) in devices() {
        for (name, extra) in [("with", true), ("without", false)] {
            let first = wave(n, d, 1.7, 0.3, &device).autodiff().require_grad();
            let second = wave(n, d, 1.7, 0.5, &device) + wave(n, d, 2.9, 0.1, &device) * 0.3;
            let second = second.autodiff().require_grad();
            let negatives = extra.then(|| wave(m, d, 0.9, 0.2, &device));
            let tau = f["temperature"].as_f64().unwrap();
            let (loss, accuracy) = contrastive_loss(first.clone(), second.clone(), negatives, tau);
            let want = &f[name];
            assert_close(
                &host(loss.clone().inner()),
                &[want["loss"].as_f64().unwrap()],
                1e-5,
            );
            let nearest = want["accuracy"].as_f64().unwrap();
            assert_close(&host(accuracy.inner()), &[nearest], 1e-6);
            let mut grads = loss.backward();
            let first = first.grad_remove(&mut grads).unwrap();
            let second = second.grad_remove(&mut grads).unwrap();
            assert_close(&host(first), &numbers(&want["first"]), 1e-5);
            assert_close(&host(second), &numbers(&want["second"]), 1e-5);
        }
    }
}

#[test]
fn energy_loss_matches_pytorch() {
    let f = fixture();
    let want = &f["energy"];
    let [n, d] = ["n", "d"].map(|k| f[k].as_u64().unwrap() as usize);
    let number = |k: &str| want[k].as_f64().unwrap();
    for (_, device) in devices() {
        let tracked = |t: Tensor<2>| t.autodiff().require_grad();
        let data = tracked(wave(n, d, 1.1, 0.7, &device) * 0.5);
        let samples = tracked(wave(n, d, 1.3, 0.9, &device) * 0.4);
        let g = tracked(wave(n, d, 2.1, 0.4, &device));
        let z = wave(n, d, 0.7, 0.6, &device);
        let weights = Weights {
            alpha: number("alpha"),
            beta: number("beta"),
        };
        let loss = energy_loss(data.clone(), samples.clone(), Some((g.clone(), z)), weights);
        for (found, name) in [
            (loss.total.clone(), "total"),
            (loss.data, "data"),
            (loss.samples, "samples"),
            (loss.guidance, "cosine"),
        ] {
            assert_close(&host(found.inner()), &[number(name)], 1e-5);
        }
        let mut grads = loss.total.backward();
        for (i, t) in [data, samples, g].into_iter().enumerate() {
            let found = host(t.grad_remove(&mut grads).unwrap());
            assert_close(&found, &numbers(&want["gradients"][i]), 1e-5);
        }
        // β = 0 is the unguided arm: g learns nothing.
        let data = tracked(wave(n, d, 1.1, 0.7, &device));
        let alone = energy_loss(data.clone(), data.clone(), None, weights);
        assert_eq!(host(alone.guidance.inner()), [0.0]);
    }
}

/// On the circle (d = 2), ∫ exp(−E(x, z)) dz by the midpoint rule is exp(−½‖f‖²)·2π I₀(β) for any
/// direction of g. This is why training needs no chain over z.
#[test]
fn marginal_does_not_depend_on_the_direction() {
    let device = Device::flex();
    let n = 720;
    let angle = |i: usize| std::f64::consts::TAU * (i as f64 + 0.5) / f64::from(n);
    let circle: Vec<f32> = (0..n as usize)
        .flat_map(|i| [angle(i).cos() as f32, angle(i).sin() as f32])
        .collect();
    let z = Tensor::<2>::from_data(TensorData::new(circle, [n as usize, 2]), &device);
    let f = Tensor::<2>::from_floats([[0.8, -0.3]], &device);
    let marginal = host(energy_of(f))[0];
    for beta in [0.01, 1.0, 5.0] {
        // I₀ by its series.
        let bessel: f64 = (0..40)
            .scan(1.0, |term, k| {
                let now = *term;
                *term *= (beta / 2.0) * (beta / 2.0) / f64::from((k + 1) * (k + 1));
                Some(now)
            })
            .sum();
        for g in [[1.0, 0.0], [0.2, -3.0], [-0.7, 0.7], [-1e-3, 2e-3]] {
            let g = Tensor::<2>::from_floats([g], &device).expand([n as usize, 2]);
            let joint = host(cosine(g, z.clone()));
            let integral: f64 = joint
                .iter()
                .map(|c| (beta * c - marginal).exp() * std::f64::consts::TAU / f64::from(n))
                .sum();
            let expected = (-marginal).exp() * std::f64::consts::TAU * bessel;
            assert!(
                (integral / expected - 1.0).abs() < 1e-5,
                "β {beta}: {integral} for {expected}"
            );
        }
    }
}

#[test]
fn normalised_rows_have_unit_length_and_zero_stays_finite() {
    let device = Device::flex();
    let x = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 0.0]], &device);
    assert_close(&host(unit_rows(x)), &[0.6, 0.8, 0.0, 0.0], 1e-6);
}

/// Stripes of random direction, width and contrast, `[n, 256]`. Any crop identifies its image, so that
/// two hundred iterations suffice to learn something.
fn images(n: usize, iteration: u64, device: &Device) -> Tensor<2> {
    let rng = Rng::new(77).derived(Purpose::Data, iteration);
    let u = rng.uniforms(Purpose::Data, 0, n, 4);
    let mut values = Vec::with_capacity(n * 256);
    for u in u.chunks(4) {
        let (angle, wave) = (u[0] * std::f32::consts::PI, 0.6 + 1.4 * u[1]);
        let (level, phase) = (0.2 + 0.6 * u[2], u[3] * std::f32::consts::TAU);
        for k in 0..256 {
            let (x, y) = ((k % 16) as f32, (k / 16) as f32);
            let stripe = (wave * (x * angle.cos() + y * angle.sin()) + phase).sin();
            values.push((level + 0.2 * stripe).clamp(0.0, 1.0));
        }
    }
    Tensor::from_data(TensorData::new(values, [n, 256]), device)
}

fn stage() -> Stage {
    let (shape, mean, std) = ([1, 16, 16], [0.1], [0.25]);
    let mut energy = EnergyNetConfig::tiny(shape, &mean, &std);
    energy.stages = vec![(8, 1), (16, 1)];
    (energy.hidden, energy.features) = (64, 16);
    let mut encoder = EncoderConfig::small(shape, &mean, &std);
    encoder.stages = vec![(8, 1), (16, 1), (32, 1)];
    (encoder.hidden, encoder.latent) = (64, 16);
    Stage {
        iterations: 200,
        batch: 16,
        learning_rate: 3e-4,
        warmup: 20,
        ema_half_life: 500.0,
        alpha: 1.0,
        beta: 0.01,
        guided: true,
        generated_negatives: true,
        buffer_augmentation: true,
        temperature: 0.2,
        encoder_learning_rate: 0.03,
        encoder_momentum: 0.9,
        encoder_weight_decay: 5e-4,
        chains: ChainStage {
            steps: 8,
            drift: 10.0,
            noise: 0.005,
            buffer: 200,
            reinit: 0.01,
        },
        precision: Precision::F32,
        augment: {
            let mut strong = AugmentConfig::strong(1);
            if let Some(crop) = &mut strong.crop {
                crop.scale = [0.4, 1.0];
            }
            strong
        },
        energy,
        encoder,
    }
}

fn run(stage: &Stage, training: &mut Training, to: u64, device: &Device) -> Vec<Step> {
    let mut steps = Vec::new();
    while training.iteration < to {
        let x = images(stage.batch, training.iteration, device);
        steps.push(block_on(training.step(stage, x)).unwrap());
    }
    steps
}

fn mean(steps: &[Step], of: impl Fn(&Step) -> f64) -> f64 {
    steps.iter().map(of).sum::<f64>() / steps.len() as f64
}

/// Two hundred iterations from a fixed seed: the encoder learns to discriminate images, the guidance
/// grows, and α keeps both energies bounded.
#[test]
fn guided_training_lowers_the_contrastive_loss_and_keeps_energies_bounded() {
    let device = Device::flex();
    let stage = stage();
    let mut training = Training::new(&stage, 1, &device).unwrap();
    let steps = run(&stage, &mut training, 200, &device);
    let (first, last) = (&steps[..20], &steps[180..]);
    let loss = |s: &[Step]| mean(s, |s| s.contrastive);
    assert!(
        loss(last) < loss(first) - 0.3,
        "{} to {}",
        loss(first),
        loss(last)
    );
    let nearest = |s: &[Step]| mean(s, |s| s.nearest);
    assert!(
        nearest(last) > nearest(first) + 0.1,
        "{} to {}",
        nearest(first),
        nearest(last)
    );
    let guidance = |s: &[Step]| mean(s, |s| s.guidance);
    assert!(
        guidance(last) > guidance(first),
        "{} to {}",
        guidance(first),
        guidance(last)
    );
    assert!(
        steps
            .iter()
            .all(|s| s.data.abs() < 5.0 && s.samples.abs() < 5.0)
    );
    assert!(
        steps
            .iter()
            .all(|s| s.displacement > 0.0 && s.saturated < 1.0)
    );
    assert!(training.buffer().mean_age() > 1.0);
    // The frozen weight average is finite and near the trained network.
    let e = host(training.frozen().energy(images(8, 0, &device)));
    assert!(e.iter().all(|e| e.is_finite() && *e >= 0.0), "{e:?}");
}

#[test]
fn each_arm_leaves_one_part_of_the_recipe_out() {
    let device = Device::flex();
    let arm = |change: fn(&mut Stage)| {
        let mut stage = stage();
        change(&mut stage);
        let mut training = Training::new(&stage, 1, &device).unwrap();
        run(&stage, &mut training, 3, &device)
    };
    let whole = arm(|_| {});
    assert_eq!(whole, arm(|_| {}), "a seed is a run");
    let unguided = arm(|s| s.guided = false);
    assert!(
        unguided
            .iter()
            .all(|s| s.contrastive == 0.0 && s.guidance == 0.0)
    );
    let without_negatives = arm(|s| s.generated_negatives = false);
    assert_eq!(
        without_negatives[0].data, whole[0].data,
        "the energy's part is the same"
    );
    assert!(without_negatives[0].contrastive < whole[0].contrastive);
    let plain_buffer = arm(|s| s.buffer_augmentation = false);
    assert_ne!(plain_buffer[0].samples, whole[0].samples);
}

/// Mixed precision: forty iterations with chains in 16 bits give the metrics of 32 bits, on one device
/// and on two.
#[test]
fn training_in_16_bits_keeps_the_metrics() {
    let device = Device::flex();
    let with = |precision: Precision, others: usize| {
        let stage = Stage {
            precision,
            ..stage()
        };
        let mut training = Training::new(&stage, 1, &device).unwrap();
        training.others = vec![device.clone(); others];
        run(&stage, &mut training, 40, &device)
    };
    let full = with(Precision::F32, 0);
    for (precision, others) in [
        (Precision::F16, 0),
        (Precision::F16, 1),
        (Precision::Bf16, 0),
    ] {
        let half = with(precision, others);
        assert_ne!(full, half, "the setting has an effect");
        for (name, of) in [
            ("E of data", (|s| s.data) as fn(&Step) -> f64),
            ("E of samples", |s| s.samples),
            ("contrastive loss", |s| s.contrastive),
            ("displacement", |s| s.displacement),
            ("gradient", |s| s.gradient),
        ] {
            let (a, b) = (mean(&full[20..], of), mean(&half[20..], of));
            // One activation of the encoder that changes its sign by rounding changes the means of such a
            // short run by 3 %, with any kernels.
            assert!(
                (a / b - 1.0).abs() < 0.05,
                "{name}: {a} and {b} in {precision:?}, {others} more"
            );
        }
    }
}

/// Two CPUs, three, and a CPU with a GPU: chains, gradients and latents of the generated images are
/// combined to the result of one device.
#[test]
fn training_on_several_devices_matches_one_device() {
    let device = Device::flex();
    let mut stage = stage();
    // Batches of 16 over three devices: 6, 5 and 5.
    stage.chains.steps = 4;
    let with = |others: &[Device]| {
        let mut training = Training::new(&stage, 1, &device).unwrap();
        training.others = others.to_vec();
        let steps = run(&stage, &mut training, 3, &device);
        (steps, training.buffer().images().to_vec())
    };
    let (alone, buffer) = with(&[]);
    let mut sets = vec![vec![device.clone()], vec![device.clone(); 2]];
    sets.extend(devices().into_iter().skip(1).map(|(_, gpu)| vec![gpu]));
    for others in sets {
        let (steps, images) = with(&others);
        for (found, expected) in steps.iter().zip(&alone) {
            let numbers = |s: &Step| {
                let shares = [s.displacement, s.saturated, s.nearest];
                let losses = [s.data, s.samples, s.guidance, s.contrastive];
                [&shares[..], &losses, &[s.shadow, s.gradient]].concat()
            };
            assert_close(&numbers(found), &numbers(expected), 1e-4);
        }
        let far = images.iter().zip(&buffer).map(|(a, b)| (a - b).abs());
        let far = far.fold(0.0, f32::max);
        assert!(far < 1e-3, "the buffers differ by {far} with {others:?}");
    }
}

#[test]
fn an_incomplete_batch_is_refused() {
    let device = Device::flex();
    let stage = stage();
    let mut training = Training::new(&stage, 1, &device).unwrap();
    let few = block_on(training.step(&stage, images(7, 0, &device)));
    let text = few.unwrap_err().to_string();
    assert!(text.contains("16") && text.contains('7'), "{text}");
}

/// A run saved after three iterations and resumed equals the uninterrupted run, bit for bit.
#[test]
fn a_resumed_run_reproduces_the_uninterrupted_metrics() {
    let device = Device::flex();
    let stage = stage();
    let mut whole = Training::new(&stage, 5, &device).unwrap();
    let all = run(&stage, &mut whole, 7, &device);
    let mut first = Training::new(&stage, 5, &device).unwrap();
    run(&stage, &mut first, 3, &device);
    let folder = std::env::temp_dir().join(format!("mixwell-clel-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    first.save(&folder).unwrap();
    let mut second = Training::new(&stage, 999, &device).unwrap();
    assert!(run(&stage, &mut second, 1, &device)[0] != all[0]);
    let resumed = Training::new(&stage, 5, &device).unwrap();
    let mut resumed = resumed.load(&stage, &folder, 3).unwrap();
    assert_eq!(run(&stage, &mut resumed, 7, &device), all[3..]);
    let e = |t: &Training| host(t.frozen().energy(images(4, 0, &device)));
    assert_eq!(e(&resumed), e(&whole));
    // A truncated checkpoint is an error, not a silent restart.
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .find(|p| {
            p.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("energy.")
        })
        .unwrap();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let blank = Training::new(&stage, 5, &device).unwrap();
    assert!(blank.load(&stage, &folder, 3).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}
