//! A small classifier of the data's classes: the judge that had no part in any energy.
//!
//! Compositions are judged by it and never by the energy that made them; and where the FID network is
//! not at hand, the distance between samples and data is measured on its features, under that name. It
//! is a ResNet as CLEL's encoder is, with as many outputs as there are classes.

#[cfg(feature = "native")]
mod export;
mod model;
#[cfg(feature = "native")]
mod recipe;
#[cfg(feature = "native")]
mod train;

use super::model::Registration;

pub use model::{Architecture, Classifier, verdict};
#[cfg(feature = "native")]
pub use recipe::{PRESETS, Recipe};

/// This system's name.
pub const NAME: &str = "classifier";

/// This system's entry in the registry: it can be trained, but there is nothing to sample.
pub const REGISTRATION: Registration = Registration {
    name: NAME,
    title: "classifier (no energy)",
    load: model::load,
    #[cfg(feature = "native")]
    train: train::train,
};
