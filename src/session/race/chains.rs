//! A race in progress, and its frames.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use serde::{Deserialize, Serialize};

use super::{
    super::arrays::{Bytes, Floats},
    config::{RaceConfig, SPACES},
};
use crate::{
    diagnostics::{self, Rule, Summary},
    error::{Error, Result},
    rng::Rng,
    sampler::{Draw, Run, SavedRun, Trace},
    system::Model,
};

/// State of one side.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "RaceSideFrame"))]
pub struct SideFrame {
    /// "pixel" or "latent".
    #[cfg_attr(feature = "native", ts(type = "Space"))]
    pub space: String,
    /// Chains on this side.
    pub chains: usize,
    /// Energy-gradient evaluations per chain so far.
    pub gradients: u64,
    /// Transitions so far.
    pub transitions: u32,
    /// Whether the next transition belongs to the warm-up.
    pub warming_up: bool,
    /// chains × channels × height × width grey values.
    pub images: Bytes,
    /// Values since the last frame: name → draw-major, one value per chain and draw.
    pub traces: BTreeMap<String, Floats>,
    /// Clock of each new draw.
    pub trace_clock: Floats,
    /// Diagnostics of every traced quantity, over the draws after warm-up.
    pub summaries: Vec<Summary>,
    /// Largest R-hat of all quantities; `None` while one is undefined or infinite.
    pub rhat_max: Option<f64>,
    /// Smallest bulk ESS of all quantities.
    pub ess_bulk_min: Option<f64>,
    /// Smallest bulk ESS per 1000 gradient evaluations of all chains together.
    pub ess_per_1000_gradients: Option<f64>,
    /// Mean acceptance; `None` for ULA and before the first draw.
    pub acceptance: Option<f64>,
    /// Smallest E-BFMI; HMC only.
    pub e_bfmi: Option<f64>,
    /// Step size ε.
    pub step_size: f64,
    /// a of x ← x − a∇E + σξ.
    pub drift: f64,
    /// σ of x ← x − a∇E + σξ.
    pub noise: f64,
    /// T = σ²/(2a).
    pub temperature: f64,
    /// Chains whose last energy is not finite.
    pub broken_chains: usize,
}

/// Both sides at one moment.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "RaceFrame"))]
pub struct Frame {
    /// Frames since the reset; 0 is the start.
    pub index: u64,
    /// Pixel first, latent second.
    pub sides: Vec<SideFrame>,
}

/// A race in progress.
pub struct Race {
    runs: Vec<Run>,
    record: Rc<RefCell<Record>>,
    rule: Rule,
}

/// State and draws of a race on the host, from which it can continue after a lost device. Both sides are
/// updated together, so the record is always consistent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    config: RaceConfig,
    sides: Vec<(SavedRun, Trace)>,
    index: u64,
}

impl Record {
    /// The recorded draws of a side: 0 is pixel, 1 latent.
    pub fn trace(&self, side: usize) -> &Trace {
        &self.sides[side].1
    }
}

impl Race {
    /// Starts both sides; `config` must be [complete](RaceConfig::complete).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting outside its domain or a model without one of the spaces;
    /// [`Error::Device`] when the device cannot be read.
    pub async fn new(model: &dyn Model, config: RaceConfig) -> Result<Self> {
        let rng = Rng::new(config.seed);
        let mut runs = Vec::new();
        let mut sides = Vec::new();
        for space in SPACES {
            let target = model.target(space)?;
            let x = model.starts(space, &rng, config.chains, config.start_scale)?;
            let trace = Trace::new(target.observables(), config.chains);
            let run = Run::new(target, &config.sampler_config(space), rng, x)?;
            sides.push((run.save().await?, trace));
            runs.push(run);
        }
        Ok(Self {
            runs,
            record: Rc::new(RefCell::new(Record {
                config,
                sides,
                index: 0,
            })),
            rule: Rule::default(),
        })
    }

