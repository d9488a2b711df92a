//! Energy-based models whose MCMC chains mix: trained natively, sampled in the browser.
//!
//! E is an energy everywhere: p(x) ∝ exp(−E(x)/T), low energy is likely. See ARCHITECTURE.md for
//! the map of the crate.

pub mod artifact;
mod device;
pub mod diagnostics;
pub mod energy;
pub mod error;
pub mod nn;
pub mod pixels;
pub mod play;
pub mod prior;
pub mod race;
pub mod rng;
pub mod sampler;
pub mod scores;
pub mod studio;
pub mod system;

#[cfg(feature = "native")]
pub mod cli;
#[cfg(feature = "native")]
pub mod data;
#[cfg(feature = "native")]
pub mod eval;
#[cfg(feature = "native")]
pub mod image;
#[cfg(feature = "native")]
pub mod train;

#[cfg(target_family = "wasm")]
pub mod web;

pub use error::{Error, Result};
