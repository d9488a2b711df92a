//! The energy network of CLEL (Lee, Jeong, Park, Shin, "Guiding Energy-based Models via Contrastive
//! Latent Variables", ICLR 2023, arXiv 2303.03023): E(x) = ½‖f(x)‖² with f a pre-activation ResNet
//! without normalisation layers, and a projector g whose direction g(f(x))/‖g(f(x))‖ is compared
//! with contrastive latents. Architectures and initialisation are those of the authors' code.
//!
//! The same code serves two forms: [`EnergyNet`] is trained, [`FrozenEnergyNet`] is sampled and stored.

mod config;
mod net;
mod parts;
mod trunk;

pub use config::EnergyNetConfig;
pub use net::{EnergyNet, FrozenEnergyNet, Net, energy_of};
pub use parts::{Linear, Mlp, global_average, unit_rows};
pub use trunk::{Block, Planned, Precision, Trunk};

pub(super) use config::{check_normalisation, check_stages};
pub(super) use parts::Normalise;
