//! The page's view of the crate: one session, driven by `www/engine.js` in a Web Worker.
//!
//! `www/protocol.d.ts` has the same shapes in TypeScript. Everything that reads from the device is
//! asynchronous, and no borrow is held across an await.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use burn::tensor::Device;
use js_sys::{Float32Array, Object, Reflect, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::{
    artifact::{self, Card, SelfTest},
    error::{Error, Result},
    play::{LearnConfig, Play, PlayConfig},
    prior::{self, PriorConfig},
    race::{Frame, Race, RaceConfig, Record},
    rng::{Purpose, Rng},
    studio::{self, StudioConfig},
    system::Model,
};

// With an export that calls it, the linker does not wrap every export in a re-run of all
// constructors (cubecl registers thousands), which would cost 250 µs a call.
unsafe extern "C" {
    fn __wasm_call_ctors();
}

static CONSTRUCTORS: std::sync::Once = std::sync::Once::new();

/// What must happen once before anything else, whoever is first: the page or a test runner.
pub fn boot() {
    CONSTRUCTORS.call_once(|| {
        // SAFETY: the linker's own constructor list, called exactly once, before any of the code
        // that depends on it, on the only thread there is.
        unsafe { __wasm_call_ctors() };
        console_error_panic_hook::set_once();
    });
}

/// An error as `MixwellError` of the protocol.
#[derive(Serialize)]
struct Problem {
    kind: &'static str,
    message: String,
    detail: String,
}

fn problem(error: &Error) -> JsValue {
    let kind = match error {
        Error::Device { .. } => "device-lost",
        Error::Model { .. } | Error::Data { .. } => "bad-model",
        Error::Network { .. } | Error::Io { .. } => "network",
        Error::Cancelled { .. } => "aborted",
        _ => "bad-config",
    };
    let problem = Problem {
        kind,
        message: error.to_string(),
        detail: format!("{error:?}"),
    };
    to_js(&problem).unwrap_or_else(|_| JsValue::from_str(&problem.message))
}

fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(Into::into)
}

fn from_js<T: serde::de::DeserializeOwned>(what: &str, value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value).map_err(|e| {
        problem(&Error::invalid(
            what,
            "the settings of this version",
            e,
            "reset the page's settings",
        ))
    })
}

#[derive(Serialize)]
struct ModelInfo<'a> {
    card: &'a Card,
    shape: [usize; 3],
    parameters: usize,
    self_test: SelfTest,
}

#[derive(Serialize)]
struct RaceInfo {
    config: RaceConfig,
    traced: Vec<String>,
    gradients_per_transition: usize,
}

struct Loaded {
    card: Card,
    model: Arc<dyn Model>,
}

/// A model on a device, and the race it runs.
#[wasm_bindgen]
pub struct Session {
    device: Device,
    loaded: RefCell<Option<Rc<Loaded>>>,
    config: RefCell<Option<RaceConfig>>,
    /// Taken out while a frame is computed.
    race: RefCell<Option<Race>>,
    record: RefCell<Option<Rc<RefCell<Record>>>>,
}

/// Opens the device of this build, once per worker.
///
/// # Errors
/// A `MixwellError` when there is no adapter.
#[wasm_bindgen]
pub async fn start() -> Result<Session, JsValue> {
    boot();
    Ok(Session {
        device: open().await.map_err(|e| problem(&e))?,
        loaded: RefCell::default(),
        config: RefCell::default(),
        race: RefCell::default(),
        record: RefCell::default(),
    })
}

#[cfg(feature = "web-gpu")]
async fn open() -> Result<Device> {
    Device::wgpu_options()
        .tasks_max(64)
        .init_async()
        .await
        .map_err(|e| Error::Device {
            problem: format!("WebGPU did not start: {e}"),
            fix: "use the CPU build".into(),
        })
}

#[cfg(all(feature = "web-cpu", not(feature = "web-gpu")))]
async fn open() -> Result<Device> {
    Ok(Device::flex())
}

