//! The room Playground as a class. One call at a time.

use wasm_bindgen::prelude::*;

use super::{js::from_js, js::to_js, slot::Slot};
use crate::{
    error::Error,
    session::playground::{LearnConfig, Play, PlayConfig},
};

/// The Playground of `www/contract/`.
#[wasm_bindgen]
pub struct Playground {
    play: Slot<Play>,
}

impl Playground {
    pub(super) fn new(play: Play) -> Self {
        Self {
            play: Slot::new("the Playground", play),
        }
    }
}

#[wasm_bindgen]
impl Playground {
    /// Every sampler.
    ///
    /// # Errors
    /// None in practice: the answer always has a JavaScript form.
    pub fn samplers(&self) -> Result<JsValue, JsValue> {
        to_js(&Play::samplers())
    }

    /// Every target that can be sampled now.
    ///
    /// # Errors
    /// A `MixwellError` during another call.
    pub fn targets(&self) -> Result<JsValue, JsValue> {
        self.play.now(|play| Ok(play.targets()))
    }

    /// The default settings for a target.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub fn defaults(&self, target: &str) -> Result<JsValue, JsValue> {
        self.play.now(|play| play.defaults(target))
    }

    /// Sets the target "drawn" from `side`² grey values.
    ///
    /// # Errors
    /// A `MixwellError` for an empty drawing or another size.
    pub fn draw(&self, grid: Vec<u8>, side: usize) -> Result<JsValue, JsValue> {
        self.play.now(|play| {
            if side * side != grid.len() {
                return Err(Error::invalid(
                    "drawing",
                    format!("{side} × {side} grey values"),
                    grid.len(),
                    "draw on the page's grid",
                ));
            }
            play.draw(&grid)
        })
    }

    /// Checks and completes a config, and starts its chains.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn configure(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let config: PlayConfig = from_js("playground", config)?;
        self.play
            .answer(async |play| play.configure(config).await)
            .await
    }

    /// Runs for `gradients` more gradient evaluations.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, gradients: f64, statistics: bool) -> Result<JsValue, JsValue> {
        self.play
            .timed(async |play| play.advance(gradients, statistics).await)
            .await
    }

    /// Rewinds to a clock.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn seek(&self, clock: f64, statistics: bool) -> Result<JsValue, JsValue> {
        self.play
            .timed(async |play| play.seek(clock, statistics).await)
            .await
    }

    /// The last transition of a chain.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn path(&self, side: usize, chain: usize) -> Result<JsValue, JsValue> {
        self.play
            .answer(async |play| play.path(side, chain).await)
            .await
    }

    /// Data of a chart.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub fn chart(&self, side: usize, kind: &str, quantity: &str) -> Result<JsValue, JsValue> {
        self.play.now(|play| play.chart(side, kind, quantity))
    }

    /// Starts training a flow and its tilt.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn learn(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let config: LearnConfig = from_js("learning", config)?;
        self.play.timed(async |play| play.learn(config).await).await
    }

    /// Trains for `iterations` more iterations.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn learn_step(&self, iterations: u32) -> Result<JsValue, JsValue> {
        self.play
            .timed(async |play| play.learn_step(u64::from(iterations)).await)
            .await
    }
}
