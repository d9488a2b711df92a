//! Settings of the room Prior.

use crate::setting::{Kind, Setting};

/// Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.
pub const SEED: Setting = Setting::seed(1);

/// Number of chains.
pub const COUNT: Setting = Setting {
    name: "count",
    title: "chains",
    help: "Number of chains.",
    kind: Kind::count(4, 256, 36),
};

/// Transitions that adapt the step size.
pub const WARMUP: Setting = Setting {
    name: "warmup",
    title: "warm-up",
    help: "Transitions that adapt the step size.",
    kind: Kind::count(0, 1000, 50),
};

/// Standard deviation of the starts in latent space.
pub const START_SCALE: Setting = Setting {
    name: "start_scale",
    title: "start scale",
    help: "Standard deviation of the starts in latent space.",
    kind: Kind::number(1e-3, 3.0, Some(1.2)),
};

/// Temperature T of p ∝ exp(−E/T).
pub const TEMPERATURE: Setting = Setting {
    name: "temperature",
    title: "temperature",
    help: "Temperature T of p ∝ exp(−E/T).",
    kind: Kind::number(0.05, 20.0, Some(1.0)),
};

/// Proposals of sampling-importance-resampling; at least as many as chains.
pub const PROPOSALS: Setting = Setting {
    name: "proposals",
    title: "proposals",
    help: "Proposals of sampling-importance-resampling; at least as many as chains.",
    kind: Kind::count(4, 100_000, 10_000),
};

/// All settings of the room Prior.
pub const ALL: &[&Setting] = &[
    &SEED,
    &COUNT,
    &WARMUP,
    &START_SCALE,
    &TEMPERATURE,
    &PROPOSALS,
];
