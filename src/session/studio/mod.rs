//! The rooms Generate, Compose and Score: images from noise, under conditions and by inpainting, and
//! scores of the user's own image.

mod generation;
mod info;
mod score;
pub mod settings;

pub use generation::Studio;
pub use info::{
    ClassifierInfo, ConditionConfig, ConditionSource, Descent, InpaintConfig, Percentiles,
    ReferenceSet, Score, StudioConfig, StudioFrame, StudioModel, StudioTerm,
};
