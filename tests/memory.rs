//! Memory of a long training run. The only test of its binary, because the memory of others would count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::devices;
use mixwell::{
    nn::{augment::AugmentConfig, encoder::EncoderConfig, resnet::EnergyNetConfig},
    rng::{Purpose, Rng},
    system::clel::learn::{ChainStage, Stage, Training},
};

/// Resident bytes of this process.
#[cfg(target_os = "linux")]
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0
}

/// Resident memory grows by less than 10 MB from iteration 100 to 400. A tape or buffer leaked in each
/// iteration would be at least 0.1 MB, 30 MB in all.
#[test]
#[cfg(target_os = "linux")]
fn training_does_not_leak_memory() {
    let (shape, mean, std) = ([1, 16, 16], [0.5], [0.3]);
    let mut energy = EnergyNetConfig::tiny(shape, &mean, &std);
    energy.stages = vec![(8, 1), (16, 1)];
    (energy.hidden, energy.features) = (64, 16);
    let mut encoder = EncoderConfig::small(shape, &mean, &std);
    encoder.stages = vec![(8, 1), (16, 1)];
    (encoder.hidden, encoder.latent) = (64, 16);
    let stage = Stage {
        iterations: 400,
        batch: 8,
        learning_rate: 1e-4,
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
            steps: 4,
            drift: 10.0,
            noise: 0.005,
            buffer: 100,
            reinit: 0.01,
        },
        precision: Default::default(),
        augment: AugmentConfig::strong(1),
        energy,
        encoder,
    };
    let device = Device::flex();
    let grown = |others: &[Device], from: u64, to: u64| {
        let mut training = Training::new(&stage, 1, &device).unwrap();
        training.others = others.to_vec();
        let mut before = 0.0;
        while training.iteration < to {
            let words = Rng::new(2).uniforms(Purpose::Data, training.iteration as u32, 8, 256);
            let x = Tensor::from_data(TensorData::new(words, [8, 256]), &device);
            pollster::block_on(training.step(&stage, x)).unwrap();
            if training.iteration == from {
                before = resident();
            }
        }
        let grown = (resident() - before) / 1e6;
        println!(
            "{grown:.1} MB more after {} iterations, {others:?}",
            to - from
        );
        grown
    };
    let alone = grown(&[], 100, 400);
    assert!(alone < 10.0, "{alone:.1} MB more");
    // With a GPU as second device; lavapipe uses host memory. cubecl keeps memory pools for every
    // thread that ever used a device, so the threads must be few and reused.
    if let Some((_, gpu)) = devices().into_iter().nth(1) {
        let shared = grown(&[gpu], 20, 80);
        assert!(shared < 10.0, "{shared:.1} MB more");
    }
}