#[wasm_bindgen]
impl Session {
    /// Makes the model of a card and its weights, and tests it on this device.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn load(&self, card: JsValue, weights: Vec<u8>) -> Result<JsValue, JsValue> {
        let card: Card = from_js("model card", card)?;
        let model = card.load(&weights, &self.device).map_err(|e| problem(&e))?;
        drop(weights);
        let self_test = artifact::self_test(&*model, &card.known_answer)
            .await
            .map_err(|e| problem(&e))?;
        let info = to_js(&ModelInfo {
            shape: model.shape(),
            parameters: model.parameters(),
            card: &card,
            self_test,
        })?;
        self.loaded.replace(Some(Rc::new(Loaded { card, model })));
        self.race.take();
        self.record.take();
        Ok(info)
    }

    /// Checks and completes the settings, and starts the race they describe.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn configure(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let config: RaceConfig = from_js("race", config)?;
        let loaded = self.loaded()?;
        let config = config.complete(&loaded.card).map_err(|e| problem(&e))?;
        let race = self.begin(&loaded, config.clone()).await?;
        let info = to_js(&RaceInfo {
            config,
            traced: race.traced(),
            gradients_per_transition: race.gradients_per_transition(),
        });
        self.keep(race);
        info
    }

    /// Starts anew from a seed; the frame shows the start states.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn reset(&self, seed: f64) -> Result<JsValue, JsValue> {
        let loaded = self.loaded()?;
        let Some(mut config) = self.config.borrow().clone() else {
            return Err(not_ready());
        };
        config.seed = seed as u64;
        let config = config.complete(&loaded.card).map_err(|e| problem(&e))?;
        let race = self.begin(&loaded, config).await?;
        self.keep(race);
        self.advance(0).await
    }

    /// Makes `transitions` transitions on each side and returns the frame.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, transitions: usize) -> Result<JsValue, JsValue> {
        let Some(mut race) = self.race.take() else {
            return Err(not_ready());
        };
        let began = js_sys::Date::now();
        let frame = race.advance(transitions).await;
        self.race.replace(Some(race));
        frame_to_js(frame.map_err(|e| problem(&e))?, js_sys::Date::now() - began)
    }

    /// The race so far, as bytes; from the host's copy, so that it works on a lost device.
    ///
    /// # Errors
    /// A `MixwellError` before the first configure.
    pub fn checkpoint(&self) -> Result<Vec<u8>, JsValue> {
        let record = self.record.borrow().clone().ok_or_else(not_ready)?;
        let bytes = postcard::to_stdvec(&*record.borrow());
        bytes.map_err(|e| JsValue::from_str(&e.to_string()))
    }

    /// Random words as the host makes them and as this device does, chains × dim each: equal to the
    /// last bit, or replays between devices mean nothing. The device's are null where it has no
    /// generator of its own and takes the host's.
    ///
    /// # Errors
    /// A `MixwellError` when the device cannot be read.
    pub async fn random_words(
        &self,
        seed: f64,
        step: u32,
        chains: usize,
        dim: usize,
    ) -> Result<JsValue, JsValue> {
        let rng = Rng::new(seed as u64);
        let host = rng.words(Purpose::Proposal, step, chains, dim);
        let device = device_words(&rng, step, [chains, dim], &self.device)
            .await
            .map_err(|e| problem(&e))?;
        let object = Object::new();
        let array = |v: &[u32]| JsValue::from(js_sys::Uint32Array::from(v));
        Reflect::set(&object, &"host".into(), &array(&host))?;
        let device = device.map_or(JsValue::NULL, |v| array(&v));
        Reflect::set(&object, &"device".into(), &device)?;
        Ok(object.into())
    }

    /// A session of the Playground on this device, independent of the race.
    pub fn playground(&self) -> Playground {
        Playground {
            play: RefCell::new(Some(Play::new(self.device.clone(), js_sys::Date::now))),
        }
    }

    /// A session of the Studio on this device, independent of the others.
    pub fn studio(&self) -> Studio {
        Studio {
            studio: RefCell::new(Some(studio::Studio::new(self.device.clone()))),
        }
    }

    /// A session of the room Prior on this device, independent of the others.
    pub fn prior(&self) -> Prior {
        Prior {
            prior: RefCell::new(Some(prior::Prior::new(self.device.clone()))),
        }
    }

    /// Goes on from a checkpoint; the frame shows where it stood.
    ///
    /// # Errors
    /// A `MixwellError` when the checkpoint does not fit the model.
    pub async fn restore(&self, checkpoint: Vec<u8>) -> Result<JsValue, JsValue> {
        let record: Record = postcard::from_bytes(&checkpoint).map_err(|e| {
            problem(&Error::invalid(
                "checkpoint",
                "one of this version",
                e,
                "reset the race",
            ))
        })?;
        let loaded = self.loaded()?;
        let race = Race::restored(&*loaded.model, record)
            .await
            .map_err(|e| problem(&e))?;
        self.keep(race);
        self.advance(0).await
    }
}

