//! The recipe: settings, presets and their checks.

use serde::{Deserialize, Serialize};

use super::{
    NAME,
    learn::{LatentStage, Posterior, PosteriorKind},
    ratio::{Arm, RatioConfig, Rule},
};
use crate::{
    error::Result,
    nn::generator::GeneratorConfig,
    train::{self, GuardConfig, HealthConfig, Preset, Watch},
};

/// Everything a training run depends on, besides the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order, latents and chains.
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
    pub latent: LatentStage,
}

/// Grey 28×28 images on a CPU.
pub(super) fn cpu() -> Recipe {
    Recipe {
        seed: 1,
        checkpoint_seconds: 60.0,
        guard: GuardConfig::default(),
        health: HealthConfig::default(),
        latent: LatentStage {
            iterations: 5000,
            seconds: 0.0,
            batch: 64,
            learning_rate: 5e-4,
            ema_half_life: 6400.0,
            sigma: 0.3,
            warmup: 1500,
            held_out: 500,
            posterior: Posterior {
                kind: PosteriorKind::Langevin,
                steps: 20,
                step_size: 0.1,
                width: 32,
            },
            prior: RatioConfig {
                arm: Arm::Adaptive,
                hidden: 100,
                layers: 2,
                learning_rate: 1e-3,
                ema_decay: 0.99,
                chains: 256,
                transitions: 5,
                step_size: 0.3,
                burn_in: 200,
                anneal: true,
                bound: 5.0,
                resample: true,
                inherit: true,
                bridges: 4,
                rule: Rule {
                    check_every: 50,
                    tolerance: 0.005,
                    patience: 3,
                    longest: 600,
                    chance: 0.685,
                    stages: 8,
                },
            },
            generator: GeneratorConfig::grey28(16, 12),
        },
    }
}

/// As `cpu`, with larger networks and more iterations for a GPU.
fn gpu() -> Recipe {
    let mut r = cpu();
    r.latent.iterations = 60_000;
    r.latent.batch = 128;
    r.latent.warmup = 15_000;
    r.latent.ema_half_life = 20_000.0;
    r.latent.prior.hidden = 200;
    r.latent.prior.chains = 512;
    r.latent.prior.learning_rate = 2e-4;
    // Rates are annealed over `longest`: a plateau must hold at low rates too.
    r.latent.prior.rule.check_every = 250;
    r.latent.prior.rule.patience = 6;
    r.latent.prior.rule.longest = 5_000;
    r.latent.generator = GeneratorConfig::grey28(32, 64);
    r
}

/// CIFAR-10 with the small generator of the published comparisons (128 latents, 8.9 M parameters);
/// steps, step size and σ as in DAMC's code.
fn cifar10() -> Recipe {
    let mut r = gpu();
    r.checkpoint_seconds = 300.0;
    r.latent.iterations = 100_000;
    r.latent.batch = 100;
    r.latent.learning_rate = 1e-4;
    r.latent.warmup = 25_000;
    r.latent.sigma = 0.1;
    r.latent.posterior.steps = 30;
    r.latent.prior.learning_rate = 5e-5;
    r.latent.prior.rule.check_every = 450;
    r.latent.prior.rule.longest = 9_000;
    r.latent.generator = GeneratorConfig::cifar(128, 128);
    r
}

/// A few seconds, for tests.
pub(super) fn smoke() -> Recipe {
    let mut r = cpu();
    r.checkpoint_seconds = 0.0;
    r.latent.iterations = 16;
    r.latent.batch = 8;
    r.latent.warmup = 2;
    r.latent.held_out = 16;
    r.latent.posterior.steps = 3;
    r.latent.prior.hidden = 8;
    r.latent.prior.chains = 16;
    r.latent.prior.burn_in = 4;
    r.latent.prior.rule = Rule {
        check_every: 2,
        tolerance: 0.003,
        patience: 2,
        longest: 4,
        // Never at chance, so that the smoke test has stages.
        chance: 10.0,
        stages: 2,
    };
    r.latent.generator = GeneratorConfig::grey28(4, 2);
    r
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[
    ("cpu", cpu),
    ("gpu", gpu),
    ("cifar10", cifar10),
    ("smoke", smoke),
];

impl train::Recipe for Recipe {
    const SYSTEM: &'static str = NAME;
    const PRESETS: &'static [Preset<Self>] = PRESETS;

    fn check(&self) -> Result<()> {
        self.latent.check()
    }

    fn phases(&self) -> Vec<(&'static str, u64)> {
        vec![("latent", self.latent.iterations)]
    }

    fn checkpoint_seconds(&self) -> f64 {
        self.checkpoint_seconds
    }

    fn watch(&self) -> Watch {
        Watch {
            guard: self.guard.clone(),
            health: self.health.clone(),
            seed: self.seed,
            seconds: self.latent.seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::override_config;

    #[test]
    fn presets_are_valid_and_overrides_are_checked() {
        for (name, preset) in PRESETS {
            let recipe = preset();
            recipe.latent.check().unwrap();
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{name}");
        }
        let set = |s: &str| override_config(&cpu(), &[s.to_owned()]);
        assert_eq!(
            set("latent.prior.arm=nce").unwrap().latent.prior.arm,
            Arm::Nce
        );
        for bad in [
            "latent.prior.arm=best",
            "latent.sigma=wide",
            "latent.steps=3",
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
        let mut recipe = cpu();
        recipe.latent.generator.layers[1].stride = 3;
        assert!(recipe.latent.check().is_err());
        recipe = cpu();
        recipe.latent.sigma = 0.0;
        assert!(recipe.latent.check().is_err());
    }

    /// Inference as in the latent EBM's code, and as in DAMC's for CIFAR-10.
    #[test]
    fn presets_have_the_published_inference() {
        for (name, steps, step_size, sigma) in [
            ("cpu", 20, 0.1, 0.3),
            ("gpu", 20, 0.1, 0.3),
            ("cifar10", 30, 0.1, 0.1),
        ] {
            let (_, preset) = PRESETS.iter().find(|p| p.0 == name).unwrap();
            let latent = preset().latent;
            let Posterior {
                kind,
                steps: n,
                step_size: s,
                ..
            } = latent.posterior;
            assert_eq!((n, s, latent.sigma), (steps, step_size, sigma), "{name}");
            assert_eq!(kind, PosteriorKind::Langevin, "{name}");
            assert_eq!(latent.prior.arm, Arm::Adaptive, "{name}");
        }
    }
}
