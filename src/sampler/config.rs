//! The sampler config of a run, shared by the command line, TOML, the page and model cards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    registry::{self, REGISTRY},
    settings::{COMMON, GROUPS, STEP_SIZE, Settings, TARGET_ACCEPT, TEMPERATURE, WARMUP},
    sgld,
    transition::{Registration, Sampler},
};
use crate::{
    error::{Error, Result},
    setting::{Setting, Value},
};

/// A sampler and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct SamplerConfig {
    /// Sampler name; `mixwell samplers` lists them.
    pub sampler: String,
    /// Step size ε; `None`: the recommendation of the model or target for this sampler and space.
    pub step_size: Option<f64>,
    /// Temperature T of the target p ∝ exp(−E/T).
    pub temperature: f64,
    /// Whether the warm-up learns a diagonal mass.
    pub adapt_mass: bool,
    /// Warm-up transitions.
    pub warmup: usize,
    /// Whether the step size is fixed during warm-up.
    pub no_adapt: bool,
    /// Acceptance that the warm-up adapts to; `None`: the sampler's own.
    pub target_accept: Option<f64>,
    /// Groups of chains; each adapts its own step size.
    pub groups: usize,
    /// Settings that samplers declare.
    pub settings: Settings,
}

/// The serialised config: all settings at one level.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
struct Wire {
    sampler: String,
    step_size: Option<f64>,
    temperature: f64,
    adapt_mass: bool,
    warmup: usize,
    no_adapt: bool,
    target_accept: Option<f64>,
    groups: usize,
    #[serde(flatten)]
    settings: BTreeMap<String, Option<Value>>,
}

impl Default for Wire {
    fn default() -> Self {
        SamplerConfig::default().into()
    }
}

impl From<SamplerConfig> for Wire {
    fn from(c: SamplerConfig) -> Self {
        Self {
            sampler: c.sampler,
            step_size: c.step_size,
            temperature: c.temperature,
            adapt_mass: c.adapt_mass,
            warmup: c.warmup,
            no_adapt: c.no_adapt,
            target_accept: c.target_accept,
            groups: c.groups,
            settings: c.settings.0,
        }
    }
}

impl TryFrom<Wire> for SamplerConfig {
    type Error = Error;

    fn try_from(w: Wire) -> Result<Self> {
        let mut this = Self {
            sampler: w.sampler,
            step_size: w.step_size,
            temperature: w.temperature,
            adapt_mass: w.adapt_mass,
            warmup: w.warmup,
            no_adapt: w.no_adapt,
            target_accept: w.target_accept,
            groups: w.groups,
            ..Self::default()
        };
        for (name, value) in w.settings {
            own_setting(&name)?;
            this.settings.set(&name, value);
        }
        Ok(this)
    }
}

/// Every setting that a sampler declares, in the registry's order.
pub fn own_settings() -> Vec<&'static Setting> {
    let mut all: Vec<&Setting> = Vec::new();
    for setting in REGISTRY.iter().flat_map(|r| r.settings) {
        let common = COMMON.iter().any(|c| c.name == setting.name);
        if !common && all.iter().all(|s| s.name != setting.name) {
            all.push(setting);
        }
    }
    all
}

fn own_setting(name: &str) -> Result<&'static Setting> {
    let all = own_settings();
    all.iter().find(|s| s.name == name).copied().ok_or_else(|| {
        let known = COMMON.into_iter().chain(all.iter().copied());
        let names: Vec<_> = known.map(|s| s.name).collect();
        Error::invalid(
            "sampler setting",
            names.join(", "),
            name,
            "choose one of these",
        )
    })
}

impl Default for SamplerConfig {
    fn default() -> Self {
        let own = own_settings();
        Self {
            sampler: "mala".into(),
            step_size: None,
            temperature: 1.0,
            adapt_mass: false,
            warmup: 100,
            no_adapt: false,
            target_accept: None,
            groups: 1,
            settings: Settings(
                own.into_iter()
                    .map(|s| (s.name.to_owned(), s.default()))
                    .collect(),
            ),
        }
    }
}

impl SamplerConfig {
    /// A sampler with its default settings.
    pub fn new(sampler: &str) -> Self {
        Self {
            sampler: sampler.into(),
            ..Self::default()
        }
    }

    /// Sets a setting that a sampler declares, by name. [`build`](Self::build) reports an unknown name
    /// or an invalid value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.set(name, Some(value.into()));
        self
    }

    /// The same sampler at `factor` times its temperature: SGLD's noise setting, if given, is multiplied
    /// by √factor; otherwise `temperature` is multiplied by `factor`.
    #[must_use]
    pub fn with_temperature_factor(mut self, factor: f64) -> Self {
        match self.settings.number(&sgld::NOISE) {
            Some(noise) => self.with(sgld::NOISE.name, noise * factor.sqrt()),
            None => {
                self.temperature *= factor;
                self
            }
        }
    }

    /// This sampler's registration.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sampler.
    pub fn registration(&self) -> Result<&'static Registration> {
        registry::find(&self.sampler)
    }

    /// Checks every number and builds the sampler.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside its domain.
    pub fn build(&self) -> Result<Box<dyn Sampler>> {
        let registration = self.registration()?;
        let common = [
            (&STEP_SIZE, self.step_size.map(Value::Number)),
            (&TEMPERATURE, Some(Value::Number(self.temperature))),
            (&TARGET_ACCEPT, self.target_accept.map(Value::Number)),
            (&WARMUP, Some(self.warmup.into())),
            (&GROUPS, Some(self.groups.into())),
        ];
        for (setting, value) in common {
            setting.check_some(value)?;
        }
        let mut settings = self.settings.clone();
        for (name, value) in &self.settings.0 {
            let setting = own_setting(name)?;
            let checked = value.map(|v| setting.check(v)).transpose()?;
            settings.set(name, checked);
        }
        Ok((registration.build)(&settings))
    }
}