#[cfg(feature = "kernels")]
async fn device_words(
    rng: &Rng,
    step: u32,
    shape: [usize; 2],
    device: &Device,
) -> Result<Option<Vec<u32>>> {
    use crate::rng::kernel;
    match kernel::words(
        kernel::Draw::new(rng, Purpose::Proposal, step),
        shape,
        device,
    ) {
        Some(words) => crate::device::read_int(words).await.map(Some),
        None => Ok(None),
    }
}

#[cfg(not(feature = "kernels"))]
async fn device_words(_: &Rng, _: u32, _: [usize; 2], _: &Device) -> Result<Option<Vec<u32>>> {
    Ok(None)
}

impl Session {
    fn loaded(&self) -> Result<Rc<Loaded>, JsValue> {
        self.loaded.borrow().clone().ok_or_else(not_ready)
    }

    async fn begin(&self, loaded: &Loaded, config: RaceConfig) -> Result<Race, JsValue> {
        Race::new(&*loaded.model, config)
            .await
            .map_err(|e| problem(&e))
    }

    fn keep(&self, race: Race) {
        self.config.replace(Some(race.config()));
        self.record.replace(Some(race.record()));
        self.race.replace(Some(race));
    }
}

fn not_ready() -> JsValue {
    problem(&Error::invalid(
        "session",
        "load, then configure, then one frame at a time",
        "a call out of order",
        "reload the page",
    ))
}

/// A frame with its arrays as typed arrays of their own (they are sent on without a copy).
fn frame_to_js(mut frame: Frame, elapsed_ms: f64) -> Result<JsValue, JsValue> {
    let arrays: Vec<_> = frame
        .sides
        .iter_mut()
        .map(|side| {
            (
                std::mem::take(&mut side.images),
                std::mem::take(&mut side.traces),
                std::mem::take(&mut side.trace_clock),
            )
        })
        .collect();
    let object = to_js(&frame)?;
    Reflect::set(&object, &"elapsed_ms".into(), &elapsed_ms.into())?;
    let sides = js_sys::Array::from(&Reflect::get(&object, &"sides".into())?);
    for (side, (images, traces, clock)) in sides.iter().zip(arrays) {
        Reflect::set(&side, &"images".into(), &Uint8Array::from(&images[..]))?;
        Reflect::set(
            &side,
            &"trace_clock".into(),
            &Float32Array::from(&clock[..]),
        )?;
        let object = Object::new();
        for (name, values) in traces {
            Reflect::set(&object, &name.into(), &Float32Array::from(&values[..]))?;
        }
        Reflect::set(&side, &"traces".into(), &object)?;
    }
    Ok(object)
}

/// The Playground as `www/play-protocol.d.ts` has it. One call at a time.
#[wasm_bindgen]
pub struct Playground {
    /// Taken out while a call is under way: no borrow is held across an await.
    play: RefCell<Option<Play>>,
}

/// Puts `elapsed_ms` into an answer.
fn timed(answer: &impl Serialize, began: f64) -> Result<JsValue, JsValue> {
    let object = to_js(answer)?;
    let elapsed = js_sys::Date::now() - began;
    Reflect::set(&object, &"elapsed_ms".into(), &elapsed.into())?;
    Ok(object)
}

