//! Settings of Generate and Compose.

use crate::setting::{Kind, Setting};

/// Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.
pub const SEED: Setting = Setting::seed(1);

/// Number of images.
pub const COUNT: Setting = Setting {
    name: "count",
    title: "images",
    help: "Number of images.",
    kind: Kind::count(1, 256, 36),
};

/// Transitions per round. Default: the model's own, or 100 if it has none.
pub const STEPS: Setting = Setting {
    name: "steps",
    title: "steps",
    help: "Transitions per round. Default: the model's own, or 100 if it has none.",
    kind: Kind::count(1, 2000, 100),
};

/// Number of rounds; with more than one, each round starts by augmenting the images.
pub const ROUNDS: Setting = Setting {
    name: "rounds",
    title: "rounds",
    help: "Number of rounds; with more than one, each round starts by augmenting the images.",
    kind: Kind::count(1, 50, 1),
};

/// Multiple of the model's own temperature.
pub const TEMPERATURE: Setting = Setting {
    name: "temperature",
    title: "temperature",
    help: "Multiple of the model's own temperature.",
    kind: Kind::number(0.01, 100.0, Some(1.0)),
};

/// Scale of the initial noise.
pub const TRUNCATION: Setting = Setting {
    name: "truncation",
    title: "truncation",
    help: "Scale of the initial noise.",
    kind: Kind::positive(2.0, Some(1.0)),
};

/// Strength β of the conditions.
pub const BETA: Setting = Setting {
    name: "beta",
    title: "β",
    help: "Strength β of the conditions.",
    kind: Kind::number(0.0, 1000.0, Some(0.3)),
};

/// Weight of a condition: a factor on β.
pub const WEIGHT: Setting = Setting {
    name: "weight",
    title: "weight",
    help: "Weight of a condition: a factor on β.",
    kind: Kind::number(1e-3, 10.0, Some(1.0)),
};

/// All settings of Generate and Compose.
pub const ALL: &[&Setting] = &[
    &SEED,
    &COUNT,
    &STEPS,
    &ROUNDS,
    &TEMPERATURE,
    &TRUNCATION,
    &BETA,
    &WEIGHT,
];
