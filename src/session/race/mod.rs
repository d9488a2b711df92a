//! The room Race: one model, one sampler, one seed, two spaces, one clock.
//!
//! Both sides start from the same images, make transitions of equal cost, and are judged on the same test
//! functions of the image. The page's first room and `mixwell race` both run this.

mod chains;
mod config;
pub mod settings;

pub use chains::{Frame, Race, Record, SideFrame};
pub use config::{RaceConfig, SAMPLERS, SPACES, SideConfig};
