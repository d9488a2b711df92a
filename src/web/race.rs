//! The device of a worker, the room Race on it, and the classes of the other rooms.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use burn::tensor::Device;
use js_sys::{Object, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::{
    js::{from_js, problem, timed, to_js},
    playground::Playground,
    prior::Prior,
    studio::Studio,
};
use crate::{
    artifact::{Card, SelfTest},
    error::{Error, Result},
    rng::{Purpose, Rng},
    session::{
        playground::Play,
        prior,
        race::{Race, RaceConfig, Record},
        studio,
    },
    system::{self, Model},
};

// With an export that calls it, the linker does not wrap every export in a re-run of all
// constructors (cubecl registers thousands), which would cost 250 µs a call.
unsafe extern "C" {
    fn __wasm_call_ctors();
}

static CONSTRUCTORS: std::sync::Once = std::sync::Once::new();

/// One-time initialisation, called first by the page or by a test runner.
pub fn boot() {
    CONSTRUCTORS.call_once(|| {
        // SAFETY: this is the linker's own constructor list. It is called exactly once, before any code
        // that depends on it, on the only thread.
        unsafe { __wasm_call_ctors() };
        console_error_panic_hook::set_once();
    });
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

/// A model on a device, and its race.
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
/// A `MixwellError` when no adapter can be opened.
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
    /// Builds the model from a card and its weights, and tests it on this device.
    ///
    /// # Errors
    /// A `MixwellError`.
    pub async fn load(&self, card: JsValue, weights: Vec<u8>) -> Result<JsValue, JsValue> {
        let card: Card = from_js("model card", card)?;
        let model = system::load(&card, &weights, &self.device).map_err(|e| problem(&e))?;
        drop(weights);
        let self_test = system::self_test(&*model, &card.known_answer)
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

    /// Checks and completes the settings, and starts the race.
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

    /// Restarts with a seed; returns the frame of the starts.
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
        timed(&frame.map_err(|e| problem(&e))?, began)
    }

    /// The race so far, as bytes; from the host's copy, so that it works after a lost device.
    ///
    /// # Errors
    /// A `MixwellError` before the first configure.
    pub fn checkpoint(&self) -> Result<Vec<u8>, JsValue> {
        let record = self.record.borrow().clone().ok_or_else(not_ready)?;
        let bytes = postcard::to_stdvec(&*record.borrow());
        bytes.map_err(|e| JsValue::from_str(&e.to_string()))
    }

    /// Random words from the host and from this device, chains × dim each. They must be equal bit for
    /// bit, or replays between devices are invalid. The device's are null if it has no generator and
    /// uses the host's.
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
        Playground::new(Play::new(self.device.clone(), js_sys::Date::now))
    }

    /// A session of the Studio on this device, independent of the others.
    pub fn studio(&self) -> Studio {
        Studio::new(studio::Studio::new(self.device.clone()))
    }

    /// A session of the room Prior on this device, independent of the others.
    pub fn prior(&self) -> Prior {
        Prior::new(prior::Prior::new(self.device.clone()))
    }

    /// Continues from a checkpoint; returns its frame.
    ///
    /// # Errors
    /// A `MixwellError` when the checkpoint does not match the model.
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
