//! A small classifier of the data's classes, independent of every energy.
//!
//! It evaluates compositional samples, so that the energy that made them does not. Where the FID network
//! is not available, the distance between samples and data is measured on its features, under its own
//! name. It is a ResNet like CLEL's encoder, with one output per class.

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

/// This system's entry in the registry: it can be trained but not sampled.
pub const REGISTRATION: Registration = Registration {
    name: NAME,
    title: "classifier (no energy)",
    load: model::load,
    #[cfg(feature = "native")]
    train: train::train,
};
