//! The recipe: settings, presets and their checks.

use serde::{Deserialize, Serialize};

use super::{
    NAME,
    learn::{ChainStage, Stage},
};
use crate::{
    error::{Error, Result},
    nn::{
        augment::AugmentConfig,
        encoder::EncoderConfig,
        resnet::{EnergyNetConfig, Precision},
    },
    train::{self, GuardConfig, HealthConfig, Preset, Watch},
};

/// Everything a training run depends on, besides the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order, augmentations, buffer and chains.
    pub seed: u64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// How divergence is handled.
    #[serde(default)]
    pub guard: GuardConfig,
    /// Health checks of the chains.
    #[serde(default)]
    pub health: HealthConfig,
    /// The objective and its networks.
    pub clel: Stage,
}

/// Mean and standard deviation of Fashion-MNIST's grey values in [0, 1].
const FASHION: ([f64; 1], [f64; 1]) = ([0.2860], [0.3530]);

/// The published settings: systems A3 to A5 of the authors' code.
fn published(energy: EnergyNetConfig, encoder: EncoderConfig, channels: usize) -> Recipe {
    Recipe {
        seed: 1,
        checkpoint_seconds: 60.0,
        guard: GuardConfig::default(),
        health: HealthConfig::default(),
        clel: Stage {
            iterations: 100_000,
            batch: 64,
            learning_rate: 1e-4,
            warmup: 2000,
            ema_half_life: 20_000.0,
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
                steps: 60,
                drift: 100.0,
                noise: 0.001,
                buffer: 10_000,
                reinit: 0.001,
            },
            precision: Precision::F32,
            augment: AugmentConfig::strong(channels),
            energy,
            encoder,
        },
    }
}

/// Grey 28×28 images on a CPU. Networks, iterations, buffer and chain steps are smaller than published;
/// the smaller network needs fewer steps on its faster schedule.
fn cpu() -> Recipe {
    let (mean, std) = FASHION;
    let shape = [1, 28, 28];
    let mut r = published(
        EnergyNetConfig::tiny(shape, &mean, &std),
        EncoderConfig::small(shape, &mean, &std),
        1,
    );
    r.clel.iterations = 1000;
    r.clel.batch = 32;
    r.clel.learning_rate = 3e-4;
    r.clel.warmup = 100;
    r.clel.ema_half_life = 3200.0;
    r.clel.chains.steps = 20;
    r.clel.chains.buffer = 1000;
    r
}

/// Mean and standard deviation of each CIFAR-10 channel, for values in [0, 1].
const CIFAR: ([f64; 3], [f64; 3]) = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);

/// Published settings for CIFAR-10 with one of the authors' energy networks and ResNet-18.
fn cifar(net: fn([usize; 3], &[f64], &[f64]) -> EnergyNetConfig) -> Recipe {
    let (mean, std) = CIFAR;
    let shape = [3, 32, 32];
    let encoder = EncoderConfig::resnet18(shape, &mean, &std);
    let mut r = published(net(shape, &mean, &std), encoder, 3);
    // A checkpoint holds the buffer of 10,000 images, 123 MB.
    r.checkpoint_seconds = 600.0;
    r
}

/// The authors' `resnet_small`, 1.73 M parameters.
fn small() -> Recipe {
    cifar(EnergyNetConfig::small)
}

/// CLEL-Base, 6.96 M parameters.
fn base() -> Recipe {
    cifar(EnergyNetConfig::base)
}

/// CLEL-Large, 30.7 M parameters.
fn large() -> Recipe {
    cifar(EnergyNetConfig::large)
}

