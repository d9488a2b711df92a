//! One session of a training run: everything that every recipe does besides learning.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    event::{Event, Sink},
    guard::{Correction, Incident, Memory},
    request::Request,
    run_folder::{Intent, RunFolder, log},
    tensorboard::EventFile,
};
use crate::{
    artifact::{self, Card},
    error::{Error, Result},
};

/// State of a run; a checkpoint's `state.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The current phase.
    pub phase: String,
    /// Its completed iterations.
    pub iteration: u64,
    /// Training seconds so far, excluding pauses between sessions.
    pub seconds: f64,
    /// The commit of the program.
    pub commit: String,
    /// Display name of the device.
    pub device: String,
    /// The preset with which the run was started.
    #[serde(default)]
    pub preset: String,
    /// Overrides of the preset, from all sessions.
    #[serde(default)]
    pub set: Vec<String>,
    /// Metrics since the last line, so that a resumed run's next line has the same mean as an
    /// uninterrupted run's.
    #[serde(default)]
    pub recent: Vec<BTreeMap<String, f64>>,
    /// Length of the metrics file in bytes; lines of later iterations are cut off when resuming.
    #[serde(default)]
    pub logged: Option<u64>,
    /// Its length at the start of the phase.
    #[serde(default)]
    pub phase_logged: u64,
    /// The guard's recent metrics.
    #[serde(default)]
    pub guard: Memory,
    /// Corrections made by incidents.
    #[serde(default)]
    pub correction: Correction,
    /// The incidents.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// The last health check: its iteration and metrics.
    #[serde(default)]
    pub health: Option<(u64, BTreeMap<String, f64>)>,
}

/// One session of a run: clock, checkpoints, metrics, snapshots, cancellation.
pub struct Session<'r, 's, 'f> {
    /// The request.
    pub request: &'r Request,
    /// The run's folder.
    pub folder: RunFolder,
    /// Receiver of events.
    pub sink: &'s mut Sink<'f>,
    /// Current state.
    pub state: State,
    began: Instant,
    before: f64,
    saved: Instant,
    checkpoint_seconds: f64,
    recent: Vec<BTreeMap<String, f64>>,
    /// Phase and iteration of the checkpoint in `checkpoint/`.
    last: Option<(String, u64)>,
    /// The recipe of a resumed run, until its checkpoint has been loaded: settings that do not match the
    /// checkpoint must not overwrite those that do.
    config: Option<String>,
    events: Option<EventFile>,
}

/// Iterations between metrics lines.
const LOG_EVERY: u64 = 50;

impl<'r, 's, 'f> Session<'r, 's, 'f> {
    /// Opens a session in a run's folder. Returns it with the folder's checkpoint and its state, if any.
    ///
    /// # Errors
    /// [`Error::Data`] or [`Error::Io`] for a checkpoint that cannot be read.
    pub fn open(
        request: &'r Request,
        folder: RunFolder,
        sink: &'s mut Sink<'f>,
        first_phase: &str,
        recipe: &impl Serialize,
        checkpoint_seconds: f64,
    ) -> Result<(Self, Option<(PathBuf, State)>)> {
        let config = toml::to_string_pretty(recipe)
            .map_err(|e| Error::invalid("recipe", "a TOML table", e, "report this as a bug"))?;
        if request.intent == Intent::Begin {
            folder.write_config(&config)?;
        }
        let resumed = match folder.checkpoint() {
            Some(path) => {
                let state: State = read_json(&path.join("state.json"))?;
                Some((path, state))
            }
            None => None,
        };
        if resumed.is_none() && request.intent == Intent::Export {
            return Err(Error::invalid(
                "run",
                "a checkpoint to export",
                format!("none in {}", folder.path().display()),
                "wait for the run's first checkpoint",
            ));
        }
        // A run killed before its first checkpoint starts again.
        let logged = match &resumed {
            Some((_, state)) => state.logged,
            None => Some(0),
        };
        let exported = request.intent == Intent::Export;
        if let Some(bytes) = logged.filter(|_| !exported) {
            folder.cut_metrics(bytes)?;
        }
        let last = resumed.as_ref().map(|(_, s)| s.clone());
        let mut state = last.unwrap_or_else(|| State {
            set: request.begun.clone(),
            ..State::default()
        });
        // A new run needs a phase name before its first phase starts.
        if resumed.is_none() {
            state.phase = first_phase.into();
        }
        state.set.extend(request.set.iter().cloned());
        if state.preset.is_empty() {
            state.preset.clone_from(&request.preset);
        }
        if !exported {
            state.commit = commit();
            state.device.clone_from(&request.device_name);
        }
        let mut session = Self {
            request,
            recent: std::mem::take(&mut state.recent),
            before: state.seconds,
            last: resumed
                .as_ref()
                .map(|(_, s)| (s.phase.clone(), s.iteration)),
            events: None,
            config: (request.intent == Intent::Resume).then_some(config),
            state,
            folder,
            sink,
            began: Instant::now(),
            saved: Instant::now(),
            checkpoint_seconds,
        };
        if !exported {
            session.sync_files()?;
        }
        Ok((session, resumed))
    }