    /// Continues from a record, on this model's device.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn restored(model: &dyn Model, record: Record) -> Result<Self> {
        let mut race = Self::new(model, record.config.clone()).await?;
        for (run, (saved, _)) in race.runs.iter_mut().zip(&record.sides) {
            run.restore(saved.clone())?;
        }
        race.record = Rc::new(RefCell::new(record));
        Ok(race)
    }

    /// The record so far; shared, so that it survives an `advance` that never returns.
    pub fn record(&self) -> Rc<RefCell<Record>> {
        self.record.clone()
    }

    /// The settings.
    pub fn config(&self) -> RaceConfig {
        self.record.borrow().config.clone()
    }

    /// Names of the traced quantities.
    pub fn traced(&self) -> Vec<String> {
        self.record.borrow().trace(0).names().to_vec()
    }

    /// Gradient evaluations of one transition.
    pub fn gradients_per_transition(&self) -> usize {
        self.runs[0].gradients_per_transition()
    }

    /// Makes `transitions` transitions on each side and returns the frame.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read; the record is then unchanged.
    pub async fn advance(&mut self, transitions: usize) -> Result<Frame> {
        let mut news = Vec::new();
        for run in &mut self.runs {
            let draws = run.advance(transitions).await?;
            news.push((draws, images(run).await?, run.save().await?));
        }
        // No await from here on: the record is updated as a whole.
        let mut record = self.record.borrow_mut();
        record.index += u64::from(transitions > 0);
        let mut sides = Vec::new();
        for (i, (draws, images, saved)) in news.into_iter().enumerate() {
            let (state, trace) = &mut record.sides[i];
            *state = saved;
            for draw in &draws {
                trace.push(draw);
            }
            sides.push(show(&self.runs[i], trace, &draws, images, &self.rule)?);
        }
        Ok(Frame {
            index: record.index,
            sides,
        })
    }
}

/// The chains as grey values, chains × channels × height × width.
async fn images(run: &Run) -> Result<Vec<u8>> {
    let Some(images) = run.target().to_image(run.states()) else {
        return Ok(Vec::new());
    };
    let data = images.into_data_async().await.map_err(|e| Error::Device {
        problem: format!("reading the images back failed: {e}"),
        fix: "reset the race".into(),
    })?;
    Ok(data.iter::<f32>().map(crate::pixels::byte).collect())
}

fn show(
    run: &Run,
    trace: &Trace,
    draws: &[Draw],
    images: Vec<u8>,
    rule: &Rule,
) -> Result<SideFrame> {
    let mut traces: BTreeMap<String, Floats> = trace
        .names()
        .iter()
        .map(|n| (n.clone(), Floats::default()))
        .collect();
    for draw in draws {
        for (name, values) in trace
            .names()
            .iter()
            .zip(std::iter::once(&draw.energy).chain(&draw.observed))
        {
            if let Some(new) = traces.get_mut(name) {
                new.0.extend(values);
            }
        }
    }
    let summaries = trace.summaries(rule)?;
    let ess_bulk_min = diagnostics::smallest_ess(&summaries);
    let work = trace.gradients() * run.chains() as f64;
    let epsilon = run.step_sizes()[0];
    let (drift, noise) = run.drift_and_noise();
    let acceptance = trace.acceptance();
    Ok(SideFrame {
        space: run.target().space().name.into(),
        chains: run.chains(),
        gradients: run.gradients() as u64,
        transitions: run.transitions(),
        warming_up: run.warming_up(),
        images: Bytes(images),
        traces,
        trace_clock: Floats(draws.iter().map(|d| d.gradients as f32).collect()),
        rhat_max: diagnostics::largest_rhat(&summaries),
        ess_bulk_min,
        ess_per_1000_gradients: ess_bulk_min
            .filter(|_| work > 0.0)
            .map(|e| e / work * 1000.0),
        acceptance: (run.has_test() && acceptance.is_finite()).then_some(acceptance),
        e_bfmi: trace.e_bfmi(),
        step_size: epsilon,
        drift,
        noise,
        temperature: run.temperature(),
        broken_chains: draws
            .last()
            .map_or(0, |d| d.energy.iter().filter(|e| !e.is_finite()).count()),
        summaries,
    })
}
