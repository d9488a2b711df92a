//! The report of an evaluation: its plan and its results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    artifact::{self, scores::Interval},
    error::{Error, Result},
};

/// The plan of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Number of samples N.
    pub samples: usize,
    /// Seed of the samples, the synthetic sets and the bootstrap.
    pub seed: u64,
    /// Rounds of augmentation and steps; default: the model's own.
    pub rounds: Option<usize>,
    /// Steps per round; default: the model's own.
    pub steps: Option<usize>,
    /// Largest number of images per scored set.
    pub images: usize,
    /// Other sets: names of data sets, or folders of images.
    pub others: Vec<String>,
    /// Bootstrap resamples per interval.
    pub resamples: usize,
    /// Number of samples whose nearest training image is searched.
    pub neighbours: usize,
    /// Number of training images, from the first, used as FID reference; default: all. (The features of
    /// our own classifier are cheap: they always use all.)
    pub reference: Option<usize>,
}

/// A distance between features of samples and of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Distance between samples and training images.
    pub value: f64,
    /// Distance between as many test images and the training images: the value of perfect samples.
    pub floor: f64,
    /// Number N of samples, and of test images.
    pub samples: usize,
    /// Number of training images.
    pub images: usize,
    /// Name of the network.
    pub network: String,
}

/// Mean, standard deviation and histogram of energies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Number of images.
    pub images: usize,
    /// Mean E.
    pub mean: f64,
    /// Standard deviation of E.
    pub sd: f64,
    /// Edges of the bins, one more than counts; the same for all sets.
    pub edges: Vec<f64>,
    /// Images per bin; values outside are in the outer bins.
    pub counts: Vec<usize>,
}

/// Nearest training images of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Mean over samples of the root mean square difference per pixel to the nearest training image.
    pub samples: f64,
    /// The same for as many test images; if `samples` is much smaller, the model copies training images.
    pub test: f64,
    /// Number of samples and of test images searched.
    pub images: usize,
}

/// Results of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// The plan.
    pub plan: Plan,
    /// FID (Heusel et al. 2017); only with the published network.
    pub fid: Option<Distance>,
    /// Fréchet distance of our own classifier's features; not FID.
    pub classifier_feature_distance: Option<Distance>,
    /// Share of each class among the classifier's predictions for the samples.
    pub classes: BTreeMap<String, f64>,
    /// Mean over the samples of the classifier's largest probability.
    pub confidence: Option<f64>,
    /// E of training, test and generated images.
    pub energies: BTreeMap<String, Histogram>,
    /// AUROC of other sets against the test set.
    pub auroc: BTreeMap<String, Aurocs>,
    /// Nearest training images.
    pub neighbours: Neighbours,
    /// Gradient evaluations per sample.
    pub gradients: usize,
    /// Total seconds.
    pub seconds: f64,
    /// Display name of the device.
    pub device: String,
    /// Commit of the program.
    pub commit: String,
}

/// AUROC by both scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aurocs {
    /// By E alone.
    pub energy: Interval,
    /// By the paper's OOD score; none without an encoder.
    pub ood: Option<Interval>,
}

impl Report {
    /// Reads the report of a model that was evaluated before.
    pub(super) fn read(name: &str) -> Result<Report> {
        let path = artifact::find_model(name)?.join("eval.json");
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|e| Error::Data {
            path: path.clone(),
            problem: format!("expected a report of eval, found another file ({e})"),
            fix: "run `mixwell eval` on the model first".into(),
        })
    }

    /// Checks that this report was made with a plan.
    pub(super) fn check_plan(&self, plan: &Plan) -> Result<()> {
        if self.plan == *plan {
            return Ok(());
        }
        Err(Error::invalid(
            "baseline",
            format!("one evaluated with the plan {plan:?}"),
            format!("{:?}", self.plan),
            "evaluate both models with the same options",
        ))
    }
}