    /// Reports an event: to the log, to TensorBoard's event file, and to the sink.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn emit(&mut self, event: &Event) -> Result<()> {
        let line = match event {
            Event::Started {
                phases, resumed_at, ..
            } => Some(match resumed_at {
                Some((phase, iteration)) => format!(
                    "resumed {phase} at iteration {iteration}, on {}, commit {}",
                    self.state.device, self.state.commit
                ),
                None => format!(
                    "began {phases:?}, on {}, commit {}",
                    self.state.device, self.state.commit
                ),
            }),
            Event::Incident { incident } => Some(incident.to_string()),
            Event::Note { text } => Some(text.clone()),
            Event::Snapshot { path, .. } => path
                .file_name()
                .map(|name| format!("wrote {}", name.to_string_lossy())),
            Event::Done { model } => Some(format!("exported to {}", model.display())),
            Event::Progress { .. } | Event::Metrics { .. } => None,
        };
        if let Some(line) = line.filter(|_| self.request.intent != Intent::Export) {
            log(self.folder.path(), &line)?;
        }
        if let Some(events) = &mut self.events {
            match event {
                Event::Metrics {
                    phase,
                    iteration,
                    values,
                    ..
                } => {
                    let tagged = values
                        .iter()
                        .map(|(name, v)| (format!("{phase}/{name}"), v));
                    events.scalars(now(), *iteration, tagged)?;
                }
                Event::Snapshot { path, title } => {
                    events.picture(now(), self.state.iteration, title.clone(), path)?;
                }
                _ => {}
            }
        }
        (self.sink)(event);
        Ok(())
    }

    /// Reports a message.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note(&mut self, text: impl Into<String>) -> Result<()> {
        self.emit(&Event::Note { text: text.into() })
    }

    /// Reports that the run starts, or resumes from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn started(
        &mut self,
        run: String,
        phases: &[(&str, u64)],
        resumed: Option<&State>,
    ) -> Result<()> {
        if self.request.intent == Intent::Export {
            return Ok(());
        }
        self.emit(&Event::Started {
            run,
            phases: phases.iter().map(|&(name, n)| (name.into(), n)).collect(),
            resumed_at: resumed.map(|s| (s.phase.clone(), s.iteration)),
        })
    }

    /// Starts a phase; a resumed one only gets a new event file.
    pub(super) fn begin_phase(&mut self, phase: &str, resumed: bool) -> Result<()> {
        if !resumed {
            for kept in self.folder.kept() {
                self.folder.forget(&kept)?;
            }
            self.state.phase = phase.into();
            self.state.iteration = 0;
            self.state.phase_logged = self.folder.metrics_bytes();
            self.state.guard = Memory::default();
        }
        self.restart_events()
    }

    /// Writes the config of a resumed run after its checkpoint was loaded.
    pub(super) fn accept_config(&mut self) -> Result<()> {
        match self.config.take() {
            Some(config) => self.folder.write_config(&config),
            None => Ok(()),
        }
    }

    /// Restores iteration, guard, health and recent metrics from a checkpoint's state, or to those at
    /// the start of the phase. Returns the length of the metrics file at that time. No file is changed.
    pub(super) fn return_to(&mut self, old: Option<State>) -> u64 {
        let old = old.unwrap_or_else(|| State {
            logged: Some(self.state.phase_logged),
            ..State::default()
        });
        self.recent = old.recent;
        self.state.guard = old.guard;
        self.state.health = old.health;
        self.state.iteration = old.iteration;
        old.logged.unwrap_or(self.state.phase_logged)
    }

    /// Makes the run's files agree with its state: removes kept checkpoints of later iterations and
    /// rewrites the incidents.
    pub(super) fn sync_files(&mut self) -> Result<()> {
        for kept in self.folder.kept() {
            if kept.iteration > self.state.iteration {
                self.folder.forget(&kept)?;
            }
        }
        if !self.state.incidents.is_empty() || self.folder.path().join(INCIDENTS).exists() {
            self.folder.write_lines(INCIDENTS, &self.state.incidents)?;
        }
        Ok(())
    }

    /// Starts a new event file, in the phase's own folder: its session start makes TensorBoard discard
    /// later steps of all tags in the folder.
    fn restart_events(&mut self) -> Result<()> {
        if self.request.intent != Intent::Export {
            let to = self
                .folder
                .path()
                .join("tensorboard")
                .join(&self.state.phase);
            self.events = Some(EventFile::create(&to, now(), self.state.iteration)?);
        }
        Ok(())
    }

    /// The card's account of the training: recipe, cost, and the command that repeats it.
    pub fn account(
        &self,
        system: &str,
        recipe: &impl Serialize,
        images: usize,
        iterations: u64,
    ) -> serde_json::Value {
        let State { preset, set, .. } = &self.state;
        let data = &self.request.data;
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
            "incidents": self.state.incidents,
            "chain_health": self.state.health.as_ref().map(|(iteration, values)| serde_json::json!({
                "iteration": iteration,
                "values": values,
            })),
        })
    }

    /// Seconds of this session.
    pub fn session_seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Writes a finished model and the manifest, and reports it. Returns the model's folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`].
    pub fn publish(&mut self, name: &str, card: &Card, weights: &[u8]) -> Result<PathBuf> {
        let models = &self.request.models;
        let model = models.join(name);
        artifact::write_model(&model, card, weights)?;
        artifact::write_manifest(models)?;
        self.emit(&Event::Done {
            model: model.clone(),
        })?;
        Ok(model)
    }

    /// Training seconds so far, including earlier sessions.
    pub fn seconds(&self) -> f64 {
        match self.request.intent {
            // An export is not training time.
            Intent::Export => self.before,
            _ => self.before + self.session_seconds(),
        }
    }

    /// Called after every iteration; every 50 iterations, and at the end, logs means of the metrics
    /// since the last line.
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
        self.emit(&Event::Progress {
            phase: self.state.phase.clone(),
            iteration,
            total,
        })?;
        let finite = values.iter().filter(|(_, v)| v.is_finite());
        let line = finite.map(|&(key, v)| (key.to_owned(), v));
        self.recent.push(line.collect());
        if iteration.is_multiple_of(LOG_EVERY) || iteration == total {
            // Average each metric over the iterations that reported it.
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

    /// Logs a line of metrics.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn metrics(&mut self, mut values: BTreeMap<String, f64>) -> Result<()> {
        // JSON has no NaN or infinity.
        values.retain(|_, v| v.is_finite());
        let event = Event::Metrics {
            phase: self.state.phase.clone(),
            iteration: self.state.iteration,
            seconds: self.seconds(),
            values,
        };
        self.folder.append("metrics.jsonl", &event)?;
        self.emit(&event)
    }

    /// Whether a checkpoint is due.
    pub fn checkpoint_due(&self, total: u64) -> bool {
        self.state.iteration == total
            || self.request.cancelled()
            || self.saved.elapsed().as_secs_f64() >= self.checkpoint_seconds
    }

    /// Writes a checkpoint: `save` fills its folder. The previous one is kept for recovery if it is at
    /// least `apart` iterations after the last kept one. Ends the session if a stop was requested.
    ///
    /// # Errors
    /// [`Error::Io`], whatever `save` returns, and [`Error::Cancelled`].
    pub fn checkpoint(&mut self, apart: u64, save: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let kept = self.folder.kept();
        let keep = match &self.last {
            Some((phase, iteration)) if *phase == self.state.phase => {
                let newest = kept.last().map(|k| k.iteration);
                newest
                    .is_none_or(|n| *iteration >= n + apart)
                    .then_some(*iteration)
            }
            _ => None,
        };
        self.write_checkpoint(keep, self.folder.metrics_bytes(), save)?;
        // Three are enough: they are a window apart, so that one of the last two predates any sign, and
        // one more is left in case that one has already diverged.
        if keep.is_some() {
            for old in kept.iter().rev().skip(2) {
                self.folder.forget(old)?;
            }
        }
        if self.request.cancelled() {
            return Err(Error::Cancelled {
                resume: format!(
                    "a checkpoint is in {}; continue with --resume",
                    self.folder.path().display()
                ),
            });
        }
        Ok(())
    }

    /// Writes the checkpoint right after an incident, so that the correction survives a kill; the
    /// replaced checkpoint is not kept. Only then is the metrics file cut to `logged` bytes and the
    /// other files brought in line with the state.
    pub(super) fn checkpoint_after_incident(
        &mut self,
        logged: u64,
        save: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.write_checkpoint(None, logged, save)?;
        self.folder.cut_metrics(logged)?;
        self.sync_files()?;
        self.restart_events()
    }

    fn write_checkpoint(
        &mut self,
        keep: Option<u64>,
        logged: u64,
        save: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.state.seconds = self.seconds();
        let state = State {
            recent: self.recent.clone(),
            logged: Some(logged),
            ..self.state.clone()
        };
        self.folder.write_checkpoint(keep, |to| {
            save(to)?;
            write_json(&to.join("state.json"), &state)
        })?;
        self.last = Some((self.state.phase.clone(), self.state.iteration));
        self.saved = Instant::now();
        Ok(())
    }

    /// Writes images `[n, D]` of a shape `[C, H, W]` as a grid named after the iteration.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Device`].
    pub fn grid(&mut self, title: &str, x: Tensor<2>, shape: [usize; 3]) -> Result<()> {
        // An export does not change the run's folder.
        if self.request.intent == Intent::Export {
            return Ok(());
        }
        let path = self
            .folder
            .path()
            .join(format!("{title}-{:06}.png", self.state.iteration));
        let [n, _] = x.dims();
        let values: Vec<f32> = pollster::block_on(crate::device::read(x))?;
        crate::image::write_grid(&path, &values, n, shape)?;
        self.emit(&Event::Snapshot {
            path,
            title: title.into(),
        })
    }
}

