//! The rooms Generate, Compose and Score as a class. One call at a time.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::{
    js::{from_js, problem},
    slot::Slot,
};
use crate::{
    artifact::Card,
    session::studio::{self, StudioConfig},
};

/// The Studio of `www/contract/`.
#[wasm_bindgen]
pub struct Studio {
    studio: Slot<studio::Studio>,
}

impl Studio {
    pub(super) fn new(studio: studio::Studio) -> Self {
        Self {
            studio: Slot::new("the Studio", studio),
        }
    }
}

#[wasm_bindgen]
impl Studio {
    /// Loads a model, its classifier and its reference scores.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn load(
        &self,
        card: &str,
        weights: Vec<u8>,
        classifier: JsValue,
        scores: Option<String>,
    ) -> Result<JsValue, JsValue> {
        let parse = |text: &str| Card::parse(text.as_bytes(), "model").map_err(|e| problem(&e));
        let card = parse(card)?;
        let classifier = if classifier.is_object() {
            let text = Reflect::get(&classifier, &"card".into())?;
            let bytes = Reflect::get(&classifier, &"weights".into())?;
            let text = text.as_string().unwrap_or_default();
            Some((parse(&text)?, Uint8Array::new(&bytes).to_vec()))
        } else {
            None
        };
        self.studio
            .timed(async |studio| {
                let classifier = classifier
                    .as_ref()
                    .map(|(card, bytes)| (card.clone(), &bytes[..]));
                let scores = scores.as_deref().map(str::as_bytes);
                studio.load(card, &weights, classifier, scores).await
            })
            .await
    }

    /// Checks a config and returns the start images.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn begin(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let config: StudioConfig = from_js("the Studio", config)?;
        self.studio
            .timed(async |studio| studio.begin(config).await)
            .await
    }

    /// Makes `transitions` more transitions.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, transitions: usize) -> Result<JsValue, JsValue> {
        self.studio
            .timed(async |studio| studio.advance(transitions).await)
            .await
    }

    /// Scores an image.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn score(&self, image: Vec<u8>) -> Result<JsValue, JsValue> {
        self.studio
            .timed(async |studio| studio.score(&image).await)
            .await
    }

    /// Descends the energy from an image, or continues the last descent.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn descend(&self, image: Option<Vec<u8>>, steps: usize) -> Result<JsValue, JsValue> {
        self.studio
            .timed(async |studio| studio.descend(image.as_deref(), steps).await)
            .await
    }
}