/// A few seconds, for tests.
fn smoke() -> Recipe {
    let mut r = cpu();
    r.clel.iterations = 6;
    r.clel.batch = 8;
    r.clel.chains.steps = 3;
    r.clel.chains.buffer = 32;
    for stages in [&mut r.clel.energy.stages, &mut r.clel.encoder.stages] {
        *stages = vec![(8, 1), (8, 1)];
    }
    (r.clel.energy.hidden, r.clel.encoder.hidden) = (32, 32);
    (r.clel.energy.features, r.clel.encoder.latent) = (16, 16);
    r.checkpoint_seconds = 0.0;
    r
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[
    ("cpu", cpu),
    ("small", small),
    ("base", base),
    ("large", large),
    ("smoke", smoke),
];

impl train::Recipe for Recipe {
    const SYSTEM: &'static str = NAME;
    const PRESETS: &'static [Preset<Self>] = PRESETS;

    fn check(&self) -> Result<()> {
        let stage = &self.clel;
        stage.energy.check()?;
        stage.encoder.check()?;
        stage.augment.check()?;
        Error::unless_positive(&[
            ("clel.iterations", stage.iterations as f64),
            ("clel.batch", stage.batch as f64),
            ("clel.learning_rate", stage.learning_rate),
            ("clel.ema_half_life", stage.ema_half_life),
            ("clel.temperature", stage.temperature),
            ("clel.encoder_learning_rate", stage.encoder_learning_rate),
            ("clel.chains.steps", stage.chains.steps as f64),
            ("clel.chains.drift", stage.chains.drift),
            ("clel.chains.noise", stage.chains.noise),
        ])?;
        let weights = [
            ("clel.alpha", stage.alpha, f64::MAX),
            ("clel.beta", stage.beta, f64::MAX),
            ("clel.encoder_momentum", stage.encoder_momentum, 0.999_999),
            (
                "clel.encoder_weight_decay",
                stage.encoder_weight_decay,
                f64::MAX,
            ),
        ];
        for (what, value, most) in weights {
            if !(0.0..=most).contains(&value) {
                let expected = match what {
                    "clel.encoder_momentum" => "at least 0 and below 1",
                    _ => "0 or more",
                };
                return Err(Error::invalid(what, expected, value, "change the recipe"));
            }
        }
        if stage.chains.buffer < stage.batch || !(0.0..=1.0).contains(&stage.chains.reinit) {
            return Err(Error::invalid(
                "clel.chains",
                format!(
                    "a buffer of at least a batch ({}) and a reinit in [0, 1]",
                    stage.batch
                ),
                format!("{} and {}", stage.chains.buffer, stage.chains.reinit),
                "change the recipe",
            ));
        }
        if stage.encoder.shape != stage.energy.shape {
            return Err(Error::invalid(
                "clel.encoder.shape",
                format!("{:?}, as clel.energy.shape", stage.energy.shape),
                format!("{:?}", stage.encoder.shape),
                "give both networks the images' shape",
            ));
        }
        if stage.guided && stage.energy.features != stage.encoder.latent {
            return Err(Error::invalid(
                "clel.encoder.latent",
                stage.energy.features,
                stage.encoder.latent,
                "give features and latents the same dimension: their directions are compared",
            ));
        }
        stage.chains.sampler().build().map(|_| ())
    }

    fn phases(&self) -> Vec<(&'static str, u64)> {
        vec![(NAME, self.clel.iterations)]
    }

    fn checkpoint_seconds(&self) -> f64 {
        self.checkpoint_seconds
    }

    fn watch(&self) -> Watch {
        Watch {
            guard: self.guard.clone(),
            health: self.health.clone(),
            seed: self.seed,
            seconds: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the authors' code, once more: a preset that drifts from them is not "published".
    #[test]
    fn published_presets_have_the_published_numbers() {
        for (name, channels) in [("small", 3), ("base", 3), ("large", 3)] {
            let (_, preset) = PRESETS.iter().find(|p| p.0 == name).unwrap();
            let mut found = serde_json::to_value(preset().clel).unwrap();
            for network in ["energy", "encoder"] {
                let network = found[network].take();
                assert_eq!(network["mean"], serde_json::json!([0.4914, 0.4822, 0.4465]));
                assert_eq!(network["std"], serde_json::json!([0.2470, 0.2435, 0.2616]));
            }
            let strong = found["augment"].take();
            let expected = serde_json::json!({
                "iterations": 100_000, "batch": 64, "learning_rate": 1e-4, "warmup": 2000,
                "ema_half_life": 20_000.0, "alpha": 1.0, "beta": 0.01, "guided": true,
                "generated_negatives": true, "buffer_augmentation": true, "temperature": 0.2,
                "encoder_learning_rate": 0.03, "encoder_momentum": 0.9, "encoder_weight_decay": 5e-4,
                "precision": "f32", "augment": null, "energy": null, "encoder": null,
                "chains": {"steps": 60, "drift": 100.0, "noise": 0.001, "buffer": 10_000, "reinit": 0.001},
            });
            assert_eq!(found, expected, "{name}");
            assert_eq!(
                strong,
                serde_json::to_value(AugmentConfig::strong(channels)).unwrap()
            );
        }
    }

    /// RandomResizedCrop(scale 0.08 to 1, bicubic), ColorJitter(.4, .4, .4, .1) with p = 0.8,
    /// RandomGrayscale with p = 0.2, horizontal flip; one channel has no colour.
    #[test]
    fn strong_augmentation_has_the_published_ranges() {
        let rgb = serde_json::to_value(AugmentConfig::strong(3)).unwrap();
        let crop = serde_json::json!({
            "scale": [0.08, 1.0], "ratio": [0.75, 4.0 / 3.0], "interpolation": "bicubic",
        });
        let colour = |saturation: f64, hue: f64| {
            serde_json::json!({
                "probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": saturation,
                "hue": hue,
            })
        };
        let strong = |colour: serde_json::Value, grey: f64| serde_json::json!({"crop": crop, "colour": colour, "grayscale": grey, "flip": 0.5});
        assert_eq!(rgb, strong(colour(0.4, 0.1), 0.2));
        let grey = serde_json::to_value(AugmentConfig::strong(1)).unwrap();
        assert_eq!(grey, strong(colour(0.0, 0.0), 0.0));
    }

    #[test]
    fn weights_of_the_objectives_are_checked() {
        for (bad, change) in [
            (
                "alpha",
                (|s: &mut Stage| s.alpha = f64::NAN) as fn(&mut Stage),
            ),
            ("alpha", |s| s.alpha = -1.0),
            ("beta", |s| s.beta = f64::INFINITY),
            ("encoder_momentum", |s| s.encoder_momentum = 1.0),
            ("encoder_weight_decay", |s| s.encoder_weight_decay = -1e-3),
        ] {
            let mut recipe = smoke();
            train::Recipe::check(&recipe).unwrap();
            change(&mut recipe.clel);
            let error = train::Recipe::check(&recipe).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
