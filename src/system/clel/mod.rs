//! Contrastive-latent guided EBMs.

pub mod objective;
