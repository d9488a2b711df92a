//! Energy-based models whose MCMC chains mix: trained natively, sampled in the browser.
//!
//! E is an energy everywhere: p(x) ∝ exp(−E(x)/T), low energy is likely. ARCHITECTURE.md has a map of
//! the crate; `examples/` has complete programs.
//!
//! Sample a density with a known exact distribution, and apply the convergence rule:
//!
//! ```
//! use burn::tensor::Device;
//! use mixwell::{
//!     diagnostics::{Rule, largest_rhat},
//!     energy,
//!     rng::{Purpose, Rng},
//!     sampler::{Run, SamplerConfig, Trace},
//! };
//!
//! # fn main() -> mixwell::Result<()> {
//! let device = Device::flex();
//! let target = (energy::find("gaussian")?.build)(&device);
//! let config = SamplerConfig {
//!     sampler: "hmc".into(),
//!     step_size: Some(0.3),
//!     warmup: 50,
//!     ..SamplerConfig::default()
//! };
//! // Every random number is a function of the seed, so the run is reproducible.
//! let rng = Rng::new(7);
//! let starts = rng.normal_tensor(Purpose::Start, 0, 16, 2, &device) * 2.0;
//! let mut trace = Trace::new(target.observables(), 16);
//! let mut run = Run::new(target, &config, rng, starts)?;
//! for draw in pollster::block_on(run.advance(250))? {
//!     trace.push(&draw);
//! }
//! let worst = largest_rhat(&trace.summaries(&Rule::default())?);
//! assert!(worst.is_some_and(|rhat| rhat < 1.2));
//! # Ok(())
//! # }
//! ```

pub mod artifact;
mod device;
pub mod diagnostics;
pub mod energy;
pub mod error;
pub mod nn;
pub mod pixels;
pub mod rng;
pub mod sampler;
pub mod session;
pub mod setting;
pub mod system;

#[cfg(feature = "native")]
pub mod cli;
#[cfg(feature = "native")]
pub mod contract;
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

/// The helpers of the integration tests, for tests of what is private.
#[cfg(all(test, feature = "native"))]
#[path = "../tests/common/mod.rs"]
mod test_support;

pub use error::{Error, Result};
