//! One session of a training run: what every recipe's loop does beside learning.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    time::Instant,
};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Event, Request, RunFolder, Sink, override_config};
use crate::{
    artifact,
    error::{Error, Result},
};

/// Where a run stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The phase under way.
    pub phase: String,
    /// Iterations of it done.
    pub iteration: u64,
    /// Training seconds so far, without pauses between sessions.
    pub seconds: f64,
    /// The commit the program was built from.
    pub commit: String,
    /// The device, for people.
    pub device: String,
}

/// One session of a run: clock, checkpoints, metrics, snapshots, cancellation.
pub struct Session<'r, 's, 'f> {
    /// What was asked for.
    pub request: &'r Request,
    /// Where it is kept.
    pub folder: RunFolder,
    /// Who is told.
    pub sink: &'s mut Sink<'f>,
    /// Where it stands.
    pub state: State,
    began: Instant,
    before: f64,
    saved: Instant,
    checkpoint_seconds: f64,
    recent: VecDeque<BTreeMap<&'static str, f64>>,
}

/// Iterations between metrics lines.
const LOG_EVERY: u64 = 50;

impl<'r, 's, 'f> Session<'r, 's, 'f> {
    /// A session in a run's folder, with the state that the folder's checkpoint holds, if there is one.
    ///
    /// # Errors
    /// [`Error::Data`] or [`Error::Io`] for a checkpoint that cannot be read.
    pub fn open(
        request: &'r Request,
        folder: RunFolder,
        sink: &'s mut Sink<'f>,
        first_phase: &str,
        checkpoint_seconds: f64,
    ) -> Result<(Self, Option<(PathBuf, State)>)> {
        let resumed = match folder.checkpoint() {
            Some(path) => {
                let state: State = read_json(&path.join("state.json"))?;
                Some((path, state))
            }
            None => None,
        };
        let session = Self {
            request,
            state: State {
                phase: first_phase.into(),
                iteration: 0,
                seconds: 0.0,
                commit: commit(),
                device: request.device_name.clone(),
            },
            before: resumed.as_ref().map_or(0.0, |(_, s)| s.seconds),
            folder,
            sink,
            began: Instant::now(),
            saved: Instant::now(),
            checkpoint_seconds,
            recent: VecDeque::new(),
        };
        Ok((session, resumed))
    }

    /// Training seconds so far, earlier sessions included.
    pub fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// Called after every iteration; averages what was logged since the last line.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tick(
        &mut self,
        iteration: u64,
        total: u64,
        values: &[(&'static str, f64)],
    ) -> Result<()> {
        self.state.iteration = iteration;
        (self.sink)(&Event::Progress {
            phase: self.state.phase.clone(),
            iteration,
            total,
        });
        self.recent.push_back(values.iter().copied().collect());
        if iteration.is_multiple_of(LOG_EVERY) || iteration == total {
            let n = self.recent.len() as f64;
            let mut mean: BTreeMap<String, f64> = BTreeMap::new();
            for line in self.recent.drain(..) {
                for (key, v) in line {
                    *mean.entry(key.into()).or_default() += v / n;
                }
            }
            self.metrics(mean)?;
        }
        Ok(())
    }

    /// Logs a line of its own.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn metrics(&mut self, values: BTreeMap<String, f64>) -> Result<()> {
        let event = Event::Metrics {
            phase: self.state.phase.clone(),
            iteration: self.state.iteration,
            seconds: self.seconds(),
            values,
        };
        self.folder.append_metrics(&event)?;
        (self.sink)(&event);
        Ok(())
    }

    /// Whether a checkpoint is to be written now.
    pub fn checkpoint_due(&self, total: u64) -> bool {
        self.state.iteration == total
            || self.request.cancelled()
            || self.saved.elapsed().as_secs_f64() >= self.checkpoint_seconds
    }

    /// Writes a checkpoint: `save` fills its folder. Ends the session where a stop was asked for.
    ///
    /// # Errors
    /// [`Error::Io`], whatever `save` returns, and [`Error::Cancelled`].
    pub fn checkpoint(&mut self, save: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.state.seconds = self.seconds();
        let state = self.state.clone();
        self.folder.write_checkpoint(|to| {
            save(to)?;
            write_json(&to.join("state.json"), &state)
        })?;
        self.saved = Instant::now();
        if self.request.cancelled() {
            return Err(Error::Cancelled {
                resume: format!(
                    "a checkpoint is in {}; go on with --resume",
                    self.folder.path().display()
                ),
            });
        }
        Ok(())
    }

    /// Writes images `[n, D]` of a shape `[C, H, W]` as a grid named after the iteration.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Device`].
    pub fn grid(&mut self, title: &str, x: Tensor<2>, shape: [usize; 3]) -> Result<()> {
        let path = self
            .folder
            .path()
            .join(format!("{title}-{:06}.png", self.state.iteration));
        let [n, _] = x.dims();
        let values: Vec<f32> = pollster::block_on(crate::device::read(x))?;
        crate::image::write_grid(&path, &values, n, shape)?;
        (self.sink)(&Event::Snapshot {
            path,
            title: title.into(),
        });
        Ok(())
    }
}

/// Writes JSON beside a checkpoint's other files, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|e| Error::model("checkpoint", e, "report this as a bug"))?;
    artifact::write_atomically(path, &text)
}

/// Reads it.
///
/// # Errors
/// [`Error::Io`] or [`Error::Data`].
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(|e| Error::Data {
        path: path.into(),
        problem: e.to_string(),
        fix: "start the run anew".into(),
    })
}

/// What is told when burn cannot "read" or "write" a part of a checkpoint.
pub fn record_error(action: &str) -> impl Fn(burn::store::RecordError) -> Error + '_ {
    move |e| {
        Error::model(
            "checkpoint",
            format!("cannot {action} it: {e:?}"),
            "free disk space, or start anew",
        )
    }
}

/// A recipe by name.
pub type Preset<R> = (&'static str, fn() -> R);

/// The recipe of a run: its own when it is resumed, else the preset that was asked for; with the
/// overrides of the command line.
///
/// # Errors
/// [`Error::Invalid`] for an unknown preset or a bad override, and whatever reading the run's own says.
pub fn choose_recipe<R: Serialize + serde::de::DeserializeOwned>(
    request: &Request,
    folder: &RunFolder,
    presets: &[Preset<R>],
) -> Result<R> {
    if request.resume {
        return override_config(&folder.read_config::<R>()?, &request.set);
    }
    let preset = presets.iter().find(|(n, _)| *n == request.preset);
    let (_, preset) = preset.ok_or_else(|| {
        let names: Vec<_> = presets.iter().map(|(n, _)| *n).collect();
        let fix = "choose one of these";
        Error::invalid("preset", names.join(", "), &request.preset, fix)
    })?;
    override_config(&preset(), &request.set)
}

/// The commit the program was built from, for the card; "unknown" outside a checkout.
pub fn commit() -> String {
    std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output()
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_else(|| "unknown".into())
}
