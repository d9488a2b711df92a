//! Settings of the Playground.

use crate::{
    sampler::SamplerConfig,
    setting::{Kind, Setting},
};

/// Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.
pub const SEED: Setting = Setting::seed(7);

/// Chains on each side.
pub const CHAINS: Setting = Setting {
    name: "chains",
    title: "chains",
    help: "Chains on each side.",
    kind: Kind::count(2, 1000, 12),
};

/// Groups of chains that share a start; a divisor of the chains.
pub const SUPERCHAINS: Setting = Setting {
    name: "superchains",
    title: "superchains",
    help: "Groups of chains that share a start; a divisor of the chains.",
    kind: Kind::count(1, 500, 1),
};

/// Iterations that train the flow.
pub const FLOW_ITERATIONS: Setting = Setting {
    name: "flow_iterations",
    title: "flow iterations",
    help: "Iterations that train the flow.",
    kind: Kind::count(1, 100_000, 1500),
};

/// Iterations that train the tilt.
pub const TILT_ITERATIONS: Setting = Setting {
    name: "tilt_iterations",
    title: "tilt iterations",
    help: "Iterations that train the tilt.",
    kind: Kind::count(1, 100_000, 1500),
};

/// Coupling steps of the flow.
pub const STEPS: Setting = Setting {
    name: "steps",
    title: "coupling steps",
    help: "Coupling steps of the flow.",
    kind: Kind::count(1, 32, 6),
};

/// Hidden width of the couplings.
pub const HIDDEN: Setting = Setting {
    name: "hidden",
    title: "hidden width",
    help: "Hidden width of the couplings.",
    kind: Kind::count(4, 256, 32),
};

/// All settings of the Playground.
pub const ALL: &[&Setting] = &[
    &SEED,
    &CHAINS,
    &SUPERCHAINS,
    &FLOW_ITERATIONS,
    &TILT_ITERATIONS,
    &STEPS,
    &HIDDEN,
];

/// A sampler with the Playground's defaults. Links omit settings that have their default.
pub fn sampler(name: &str) -> SamplerConfig {
    SamplerConfig::new(name)
        .with("leapfrog_steps", 10)
        .with("max_tree_depth", 6)
        .with("rungs", 5)
        .with("hottest", 20.0)
}
