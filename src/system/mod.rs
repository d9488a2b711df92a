//! The published systems, one folder each: model, objective and recipe.
//!
//! To add one: write its folder with a `REGISTRATION`, and add a line to [`REGISTRY`].

pub mod classifier;
pub mod clel;
pub mod flow_ebm;
pub mod latent_prior;
mod model;
mod open;
#[cfg(feature = "native")]
mod pca;
mod projection;
#[cfg(feature = "native")]
mod step_sizes;

pub use model::{Load, Model, Registration, start_energies};
#[cfg(feature = "native")]
pub use open::read_model;
pub use open::{REGISTRY, find, load, self_test};
pub use projection::{COMPONENTS, Projection};
#[cfg(feature = "native")]
pub use step_sizes::adapted_steps;
