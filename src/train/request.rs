//! The request for a training run.

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

/// A training run as requested on the command line.
pub struct Request {
    /// Preset of the recipe: "cpu", "gpu", …
    pub preset: String,
    /// The data set.
    pub data: DataRef,
    /// Source of the data set's files.
    pub source: Source,
    /// `key=value` overrides of the recipe, as in its TOML.
    pub set: Vec<String>,
    /// Overrides with which a resumed run was started, for its card: there may be no checkpoint that
    /// stores them.
    pub begun: Vec<String>,
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Name of this run; the model's name if not given.
    pub name: Option<String>,
    /// Whether to start a run, resume it, or export it.
    pub intent: Intent,
    /// Folder of finished models.
    pub models: PathBuf,
    /// Compute device.
    pub device: Device,
    /// Additional devices, for systems that can train on several.
    pub others: Vec<Device>,
    /// Display name of the devices.
    pub device_name: String,
    /// Set by Ctrl-C: write a checkpoint and stop.
    pub cancel: &'static AtomicBool,
}

impl Request {
    /// Loads one split of the data, with images `[channels, height, width]`.
    ///
    /// # Errors
    /// As [`DataRef::load`].
    pub fn load(&self, split: Split, shape: [usize; 3]) -> Result<Dataset> {
        self.data.load(split, &self.source, shape)
    }

    /// Checks that there is only one device.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are several.
    pub fn one_device(&self, system: &str) -> Result<()> {
        match self.others.len() {
            0 => Ok(()),
            n => Err(Error::invalid(
                "device",
                format!("one device for {system}"),
                n + 1,
                "choose one device; only flow-ebm, clel and latent-prior can train on several",
            )),
        }
    }

    /// The run's name: the requested one, or one made from system and data.
    pub fn run_name(&self, system: &str) -> String {
        let default = || format!("{system}-{}", self.data.slug());
        self.name.clone().unwrap_or_else(default)
    }

    /// Trains, and turns a panic of a library (for example after a lost GPU) into a device error, which
    /// is written to the run's log. Checkpoints remain valid.
    ///
    /// # Errors
    /// Whatever training reports; [`Error::Device`] in place of a panic.
    pub fn guarded<T>(&self, system: &str, train: impl FnOnce() -> Result<T>) -> Result<T> {
        catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no reason given");
            let error = Error::Device {
                problem: format!("computing on {} failed ({text})", self.device_name),
                fix: "run `mixwell doctor`, then continue from the run's last checkpoint with --resume, on \
                      another --device if necessary; if it happens again on the CPU, report it as a bug"
                    .into(),
            };
            // An export does not end the run. A failure to write the log is ignored: the error is
            // returned.
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
