//! Settings of Generate and Compose.

use crate::setting::{Kind, Setting};

/// Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.
pub const SEED: Setting = Setting {
    name: "seed",
    title: "seed",
    help: "Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.",
    kind: Kind::count(0, (1 << 53) - 1, 1),
};

/// Images.
pub const COUNT: Setting = Setting {
    name: "count",
    title: "images",
    help: "Images.",
    kind: Kind::count(1, 256, 36),
};

/// Transitions of a round. The default is the model's own, 100 where it has none.
pub const STEPS: Setting = Setting {
    name: "steps",
    title: "steps",
    help: "Transitions of a round. The default is the model's own, 100 where it has none.",
    kind: Kind::count(1, 2000, 100),
};

/// Rounds. Each but the first begins by augmenting the images; 1: no augmentation.
pub const ROUNDS: Setting = Setting {
    name: "rounds",
    title: "rounds",
    help: "Rounds. Each but the first begins by augmenting the images; 1: no augmentation.",
    kind: Kind::count(1, 50, 1),
};

/// Multiple of the model's own temperature.
pub const TEMPERATURE: Setting = Setting {
    name: "temperature",
    title: "temperature",
    help: "Multiple of the model's own temperature.",
    kind: Kind::number(0.01, 100.0, Some(1.0)),
};

/// Scale of the start noise.
pub const TRUNCATION: Setting = Setting {
    name: "truncation",
    title: "truncation",
    help: "Scale of the start noise.",
    kind: Kind::positive(2.0, Some(1.0)),
};

/// β of the conditions: how strongly they pull.
pub const BETA: Setting = Setting {
    name: "beta",
    title: "β",
    help: "β of the conditions: how strongly they pull.",
    kind: Kind::number(0.0, 1000.0, Some(0.3)),
};

/// Weight of a condition: what β is multiplied by.
pub const WEIGHT: Setting = Setting {
    name: "weight",
    title: "weight",
    help: "Weight of a condition: what β is multiplied by.",
    kind: Kind::number(1e-3, 10.0, Some(1.0)),
};

/// All of them.
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
