//! The network, from its card and weights.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, activation::softmax};
use serde::{Deserialize, Serialize};

use super::NAME;
use crate::{
    artifact::Card,
    error::{Error, Result},
    nn::{
        dict::Dict,
        encoder::{EncoderConfig, FrozenEncoder},
    },
    system::model::Model,
};

pub(super) fn load(card: &Card, _: &[u8], _: &Device) -> Result<Arc<dyn Model>> {
    Err(Error::model(
        &card.name,
        "expected an energy-based model, found a classifier",
        "choose another model; eval and the Studio load this one by themselves",
    ))
}

/// Architecture, as its card has it; the latents are the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The network.
    pub encoder: EncoderConfig,
}

/// Number of the largest probability of a row, the classifier's verdict; 0 for an empty row.
pub fn verdict(row: &[f32]) -> usize {
    (0..row.len())
        .max_by(|&a, &b| row[a].total_cmp(&row[b]))
        .unwrap_or(0)
}

/// A trained classifier.
#[derive(Debug, Clone)]
pub struct Classifier {
    net: FrozenEncoder,
    /// Name for people.
    pub title: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Share of the test set that it gets right, as its card says.
    pub accuracy: f64,
    /// `[channels, height, width]` of the images it judges.
    pub shape: [usize; 3],
}

impl Classifier {
    /// Makes the classifier of a card and weights.
    ///
    /// # Errors
    /// [`Error::Model`] when the card is another system's, or the weights do not fit.
    pub fn open(card: &Card, weights: &[u8], device: &Device) -> Result<Self> {
        let other = |found: String| {
            let fix = "use the folder that `mixwell train classifier` wrote";
            Error::model(
                &card.name,
                format!("expected a classifier, found {found}"),
                fix,
            )
        };
        if card.system != NAME {
            return Err(other(card.system.clone()));
        }
        let architecture: Architecture = serde_json::from_value(card.architecture.clone())
            .map_err(|e| other(format!("another architecture: {e}")))?;
        let dict = Dict::open(weights, &card.name, device)?;
        Ok(Self {
            net: FrozenEncoder::load(&dict, NAME, &architecture.encoder)?,
            title: card.title.clone(),
            classes: card.data.classes.clone(),
            accuracy: card
                .metrics
                .get("test_accuracy")
                .and_then(serde_json::Value::as_f64)
                .unwrap_or(f64::NAN),
            shape: card.data.shape,
        })
    }

    /// Features, the averages of the last stage, `[B, D]` → `[B, channels]`.
    pub fn features(&self, x: Tensor<2>) -> Tensor<2> {
        self.net.pooled(x)
    }

    /// Probabilities of the classes, `[B, D]` → `[B, classes]`.
    pub fn probabilities(&self, x: Tensor<2>) -> Tensor<2> {
        softmax(self.net.forward(x), 1)
    }
}
