//! The config of a race.

use serde::{Deserialize, Serialize};

use super::settings;
use crate::{
    artifact::Card,
    error::{Error, Result},
    sampler::{self, SamplerConfig},
};

/// Settings of one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "RaceSideConfig"))]
pub struct SideConfig {
    /// Step size ε; `None`: the card's recommendation.
    pub step_size: Option<f64>,
    /// Temperature T.
    pub temperature: f64,
}

/// Everything a race depends on: the same config gives the same chains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct RaceConfig {
    /// Folder name of the model.
    pub model: String,
    /// Seed of starts and noise.
    pub seed: u64,
    /// Chains on each side.
    pub chains: usize,
    /// "ula", "mala" or "hmc".
    #[cfg_attr(feature = "native", ts(type = "SamplerName"))]
    pub sampler: String,
    /// Leapfrog steps per HMC transition.
    pub leapfrog_steps: usize,
    /// Whether to adapt the step sizes during warm-up.
    pub adapt: bool,
    /// Warm-up transitions.
    pub warmup: usize,
    /// Acceptance that the warm-up adapts to; `None`: the sampler's own.
    pub target_accept: Option<f64>,
    /// Whether the pixel side's temperature follows the latent side's.
    pub match_temperature: bool,
    /// Standard deviation of the over-dispersed starts z₀.
    pub start_scale: f64,
    /// The pixel side.
    pub pixel: SideConfig,
    /// The latent side.
    pub latent: SideConfig,
}

/// The samplers offered in a race: every transition costs every chain the same.
pub const SAMPLERS: [&str; 3] = ["ula", "mala", "hmc"];

/// Spaces in the order of a frame's sides.
pub const SPACES: [&str; 2] = ["pixel", "latent"];

impl RaceConfig {
    /// The default settings for a model.
    pub fn new(model: &str) -> Self {
        let side = SideConfig {
            step_size: None,
            temperature: 1.0,
        };
        Self {
            model: model.into(),
            seed: settings::SEED.default_count() as u64,
            chains: settings::CHAINS.default_count(),
            sampler: "mala".into(),
            leapfrog_steps: settings::LEAPFROG_STEPS.default_count(),
            adapt: true,
            warmup: settings::WARMUP.default_count(),
            target_accept: None,
            match_temperature: true,
            start_scale: settings::START_SCALE.default_number(),
            pixel: side.clone(),
            latent: side,
        }
    }

    /// Sets missing step sizes from the card, matches the temperatures, and checks every number.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside its domain.
    pub fn complete(mut self, card: &Card) -> Result<Self> {
        settings::SEED.check(self.seed)?;
        settings::CHAINS.check(self.chains)?;
        settings::LEAPFROG_STEPS.check(self.leapfrog_steps)?;
        settings::WARMUP.check(self.warmup)?;
        settings::START_SCALE.check(self.start_scale)?;
        if !SAMPLERS.contains(&self.sampler.as_str()) {
            return Err(Error::invalid(
                "sampler",
                SAMPLERS.join(", "),
                &self.sampler,
                "choose one of these for a race",
            ));
        }
        if self.match_temperature {
            self.pixel.temperature = self.latent.temperature;
        }
        let sampler = self.sampler.clone();
        self.target_accept = self
            .target_accept
            .or(sampler::find(&sampler)?.target_accept);
        for (space, side) in SPACES.iter().zip([&mut self.pixel, &mut self.latent]) {
            side.step_size = side.step_size.or_else(|| card.step_size(space, &sampler));
        }
        for space in SPACES {
            self.sampler_config(space).build()?;
        }
        Ok(self)
    }

    /// The sampler's settings on one side.
    pub fn sampler_config(&self, space: &str) -> SamplerConfig {
        let side = if space == "pixel" {
            &self.pixel
        } else {
            &self.latent
        };
        SamplerConfig {
            step_size: side.step_size,
            temperature: side.temperature,
            warmup: self.warmup,
            no_adapt: !self.adapt,
            target_accept: self.target_accept,
            ..SamplerConfig::new(&self.sampler).with("leapfrog_steps", self.leapfrog_steps)
        }
    }
}
