//! Settings of a race.

use crate::setting::{Kind, Setting};

/// Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.
pub const SEED: Setting = Setting::seed(1);

/// Chains on each side.
pub const CHAINS: Setting = Setting {
    name: "chains",
    title: "chains",
    help: "Chains on each side.",
    kind: Kind::count(2, 64, 16),
};

/// Leapfrog steps per HMC transition.
pub const LEAPFROG_STEPS: Setting = Setting {
    name: "leapfrog_steps",
    title: "leapfrog steps",
    help: "Leapfrog steps per HMC transition.",
    kind: Kind::count(1, 50, 5),
};

/// Warm-up transitions: they adapt the step size and are excluded from all statistics.
pub const WARMUP: Setting = Setting {
    name: "warmup",
    title: "warm-up",
    help: "Warm-up transitions: they adapt the step size and are excluded from all statistics.",
    kind: Kind::count(0, 10_000, 100),
};

/// Standard deviation of the over-dispersed starts in latent space; the latent prior's is 1.
pub const START_SCALE: Setting = Setting {
    name: "start_scale",
    title: "start scale",
    help: "Standard deviation of the over-dispersed starts in latent space; the latent prior's is 1.",
    kind: Kind::positive(10.0, Some(1.2)),
};

/// All settings of a race.
pub const ALL: &[&Setting] = &[&SEED, &CHAINS, &LEAPFROG_STEPS, &WARMUP, &START_SCALE];