/// The file of incidents.
const INCIDENTS: &str = "incidents.jsonl";

/// Seconds since 1970.
fn now() -> f64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0.0, |d| d.as_secs_f64())
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

/// Reads a JSON file.
///
/// # Errors
/// [`Error::Io`] or [`Error::Data`].
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(|e| Error::Data {
        path: path.into(),
        problem: e.to_string(),
        fix: "start the run again".into(),
    })
}

/// The error when burn cannot `action` ("read" or "write") a part of a checkpoint.
pub fn record_error(action: &str) -> impl Fn(burn::store::RecordError) -> Error + '_ {
    move |e| {
        Error::model(
            "checkpoint",
            format!("cannot {action} it: {e:?}"),
            "free disk space, or start again",
        )
    }
}

/// The current commit of the checkout in which the program was built, for the card; "unknown" if the
/// checkout is gone.
pub fn commit() -> String {
    std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
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
    use crate::data::{DataRef, DatasetName, Source};
    use std::sync::atomic::AtomicBool;

    static CANCEL: AtomicBool = AtomicBool::new(false);

    /// Runs to iteration `to`, from the last checkpoint, with values that are a function of the
    /// iteration and a checkpoint after `saved`.
    fn run(request: &Request, to: u64, saved: u64) {
        let folder = RunFolder::open(&request.runs, "r", request.intent).unwrap();
        let mut sink = |_: &Event| {};
        let (mut session, resumed) = Session::open(
            request,
            folder,
            &mut sink,
            "a",
            &BTreeMap::from([("seed", 1)]),
            1e9,
        )
        .unwrap();
        let from = resumed.map_or(0, |(_, s)| s.iteration);
        for i in from + 1..=to {
            session.tick(i, 120, &[("v", (i * i) as f64)]).unwrap();
            if i == saved {
                session.checkpoint(20, |_| Ok(())).unwrap();
            }
        }
    }

    #[test]
    fn killed_run_logs_the_same_as_an_uninterrupted_one() {
        let root = std::env::temp_dir().join(format!("mixwell-session-{}", std::process::id()));
        let lines = |name: &str, sessions: &[(u64, u64)]| {
            let mut request = Request {
                preset: "p".into(),
                data: DataRef::Known(DatasetName::Mnist),
                source: Source::default(),
                set: Vec::new(),
                begun: Vec::new(),
                runs: root.join(name),
                name: None,
                intent: Intent::Begin,
                models: root.clone(),
                device: burn::tensor::Device::flex(),
                others: Vec::new(),
                device_name: "CPU".into(),
                cancel: &CANCEL,
            };
            for (k, &(to, saved)) in sessions.iter().enumerate() {
                if k > 0 {
                    request.intent = Intent::Resume;
                }
                run(&request, to, saved);
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
        // Killed between two lines, after a line newer than the checkpoint, and before any checkpoint.
        assert_eq!(lines("middle", &[(45, 30), (120, 120)]), whole);
        assert_eq!(lines("undone", &[(110, 70), (120, 120)]), whole);
        assert_eq!(lines("early", &[(60, 1000), (120, 120)]), whole);
        std::fs::remove_dir_all(root).unwrap();
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("mixwell-session-{name}-{}", std::process::id()))
    }

    fn request(root: &Path, set: &[&str], cancel: &'static AtomicBool) -> Request {
        Request {
            preset: "p".into(),
            data: DataRef::Known(DatasetName::Mnist),
            source: Source::default(),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            begun: Vec::new(),
            runs: root.to_path_buf(),
            name: None,
            intent: Intent::Begin,
            models: root.to_path_buf(),
            device: burn::tensor::Device::flex(),
            others: Vec::new(),
            device_name: "CPU".into(),
            cancel,
        }
    }

    /// Opens a session of a run with a recipe of one seed.
    fn open<'r, 's, 'f>(
        request: &'r Request,
        sink: &'s mut Sink<'f>,
        seed: u64,
        checkpoint_seconds: f64,
    ) -> Session<'r, 's, 'f> {
        let folder = RunFolder::open(&request.runs, "r", request.intent).unwrap();
        let recipe = BTreeMap::from([("seed", seed)]);
        let opened = Session::open(request, folder, sink, "a", &recipe, checkpoint_seconds);
        opened.unwrap().0
    }

    /// The correction is in the checkpoint at once, and the lines of undone iterations are gone.
    #[test]
    fn a_correction_survives_a_kill_right_after_the_incident() {
        let root = scratch("incident");
        let request = request(&root, &[], &CANCEL);
        let mut sink = |_: &Event| {};
        let mut session = open(&request, &mut sink, 1, 1e9);
        for i in 1..=50 {
            session.tick(i, 120, &[("v", 1.0)]).unwrap();
        }
        assert!(session.folder.metrics_bytes() > 0);
        let logged = session.return_to(None);
        session.state.correction.learning_rate = 0.5;
        session
            .checkpoint_after_incident(logged, |_| Ok(()))
            .unwrap();
        let saved = session.folder.checkpoint().unwrap();
        let state: State = read_json(&saved.join("state.json")).unwrap();
        assert_eq!((state.correction.learning_rate, state.iteration), (0.5, 0));
        assert_eq!(session.folder.metrics_bytes(), 0);
        std::fs::remove_dir_all(root).unwrap();
    }

    /// The overrides of all sessions are in the card's command; the recipe of a resumed run replaces the
    /// old one only after its checkpoint was loaded.
    #[test]
    fn a_resumed_run_records_its_overrides_and_its_recipe() {
        let root = scratch("overrides");
        let config = || std::fs::read_to_string(root.join("r/config.toml")).unwrap();
        let begun = request(&root, &["x=1"], &CANCEL);
        let mut sink = |_: &Event| {};
        let mut session = open(&begun, &mut sink, 1, 1e9);
        session.accept_config().unwrap();
        session.tick(1, 120, &[("v", 1.0)]).unwrap();
        session.checkpoint(20, |_| Ok(())).unwrap();
        drop(session);
        let resumed = Request {
            intent: Intent::Resume,
            ..request(&root, &["y=2"], &CANCEL)
        };
        let mut sink = |_: &Event| {};
        let mut session = open(&resumed, &mut sink, 2, 1e9);
        assert!(config().contains("seed = 1"), "{}", config());
        session.accept_config().unwrap();
        assert!(config().contains("seed = 2"), "{}", config());
        let command = session.account("s", &1, 1, 1)["command"].to_string();
        assert!(command.contains("--set 'x=1' --set 'y=2'"), "{command}");
        drop(session);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_checkpoint_is_due_at_its_time_at_the_end_and_when_stopped() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let root = scratch("due");
        let request = request(&root, &[], &STOP);
        let mut sink = |_: &Event| {};
        let mut session = open(&request, &mut sink, 1, 0.5);
        session.tick(1, 2, &[("v", 1.0)]).unwrap();
        assert!(!session.checkpoint_due(2));
        assert!(session.checkpoint_due(1), "at the end");
        std::thread::sleep(std::time::Duration::from_millis(510));
        assert!(session.checkpoint_due(2), "at its time");
        session.checkpoint(20, |_| Ok(())).unwrap();
        assert!(!session.checkpoint_due(2), "the time starts again");
        STOP.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(session.checkpoint_due(2), "when stopped");
        assert!(matches!(
            session.checkpoint(20, |_| Ok(())),
            Err(Error::Cancelled { .. })
        ));
        drop(session);
        std::fs::remove_dir_all(root).unwrap();
    }

    /// Kept checkpoints of later iterations are removed, and the file of incidents is that of the state.
    #[test]
    fn files_agree_with_the_state() {
        let root = scratch("files");
        let request = request(&root, &[], &CANCEL);
        let mut sink = |_: &Event| {};
        let mut session = open(&request, &mut sink, 1, 1e9);
        for i in [1, 21, 41] {
            session.tick(i, 120, &[("v", 1.0)]).unwrap();
            session.checkpoint(20, |_| Ok(())).unwrap();
        }
        session.state.incidents.push(Incident {
            phase: "a".into(),
            iteration: 41,
            sign: crate::train::guard::Sign {
                seen: "x".into(),
                chains: false,
            },
            back_to: 21,
            correction: Correction::default(),
        });
        let lines = || std::fs::read_to_string(root.join("r").join(INCIDENTS)).unwrap();
        for (iteration, kept) in [(21, &[1, 21][..]), (20, &[1])] {
            session.state.iteration = iteration;
            session.sync_files().unwrap();
            let found: Vec<u64> = session.folder.kept().iter().map(|k| k.iteration).collect();
            assert_eq!(found, kept);
            assert_eq!(lines().lines().count(), 1);
        }
        session.state.incidents.clear();
        session.sync_files().unwrap();
        assert_eq!(lines(), "");
        drop(session);
        std::fs::remove_dir_all(root).unwrap();
    }
}
