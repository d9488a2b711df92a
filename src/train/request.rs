//! What a training is asked for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use burn::tensor::Device;

use super::run_folder::{Intent, log};
use crate::{
    data::{DataRef, Dataset, Source, Split},
    error::{Error, Result},
};

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
