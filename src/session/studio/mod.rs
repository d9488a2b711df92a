//! The rooms Generate, Compose and Score: images from noise, under conditions and around kept pixels;
//! and the visitor's own image, scored.

mod generation;
mod info;
mod score;
pub mod settings;

pub use generation::Studio;
pub use info::{
    ClassifierInfo, ConditionConfig, Descent, InpaintConfig, Of, Percentiles, ReferenceSet, Score,
    StudioConfig, StudioFrame, StudioModel, StudioTerm,
};
