//! Samplers: one transition for a batch of chains.
//!
//! A sampler sees its target only through the [`Energy`](crate::energy::Energy) trait; it knows no
//! backend, command line or page. To add one: write its file with a `REGISTRATION`, declare its settings
//! there, and add a line to [`REGISTRY`].

mod adapt;
mod config;
mod dynamics;
mod gibbs;
mod hmc;
mod mala;
mod mass;
mod noise;
mod nuts;
mod record;
mod registry;
mod replay;
mod run;
mod rwm;
mod saved;
pub mod settings;
mod sgld;
mod tempering;
mod trace;
mod transition;
mod tuning;
mod ula;
mod underdamped;

pub use adapt::DualAveraging;
pub use config::{SamplerConfig, own_settings};
pub use noise::Noise;
pub use record::Draw;
pub use registry::{REGISTRY, find};
pub use replay::Path;
pub use run::{Run, walk};
pub use saved::SavedRun;
pub use trace::{Counters, Trace};
pub use transition::{DIVERGENCE, Registration, Sampler, Transition};
pub use tuning::Tuning;
