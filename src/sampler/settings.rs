//! Values of the settings that samplers declare, and the settings that are common to all runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::setting::{Kind, Setting, Value};

/// Values of settings by name. A missing setting has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub(super) BTreeMap<String, Option<Value>>);

impl Settings {
    fn get(&self, setting: &Setting) -> Option<Value> {
        match self.0.get(setting.name) {
            Some(value) => *value,
            None => setting.default(),
        }
    }

    /// The value of a [`Kind::Number`], if it has one.
    pub fn number(&self, setting: &Setting) -> Option<f64> {
        match self.get(setting)? {
            Value::Number(v) => Some(v),
            Value::Count(v) => Some(v as f64),
            Value::Flag(_) => None,
        }
    }

    /// The value of a [`Kind::Count`]; 0 for any other kind.
    pub fn count(&self, setting: &Setting) -> usize {
        match self.get(setting) {
            Some(Value::Count(v)) => v as usize,
            _ => 0,
        }
    }

    /// The value of a [`Kind::Flag`]; false for any other kind.
    pub fn flag(&self, setting: &Setting) -> bool {
        matches!(self.get(setting), Some(Value::Flag(true)))
    }

    /// Sets a value by name; with `None` the sampler chooses.
    pub fn set(&mut self, name: &str, value: Option<Value>) {
        self.0.insert(name.into(), value);
    }
}

/// Step size ε.
pub const STEP_SIZE: Setting = Setting {
    name: "step_size",
    title: "step size",
    help: "Step size ε: Langevin drifts by a = ε²/2 and adds noise σ = ε√T; HMC takes leapfrog steps of ε. \
           Default: the model's or target's recommendation for this sampler and space.",
    kind: Kind::positive(100.0, None),
};

/// Temperature T.
pub const TEMPERATURE: Setting = Setting {
    name: "temperature",
    title: "temperature",
    help: "Temperature T of the target p ∝ exp(−E/T).",
    kind: Kind::positive(1000.0, Some(1.0)),
};

/// Whether the warm-up learns a mass.
pub const ADAPT_MASS: Setting = Setting {
    name: "adapt_mass",
    title: "adapt mass",
    help: "Learn a diagonal mass (for Langevin: a preconditioner) from the warm-up draws, if the warm-up \
           has at least 50 transitions. The step size is then in units of each coordinate's own scale.",
    kind: Kind::Flag,
};

/// Warm-up transitions.
pub const WARMUP: Setting = Setting {
    name: "warmup",
    title: "warm-up",
    help: "Warm-up transitions: they adapt the step size and are excluded from all statistics.",
    kind: Kind::count(0, 1_000_000, 100),
};

/// Whether the step size is fixed.
pub const NO_ADAPT: Setting = Setting {
    name: "no_adapt",
    title: "keep the step size",
    help: "Do not adapt the step size during warm-up.",
    kind: Kind::Flag,
};

/// Target acceptance of the warm-up.
pub const TARGET_ACCEPT: Setting = Setting {
    name: "target_accept",
    title: "target acceptance",
    help: "Acceptance that the warm-up adapts to. Default: the sampler's own, 0.574 for MALA.",
    kind: Kind::positive(0.999, None),
};

/// Groups of chains.
pub const GROUPS: Setting = Setting {
    name: "groups",
    title: "groups",
    help: "Groups of chains; each group adapts its own step size.",
    kind: Kind::count(1, 1024, 1),
};

/// The settings of every run, independent of the sampler.
pub const COMMON: [&Setting; 7] = [
    &STEP_SIZE,
    &TEMPERATURE,
    &ADAPT_MASS,
    &WARMUP,
    &NO_ADAPT,
    &TARGET_ACCEPT,
    &GROUPS,
];
