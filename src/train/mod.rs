//! Training runs: what every system's recipe shares. A run lives in a folder of its own with its
//! config, metrics (JSON lines), and checkpoint; it can be killed at any moment and resumed.

mod batches;
mod guard;
mod health;
mod learner;
mod run_folder;
mod session;
mod steps;
mod tensorboard;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{
    data::{DataRef, Dataset, Source, Split},
    error::{Error, Result},
};

pub use batches::{Batches, dequantised};
pub use guard::{Correction, GuardConfig, Incident, Memory, Sign, Signs};
pub use health::{HealthConfig, Look, Negatives};
pub use learner::{Learner, Watch};
pub use run_folder::{Intent, Kept, RunFolder, log};
pub use session::{
    Preset, Session, State, choose_recipe, commit, read_json, record_error, write_json,
};

pub use steps::adapted_steps;

/// What the command line asks for.
pub struct Request {
    /// Preset of the recipe: "cpu", "gpu", …
    pub preset: String,
    /// The data set.
    pub data: DataRef,
    /// Where it comes from.
    pub source: Source,
    /// `key=value` overrides of the recipe, as in its TOML.
    pub set: Vec<String>,
    /// Overrides that a resumed run was begun with, for its card: no checkpoint may know them yet.
    pub begun: Vec<String>,
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Name of this run; the model's name if left out.
    pub name: Option<String>,
    /// Whether to begin, to go on from the run's checkpoint, or to export it.
    pub intent: Intent,
    /// Folder of finished models.
    pub models: PathBuf,
    /// Where to compute.
    pub device: Device,
    /// Further devices, for what can be learned on several.
    pub others: Vec<Device>,
    /// The device, for people and the card.
    pub device_name: String,
    /// Set by Ctrl-C: write a checkpoint and stop.
    pub cancel: &'static AtomicBool,
}

impl Request {
    /// One split of the data, `[channels, height, width]`.
    ///
    /// # Errors
    /// As [`DataRef::load`].
    pub fn load(&self, split: Split, shape: [usize; 3]) -> Result<Dataset> {
        self.data.load(split, &self.source, shape)
    }

    /// # Errors
    /// [`Error::Invalid`] when there are several devices, and the system learns on one.
    pub fn one_device(&self, system: &str) -> Result<()> {
        match self.others.len() {
            0 => Ok(()),
            n => Err(Error::invalid(
                "device",
                format!("one device for {system}"),
                n + 1,
                "choose one device; only flow-ebm, clel and latent-prior are learned on several",
            )),
        }
    }

    /// The run's name: the one that was asked for, or that of system and data.
    pub fn run_name(&self, system: &str) -> String {
        let default = || format!("{system}-{}", self.data.slug());
        self.name.clone().unwrap_or_else(default)
    }

    /// Trains; a panic of a library (a GPU that is lost, say) is told as an error of the device, and
    /// written to the run's log. What was checkpointed stays.
    ///
    /// # Errors
    /// What training reports; [`Error::Device`] in place of a panic.
    pub fn guarded<T>(&self, system: &str, train: impl FnOnce() -> Result<T>) -> Result<T> {
        catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no reason given");
            let error = Error::Device {
                problem: format!("computing on {} was broken off ({text})", self.device_name),
                fix: "look with `mixwell doctor`, then go on from the run's last checkpoint with --resume, \
                      on another --device if need be; if it happens again on the CPU, report it as a bug"
                    .into(),
            };
            // An export has not ended the run. Where even the log cannot be written, it is told below.
            if self.intent != Intent::Export {
                let _ = log(
                    &self.runs.join(self.run_name(system)),
                    &format!("ended: {error}"),
                );
            }
            Err(error)
        })
    }

    /// Whether the user asked to stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// What a run tells, in order: the same events for the progress bar, the metrics file and the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins or goes on.
    Started {
        /// Name of the run.
        run: String,
        /// Phases with their numbers of iterations.
        phases: Vec<(String, u64)>,
        /// Iterations already done, in the first unfinished phase, when resuming.
        resumed_at: Option<(String, u64)>,
    },
    /// One more iteration.
    Progress {
        /// Phase name.
        phase: String,
        /// Iterations done.
        iteration: u64,
        /// Iterations in all.
        total: u64,
    },
    /// Numbers.
    Metrics {
        /// Phase name.
        phase: String,
        /// Iterations done.
        iteration: u64,
        /// Training seconds so far, without pauses between sessions.
        seconds: f64,
        /// Name → value.
        values: BTreeMap<String, f64>,
    },
    /// A file to look at.
    Snapshot {
        /// Where it is.
        path: PathBuf,
        /// What it shows.
        title: String,
    },
    /// A divergence, and what was done about it.
    Incident {
        /// What happened.
        incident: Incident,
    },
    /// Something worth knowing that is not a number.
    Note {
        /// The text.
        text: String,
    },
    /// The run finished; the model is in this folder.
    Done {
        /// `models/NAME`
        model: PathBuf,
    },
}

/// Takes the events of a run.
pub type Sink<'a> = dyn FnMut(&Event) + 'a;

/// Applies `key=value` overrides, nested keys with dots, to a config; unknown keys are errors.
///
/// # Errors
/// [`Error::Invalid`] for a malformed override, an unknown key, or a value of the wrong type.
pub fn override_config<T: Serialize + serde::de::DeserializeOwned>(
    config: &T,
    overrides: &[String],
) -> Result<T> {
    let problem = |what: &str, found: &dyn std::fmt::Display| {
        Error::invalid(
            "--set",
            "key=value with a key of the recipe (--print-config lists them)",
            found,
            what,
        )
    };
    let mut table =
        toml::Table::try_from(config).map_err(|e| problem("report this as a bug", &e))?;
    for item in overrides {
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| problem("write --set key=value", item))?;
        // A bare word is a string.
        let value = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut t| t.remove("v"))
            .unwrap_or_else(|| toml::Value::String(value.into()));
        let mut path: Vec<&str> = key.split('.').collect();
        let Some(last) = path.pop() else { continue };
        let mut here = &mut table;
        for part in path {
            here = here
                .get_mut(part)
                .and_then(toml::Value::as_table_mut)
                .ok_or_else(|| problem("check the key", item))?;
        }
        let old = here
            .get_mut(last)
            .ok_or_else(|| problem("check the key", item))?;
        // 1 for a float field is fine.
        *old = match (&*old, value) {
            (toml::Value::Float(_), toml::Value::Integer(i)) => toml::Value::Float(i as f64),
            (_, value) => value,
        };
    }
    T::deserialize(table).map_err(|e| problem("check the value's type", &e))
}
