//! The recipe: settings, presets and their checks.

use serde::{Deserialize, Serialize};

use super::NAME;
use crate::{
    data::{DataRef, DatasetName},
    error::{Error, Result},
    train::{self, GuardConfig, HealthConfig, Preset, Watch},
};

/// Everything a training run depends on, besides the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order and flips.
    pub seed: u64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// Iterations.
    pub iterations: u64,
    /// Batch size.
    pub batch: usize,
    /// Peak learning rate of Adam, with cosine decay to 0 over the run.
    pub learning_rate: f64,
    /// Channels and blocks of each stage.
    pub stages: Vec<(usize, usize)>,
    /// Hidden units of the head.
    pub hidden: usize,
    /// Probability of a horizontal flip; 0 for MNIST: a mirrored 5 is not a 5.
    pub flip: f64,
    /// How divergence is handled.
    #[serde(default)]
    pub guard: GuardConfig,
    /// `[channels, height, width]` to which the user's own images are cropped and scaled.
    #[serde(default = "grey28")]
    pub shape: [usize; 3],
}

fn grey28() -> [usize; 3] {
    [1, 28, 28]
}

fn cpu() -> Recipe {
    Recipe {
        seed: 1,
        checkpoint_seconds: 60.0,
        iterations: 2000,
        batch: 64,
        learning_rate: 2e-3,
        stages: vec![(16, 1), (32, 1), (64, 1), (64, 1)],
        hidden: 128,
        flip: 0.5,
        guard: GuardConfig::default(),
        shape: grey28(),
    }
}

fn smoke() -> Recipe {
    Recipe {
        iterations: 4,
        batch: 16,
        stages: vec![(4, 1), (8, 1)],
        hidden: 16,
        checkpoint_seconds: 0.0,
        ..cpu()
    }
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[("cpu", cpu), ("smoke", smoke)];

impl train::Recipe for Recipe {
    const SYSTEM: &'static str = NAME;
    const PRESETS: &'static [Preset<Self>] = PRESETS;

    fn fitted_to(mut self, data: &DataRef) -> Self {
        if let DataRef::Known(name) = data {
            let spec = name.spec();
            self.shape = [spec.channels, spec.height, spec.width];
            if *name == DatasetName::Mnist {
                self.flip = 0.0;
            }
        }
        self
    }

    fn check(&self) -> Result<()> {
        let fine = self.iterations > 0
            && self.batch > 1
            && self.learning_rate.is_finite()
            && self.learning_rate > 0.0
            && (0.0..=1.0).contains(&self.flip);
        fine.then_some(()).ok_or_else(|| {
            Error::invalid(
                "recipe",
                "positive iterations and learning rate, a batch of 2 or more, a flip in [0, 1]",
                format!("{self:?}"),
                "change the recipe",
            )
        })
    }

    fn phases(&self) -> Vec<(&'static str, u64)> {
        vec![(NAME, self.iterations)]
    }

    fn checkpoint_seconds(&self) -> f64 {
        self.checkpoint_seconds
    }

    fn watch(&self) -> Watch {
        Watch {
            guard: self.guard.clone(),
            health: HealthConfig::default(),
            seed: self.seed,
            seconds: 0.0,
        }
    }
}
