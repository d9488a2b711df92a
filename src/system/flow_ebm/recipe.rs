//! The recipe: the flow by maximum likelihood, frozen; then the tilt with negatives from persistent
//! chains in the flow's latent space; then export. ("MCMC Should Mix", §3; the settings are ours.)

use serde::{Deserialize, Serialize};

use super::{FlowStage, NAME, TiltStage};
use crate::{
    error::{Error, Result},
    nn::{
        flow::{FlowConfig, LevelConfig},
        tilt::TiltConfig,
    },
    train::{self, GuardConfig, HealthConfig, Preset, Watch},
};

/// Everything a training run depends on, besides the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order, noise and chains.
    pub seed: u64,
    /// Batch size.
    pub batch: usize,
    /// Bits to which 8-bit values are reduced before dequantisation (Glow's n_bits).
    pub bits: u32,
    /// Decay of the moving averages of the weights.
    pub ema_decay: f64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// How divergence is handled.
    #[serde(default)]
    pub guard: GuardConfig,
    /// Health checks of the chains.
    #[serde(default)]
    pub health: HealthConfig,
    /// Stage 1.
    pub flow: FlowStage,
    /// Stage 2.
    pub tilt: TiltStage,
}

pub(super) fn level(squeeze: usize, steps: usize, hidden: usize, kernel: usize) -> LevelConfig {
    LevelConfig {
        squeeze,
        steps,
        hidden,
        kernel,
    }
}

pub(super) fn cpu() -> Recipe {
    Recipe {
        seed: 1,
        batch: 64,
        bits: 4,
        ema_decay: 0.998,
        checkpoint_seconds: 60.0,
        guard: GuardConfig::default(),
        health: HealthConfig::default(),
        flow: FlowStage {
            iterations: 6000,
            learning_rate: 5e-4,
            warmup: 300,
            clip_norm: 1.0,
            architecture: FlowConfig {
                shape: [1, 28, 28],
                levels: vec![level(4, 6, 96, 3), level(7, 8, 384, 1)],
                clamp: 2.0,
            },
        },
        tilt: TiltStage {
            // More iterations or a higher rate give sharper digits but chains that mix many times more
            // slowly (docs/experiments.md): this is a compromise.
            iterations: 400,
            learning_rate: 2e-4,
            warmup: 50,
            l2: 1e-3,
            clip_norm: 1.0,
            chains: 64,
            transitions: 4,
            step_size: 0.15,
            target_accept: 0.574,
            architecture: TiltConfig::Conv { channels: 16 },
        },
    }
}

/// Short, for tests only.
pub(super) fn smoke() -> Recipe {
    let mut r = cpu();
    r.batch = 16;
    r.checkpoint_seconds = 0.0;
    r.flow.iterations = 8;
    r.flow.warmup = 2;
    r.flow.architecture.levels = vec![level(4, 1, 8, 3), level(7, 1, 16, 1)];
    r.tilt.iterations = 6;
    r.tilt.warmup = 2;
    r.tilt.chains = 8;
    r.tilt.transitions = 2;
    r.tilt.architecture = TiltConfig::Conv { channels: 4 };
    r
}

fn gpu() -> Recipe {
    let mut r = cpu();
    r.batch = 256;
    r.ema_decay = 0.9995;
    r.flow.iterations = 60_000;
    r.flow.warmup = 1000;
    r.flow.architecture.levels = vec![
        level(2, 8, 192, 3),
        level(2, 16, 256, 3),
        level(7, 8, 512, 1),
    ];
    r.tilt.iterations = 20_000;
    r.tilt.warmup = 200;
    r.tilt.chains = 256;
    r.tilt.transitions = 20;
    r.tilt.architecture = TiltConfig::Conv { channels: 64 };
    r
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[("cpu", cpu), ("gpu", gpu), ("smoke", smoke)];

impl train::Recipe for Recipe {
    const SYSTEM: &'static str = NAME;
    const PRESETS: &'static [Preset<Self>] = PRESETS;

    fn check(&self) -> Result<()> {
        self.flow.architecture.check()?;
        Error::unless_positive(&[
            ("batch", self.batch as f64),
            ("flow.iterations", self.flow.iterations as f64),
            ("flow.learning_rate", self.flow.learning_rate),
            ("flow.clip_norm", self.flow.clip_norm),
            ("tilt.learning_rate", self.tilt.learning_rate),
            ("tilt.clip_norm", self.tilt.clip_norm),
            ("tilt.chains", self.tilt.chains as f64),
            ("tilt.transitions", self.tilt.transitions as f64),
            ("tilt.step_size", self.tilt.step_size),
        ])?;
        if !(1..=8).contains(&self.bits) || !(0.0..1.0).contains(&self.ema_decay) {
            return Err(Error::invalid(
                "recipe",
                "bits from 1 to 8 and an ema_decay in [0, 1)",
                format!("{} and {}", self.bits, self.ema_decay),
                "change the recipe",
            ));
        }
        Ok(())
    }

    fn phases(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("flow", self.flow.iterations),
            ("tilt", self.tilt.iterations),
        ]
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
    use crate::train::{Recipe as _, override_config};

    #[test]
    fn presets_are_valid_and_overrides_are_checked() {
        for (name, preset) in PRESETS {
            let recipe = preset();
            recipe.check().unwrap();
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{name}");
        }
        let set = |s: &str| override_config(&cpu(), &[s.to_owned()]);
        assert_eq!(set("tilt.iterations=5").unwrap().tilt.iterations, 5);
        assert_eq!(set("flow.learning_rate=1").unwrap().flow.learning_rate, 1.0);
        for bad in [
            "tilt.iterations",
            "tilt.iteration=5",
            "nothing.x=1",
            "batch=many",
            "batch=-1",
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
        let mut recipe = cpu();
        recipe.flow.architecture.levels[0].squeeze = 3;
        assert!(recipe.check().is_err());
    }
}
