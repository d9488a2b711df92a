//! Evaluation of models: distances between samples and data, scores of other data, nearest neighbours,
//! and benchmarks of latent priors.

pub mod anomaly;
mod card;
mod evaluate;
mod features;
pub mod fid;
pub mod inception;
pub mod report;
pub mod roc;
mod samples;
pub mod toys;

pub use card::card_from_report;
pub use evaluate::{Load, Setting, evaluate};
pub use roc::{auprc, auroc, auroc_interval};
