//! The room Prior as a class. One call at a time.

use wasm_bindgen::prelude::*;

use super::{
    js::{from_js, problem},
    slot::Slot,
};
use crate::{
    artifact::Card,
    session::prior::{self, PriorConfig},
};

/// The Prior of `www/contract/`.
#[wasm_bindgen]
pub struct Prior {
    prior: Slot<prior::Prior>,
}

impl Prior {
    pub(super) fn new(prior: prior::Prior) -> Self {
        Self {
            prior: Slot::new("the room Prior", prior),
        }
    }
}

#[wasm_bindgen]
impl Prior {
    /// Loads a model and its reference scores.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn load(
        &self,
        card: &str,
        weights: Vec<u8>,
        scores: Option<String>,
    ) -> Result<JsValue, JsValue> {
        let card = Card::parse(card.as_bytes(), "model").map_err(|e| problem(&e))?;
        self.prior
            .timed(async |prior| {
                let scores = scores.as_deref().map(str::as_bytes);
                prior.load(card, &weights, scores).await
            })
            .await
    }

    /// Checks a config and returns the frame of the starts.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn begin(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let config: PriorConfig = from_js("the room Prior", config)?;
        self.prior
            .timed(async |prior| prior.begin(config).await)
            .await
    }

    /// Makes `transitions` more transitions.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, transitions: usize) -> Result<JsValue, JsValue> {
        self.prior
            .timed(async |prior| prior.advance(transitions).await)
            .await
    }

    /// Infers an image's latent and scores it.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn reconstruct(&self, image: Vec<u8>, steps: usize) -> Result<JsValue, JsValue> {
        self.prior
            .timed(async |prior| prior.reconstruct(&image, steps).await)
            .await
    }

    /// Decodes the path between two latents.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn interpolate(
        &self,
        from: Vec<f32>,
        to: Vec<f32>,
        frames: usize,
        sphere: bool,
    ) -> Result<JsValue, JsValue> {
        self.prior
            .timed(async |prior| prior.interpolate(&from, &to, frames, sphere).await)
            .await
    }
}