impl Playground {
    fn take(&self) -> Result<Play, JsValue> {
        self.play.take().ok_or_else(|| {
            problem(&Error::invalid(
                "the Playground",
                "one call at a time",
                "a call during another",
                "wait for the answer",
            ))
        })
    }

    /// Puts the session back and turns an outcome into an answer.
    fn give<T>(&self, play: Play, outcome: Result<T>) -> Result<T, JsValue> {
        self.play.replace(Some(play));
        outcome.map_err(|e| problem(&e))
    }
}

#[wasm_bindgen]
impl Playground {
    /// Every sampler.
    ///
    /// # Errors
    /// None that can be mended.
    pub fn samplers(&self) -> Result<JsValue, JsValue> {
        to_js(&Play::samplers())
    }

    /// Every target that can be sampled just now.
    ///
    /// # Errors
    /// A `MixwellError` during another call.
    pub fn targets(&self) -> Result<JsValue, JsValue> {
        let play = self.take()?;
        let targets = play.targets();
        to_js(&self.give(play, Ok(targets))?)
    }

    /// What a newcomer meets on a target.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub fn defaults(&self, target: &str) -> Result<JsValue, JsValue> {
        let play = self.take()?;
        let defaults = play.defaults(target);
        to_js(&self.give(play, defaults)?)
    }

    /// Takes a drawing of `side`² grey values.
    ///
    /// # Errors
    /// A `MixwellError` for an empty drawing or another size.
    pub fn draw(&self, grid: Vec<u8>, side: usize) -> Result<JsValue, JsValue> {
        let mut play = self.take()?;
        let info = if side * side == grid.len() {
            play.draw(&grid)
        } else {
            Err(Error::invalid(
                "drawing",
                format!("{side} × {side} grey values"),
                grid.len(),
                "draw on the page's own grid",
            ))
        };
        to_js(&self.give(play, info)?)
    }

    /// Checks, completes and starts.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn configure(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let config: PlayConfig = from_js("playground", config)?;
        let mut play = self.take()?;
        let info = play.configure(config).await;
        to_js(&self.give(play, info)?)
    }

    /// Runs on by so many gradients.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, gradients: f64, statistics: bool) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut play = self.take()?;
        let frame = play.advance(gradients, statistics).await;
        timed(&self.give(play, frame)?, began)
    }

    /// Replays to a clock.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn seek(&self, clock: f64, statistics: bool) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut play = self.take()?;
        let frame = play.seek(clock, statistics).await;
        timed(&self.give(play, frame)?, began)
    }

    /// The last transition of a chain.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn path(&self, side: usize, chain: usize) -> Result<JsValue, JsValue> {
        let mut play = self.take()?;
        let path = play.path(side, chain).await;
        to_js(&self.give(play, path)?)
    }

    /// Data of a chart.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub fn chart(&self, side: usize, kind: &str, quantity: &str) -> Result<JsValue, JsValue> {
        let mut play = self.take()?;
        let chart = play.chart(side, kind, quantity);
        to_js(&self.give(play, chart)?)
    }

    /// Begins to learn.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn learn(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let config: LearnConfig = from_js("learning", config)?;
        let mut play = self.take()?;
        let frame = play.learn(config).await;
        timed(&self.give(play, frame)?, began)
    }

    /// Learns on for so many iterations.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn learn_step(&self, iterations: u32) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut play = self.take()?;
        let frame = play.learn_step(u64::from(iterations)).await;
        timed(&self.give(play, frame)?, began)
    }
}

/// The Studio as `www/studio-protocol.d.ts` has it. One call at a time.
#[wasm_bindgen]
pub struct Studio {
    /// Taken out while a call is under way: no borrow is held across an await.
    studio: RefCell<Option<studio::Studio>>,
}

impl Studio {
    fn take(&self) -> Result<studio::Studio, JsValue> {
        self.studio.take().ok_or_else(|| {
            problem(&Error::invalid(
                "the Studio",
                "one call at a time",
                "a call during another",
                "wait for the answer",
            ))
        })
    }

