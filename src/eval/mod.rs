//! What a model is worth: distances of its samples from the data, scores of other data, neighbours.

mod auroc;
pub mod fid;
pub mod inception;
pub mod report;

pub use auroc::{auprc, auroc, auroc_interval};
