//! One session of a training run: what every recipe's loop does beside learning.

use std::{
    collections::BTreeMap,
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
    /// The preset that the run was begun with.
    #[serde(default)]
    pub preset: String,
    /// Overrides of it, those of every session.
    #[serde(default)]
    pub set: Vec<String>,
    /// What was logged since the last line of metrics: a resumed run's next line is then the mean that
    /// an uninterrupted one would have had.
    #[serde(default)]
    pub recent: Vec<BTreeMap<String, f64>>,
    /// Length of the metrics file, in bytes: lines of iterations that a kill undid are cut off.
    #[serde(default)]
    pub logged: Option<u64>,
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
    recent: Vec<BTreeMap<String, f64>>,
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
        // A run that was killed before its first checkpoint begins anew.
        let logged = match &resumed {
            Some((_, state)) => state.logged,
            None => Some(0),
        };
        if let Some(bytes) = logged {
            folder.cut_metrics(bytes)?;
        }
        let mut set = resumed
            .as_ref()
            .map_or_else(Vec::new, |(_, s)| s.set.clone());
        set.extend(request.set.iter().cloned());
        let begun = resumed.as_ref().map(|(_, s)| &s.preset);
        let preset = begun.filter(|p| !p.is_empty()).unwrap_or(&request.preset);
        let session = Self {
            request,
            state: State {
                preset: preset.clone(),
                set,
                phase: first_phase.into(),
                iteration: 0,
                seconds: 0.0,
                commit: commit(),
                device: request.device_name.clone(),
                recent: Vec::new(),
                logged: None,
            },
            recent: resumed
                .as_ref()
                .map_or_else(Vec::new, |(_, s)| s.recent.clone()),
            before: resumed.as_ref().map_or(0.0, |(_, s)| s.seconds),
            folder,
            sink,
            began: Instant::now(),
            saved: Instant::now(),
            checkpoint_seconds,
        };
        Ok((session, resumed))
    }

    /// Tells that the run begins, or goes on from a checkpoint's state.
    pub fn started(&mut self, run: String, phases: &[(&str, u64)], resumed: Option<&State>) {
        (self.sink)(&Event::Started {
            run,
            phases: phases.iter().map(|&(name, n)| (name.into(), n)).collect(),
            resumed_at: resumed.map(|s| (s.phase.clone(), s.iteration)),
        });
    }

    /// What a card says of the training: recipe, cost, and the command that does it again.
    pub fn account(
        &self,
        system: &str,
        recipe: &impl Serialize,
        images: usize,
        iterations: u64,
    ) -> serde_json::Value {
        let State { preset, set, .. } = &self.state;
        let data = self.request.data;
        let mut command = format!("mixwell train {system} --data {data} --preset {preset}");
        for item in set {
            command.push_str(&format!(" --set '{item}'"));
        }
        serde_json::json!({
            "recipe": recipe,
            "preset": preset,
            "images": images,
            "iterations": iterations,
            "seconds": self.seconds(),
            "device": self.state.device,
            "commit": self.state.commit,
            "command": command,
        })
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
        let line = values.iter().map(|&(key, v)| (key.to_owned(), v));
        self.recent.push(line.collect());
        if iteration.is_multiple_of(LOG_EVERY) || iteration == total {
            // Each over the iterations that had it: a phase may begin in between.
            let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
            for line in self.recent.drain(..) {
                for (key, v) in line {
                    let (sum, count) = sums.entry(key).or_default();
                    (*sum, *count) = (*sum + v, *count + 1.0);
                }
            }
            let mean = sums.into_iter().map(|(key, (sum, n))| (key, sum / n));
            self.metrics(mean.collect())?;
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
        let state = State {
            recent: self.recent.clone(),
            logged: Some(self.folder.metrics_bytes()),
            ..self.state.clone()
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::DatasetName, data::Source};
    use std::sync::atomic::AtomicBool;

    static CANCEL: AtomicBool = AtomicBool::new(false);

    /// Iterations `from` to `to` of a run whose values are a function of the iteration, with a
    /// checkpoint after `saved`.
    fn run(request: &Request, resume: bool, to: u64, saved: u64) {
        let folder = RunFolder::open(&request.runs, "r", resume).unwrap();
        if !resume {
            folder.write_config(&BTreeMap::from([("seed", 1)])).unwrap();
        }
        let mut sink = |_: &Event| {};
        let (mut session, resumed) = Session::open(request, folder, &mut sink, "a", 1e9).unwrap();
        let from = resumed.map_or(0, |(_, s)| s.iteration);
        for i in from + 1..=to {
            session.tick(i, 120, &[("v", (i * i) as f64)]).unwrap();
            if i == saved {
                session.checkpoint(|_| Ok(())).unwrap();
            }
        }
    }

    #[test]
    fn a_killed_run_logs_what_an_uninterrupted_one_does() {
        let root = std::env::temp_dir().join(format!("mixwell-session-{}", std::process::id()));
        let lines = |name: &str, sessions: &[(u64, u64)]| {
            let request = Request {
                preset: "p".into(),
                data: DatasetName::Mnist,
                source: Source::default(),
                set: Vec::new(),
                runs: root.join(name),
                name: None,
                resume: false,
                models: root.clone(),
                device: burn::tensor::Device::flex(),
                device_name: "CPU".into(),
                cancel: &CANCEL,
            };
            for (k, &(to, saved)) in sessions.iter().enumerate() {
                run(&request, k > 0, to, saved);
            }
            let text = std::fs::read_to_string(root.join(name).join("r/metrics.jsonl")).unwrap();
            text.lines()
                .map(|l| {
                    let event: serde_json::Value = serde_json::from_str(l).unwrap();
                    (
                        event["iteration"].as_u64().unwrap(),
                        event["values"]["v"].as_f64().unwrap(),
                    )
                })
                .collect::<Vec<_>>()
        };
        let whole = lines("whole", &[(120, 120)]);
        assert_eq!(
            whole.iter().map(|l| l.0).collect::<Vec<_>>(),
            [50, 100, 120]
        );
        // Killed in the middle of a line, after a line that the checkpoint did not know, and before
        // any checkpoint.
        assert_eq!(lines("middle", &[(45, 30), (120, 120)]), whole);
        assert_eq!(lines("undone", &[(110, 70), (120, 120)]), whole);
        assert_eq!(lines("early", &[(60, 1000), (120, 120)]), whole);
        std::fs::remove_dir_all(root).unwrap();
    }
}