    /// Puts the session back and turns an outcome into an answer.
    fn give<T: Serialize>(
        &self,
        studio: studio::Studio,
        outcome: Result<T>,
        began: f64,
    ) -> Result<JsValue, JsValue> {
        self.studio.replace(Some(studio));
        timed(&outcome.map_err(|e| problem(&e))?, began)
    }
}

#[wasm_bindgen]
impl Studio {
    /// Loads a model, its judge and its reference scores.
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
        let began = js_sys::Date::now();
        let parse = |text: &str| Card::parse(text.as_bytes(), "model").map_err(|e| problem(&e));
        let card = parse(card)?;
        let judge = if classifier.is_object() {
            let text = Reflect::get(&classifier, &"card".into())?;
            let bytes = Reflect::get(&classifier, &"weights".into())?;
            let text = text.as_string().unwrap_or_default();
            Some((parse(&text)?, Uint8Array::new(&bytes).to_vec()))
        } else {
            None
        };
        let mut studio = self.take()?;
        let judge = judge
            .as_ref()
            .map(|(card, bytes)| (card.clone(), &bytes[..]));
        let scores = scores.as_deref().map(str::as_bytes);
        let info = studio.load(card, &weights, judge, scores).await;
        self.give(studio, info, began)
    }

    /// Checks a config and shows the start images.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn begin(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let config: StudioConfig = from_js("the Studio", config)?;
        let mut studio = self.take()?;
        let frame = studio.begin(config).await;
        self.give(studio, frame, began)
    }

    /// Walks on.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, transitions: usize) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut studio = self.take()?;
        let frame = studio.advance(transitions).await;
        self.give(studio, frame, began)
    }

    /// Scores an image.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn score(&self, image: Vec<u8>) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut studio = self.take()?;
        let score = studio.score(&image).await;
        self.give(studio, score, began)
    }

    /// Walks downhill.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn descend(&self, image: Option<Vec<u8>>, steps: usize) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut studio = self.take()?;
        let descent = studio.descend(image.as_deref(), steps).await;
        self.give(studio, descent, began)
    }
}

/// The room Prior as `www/prior-protocol.d.ts` has it. One call at a time.
#[wasm_bindgen]
pub struct Prior {
    /// Taken out while a call is under way: no borrow is held across an await.
    prior: RefCell<Option<prior::Prior>>,
}

impl Prior {
    fn take(&self) -> Result<prior::Prior, JsValue> {
        self.prior.take().ok_or_else(|| {
            problem(&Error::invalid(
                "the room Prior",
                "one call at a time",
                "a call during another",
                "wait for the answer",
            ))
        })
    }

    /// Puts the session back and turns an outcome into an answer.
    fn give<T: Serialize>(
        &self,
        prior: prior::Prior,
        outcome: Result<T>,
        began: f64,
    ) -> Result<JsValue, JsValue> {
        self.prior.replace(Some(prior));
        timed(&outcome.map_err(|e| problem(&e))?, began)
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
        let began = js_sys::Date::now();
        let card = Card::parse(card.as_bytes(), "model").map_err(|e| problem(&e))?;
        let mut prior = self.take()?;
        let scores = scores.as_deref().map(str::as_bytes);
        let info = prior.load(card, &weights, scores).await;
        self.give(prior, info, began)
    }

    /// Checks a config and shows the starts.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn begin(&self, config: JsValue) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let config: PriorConfig = from_js("the room Prior", config)?;
        let mut prior = self.take()?;
        let frame = prior.begin(config).await;
        self.give(prior, frame, began)
    }

    /// Walks on.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn advance(&self, transitions: usize) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let mut prior = self.take()?;
        let frame = prior.advance(transitions).await;
        self.give(prior, frame, began)
    }

    /// Infers an image's latent and scores it.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn reconstruct(&self, image: Vec<u8>, steps: usize) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        let prior = self.take()?;
        let found = prior.reconstruct(&image, steps).await;
        self.give(prior, found, began)
    }

    /// Decodes the way between two latents.
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
        let began = js_sys::Date::now();
        let prior = self.take()?;
        let found = prior.interpolate(&from, &to, frames, sphere).await;
        self.give(prior, found, began)
    }
}
