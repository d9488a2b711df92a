//! The room Race: one model, one sampler, one seed, two spaces, one clock.
//!
//! Both sides start from the same images, make transitions of equal cost, and are compared on the same
//! test functions of the image. The page's Race and `mixwell race` both run this.

mod chains;
mod config;
pub mod settings;

pub use chains::{Frame, Race, Record, SideFrame};
pub use config::{RaceConfig, SAMPLERS, SPACES, SideConfig};
