//! Evaluation of models: distances between samples and data, scores of other data, nearest neighbours,
//! and the benchmarks of latent priors.

pub mod anomaly;
pub mod fid;
pub mod inception;
pub mod report;
pub mod roc;
pub mod toys;

pub use roc::{auprc, auroc, auroc_interval};
