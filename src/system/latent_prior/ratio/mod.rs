//! Learning the prior of z from draws of the latents: density ratios in stages, and the baselines
//! (arms).

mod book;
mod config;
mod loss;
mod training;

pub use book::{Book, Check, StageRecord};
pub use config::{Arm, RatioConfig, Rule};
pub use loss::logistic;
pub use training::{Bank, RatioStep, RatioTraining};
