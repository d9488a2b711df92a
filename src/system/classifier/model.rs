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
        "choose another model; eval and the Studio load this one automatically",
    ))
}

/// Architecture, as stored on the card; the encoder's latents are the class logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The network.
    pub encoder: EncoderConfig,
}

/// The predicted class: index of the largest value of a row; 0 for an empty row.
pub fn verdict(row: &[f32]) -> usize {
    (0..row.len())
        .max_by(|&a, &b| row[a].total_cmp(&row[b]))
        .unwrap_or(0)
}

/// A trained classifier.
#[derive(Debug, Clone)]
pub struct Classifier {
    net: FrozenEncoder,
    /// Display name.
    pub title: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Test accuracy, from its card.
    pub accuracy: f64,
    /// `[channels, height, width]` of its input images.
    pub shape: [usize; 3],
}

impl Classifier {
    /// Builds the classifier from a card and weights.
    ///
    /// # Errors
    /// [`Error::Model`] when the card is another system's, or the weights do not match it.
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

    /// Features: spatial means of the last stage, `[B, D]` → `[B, channels]`.
    pub fn features(&self, x: Tensor<2>) -> Tensor<2> {
        self.net.pooled(x)
    }

    /// Class probabilities, `[B, D]` → `[B, classes]`.
    pub fn probabilities(&self, x: Tensor<2>) -> Tensor<2> {
        softmax(self.net.forward(x), 1)
    }
}
