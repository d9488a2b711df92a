//! `mixwell train` and `mixwell export`.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::{Outcome, device::DeviceName};
use crate::{
    artifact::write_atomically,
    data::{DataRef, Source},
    error::{Error, Result},
    system,
    train::{Event, Intent, Request, Sink, commit, read_json},
};

const TRAIN_HELP: &str = "\
Examples:
  mixwell train flow-ebm --data mnist                      about an hour on two cores
  mixwell train clel --data cifar-10 --preset base --device gpu
  mixwell train latent-prior --data ./my-photos --set latent.iterations=2000
  mixwell train clel --data fashion-mnist --resume         continues from the last checkpoint

A run's folder, RUNS/NAME, holds config.toml, metrics.jsonl, grids, log.txt, incidents.jsonl, checkpoints,
and event files: tensorboard --logdir RUNS. Ctrl-C writes a checkpoint and stops; a second Ctrl-C stops at
once. If training diverges, it restarts from a kept checkpoint with new random numbers and smaller steps
([guard] in config.toml).";

/// Train a system; write the finished model and its card to MODELS/NAME.
#[derive(clap::Args)]
#[command(after_help = TRAIN_HELP)]
pub struct Args {
    /// System to train.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(system::REGISTRY.iter().map(|r| r.name)))]
    system: String,
    /// Data: mnist, fashion-mnist, cifar-10, or your own folder with images (its subfolders are classes;
    /// `train` and `test` are splits) or with parquet files in Hugging Face's layout.
    #[arg(long)]
    data: DataRef,
    /// Recipe: "smoke" (seconds, for tests), "cpu" (about an hour on 2 cores), or a large one: flow-ebm
    /// "gpu"; clel "small", "base", "large" (CIFAR-10); latent-prior "gpu", "cifar10".
    #[arg(long, default_value = "cpu")]
    preset: String,
    /// Override a setting of the recipe, e.g. --set tilt.iterations=500.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Continue a run that was stopped or killed.
    #[arg(long)]
    resume: bool,
    /// Name of the run's folder [default: the model's name].
    #[arg(long)]
    name: Option<String>,
    /// Folder with the data set's files; nothing is downloaded.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of finished models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Compute device. Several, as in gpu:0,gpu:1, share the work of flow-ebm, clel and latent-prior.
    #[arg(
        long,
        default_value = "cpu",
        value_name = "cpu|gpu|gpu:N",
        value_delimiter = ','
    )]
    device: Vec<DeviceName>,
    /// Print events as JSON lines instead of a progress bar.
    #[arg(long)]
    json: bool,
}

/// Export a run's last checkpoint, with a card, to a model folder. The run may still be training.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// Name of the run.
    run: String,
    /// The data, if it has moved since the run began.
    #[arg(long)]
    data: Option<DataRef>,
    /// Folder with the data set's files [default: the run's own].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of finished models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
}

/// `run.json`: what a run was started with, besides its recipe.
#[derive(Serialize, Deserialize)]
struct About {
    system: String,
    data: String,
    data_dir: Option<PathBuf>,
    preset: String,
    set: Vec<String>,
    version: String,
    commit: String,
}

static CANCEL: AtomicBool = AtomicBool::new(false);

fn on_ctrl_c() -> Result<()> {
    // A second Ctrl-C ends the program at once.
    ctrlc::set_handler(|| {
        if CANCEL.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .map_err(|e| {
        let fix = "report this as a bug";
        Error::invalid("Ctrl-C handler", "to be set once", e, fix)
    })
}

fn train(request: &Request, system: &str, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let train = system::find(system)?.train;
    request.guarded(system, || train(request, sink))
}

impl Args {
    /// Trains.
    ///
    /// # Errors
    /// Whatever the recipe reports.
    pub fn run(self) -> Result<Outcome> {
        on_ctrl_c()?;
        let mut devices = Vec::new();
        let mut names = Vec::new();
        // The CPU may be repeated, so that sharding can be tested without several GPUs.
        let repeated = |(k, device): (usize, &DeviceName)| {
            *device != DeviceName::Cpu && self.device[..k].contains(device)
        };
        if self.device.iter().enumerate().any(repeated) {
            return Err(Error::invalid(
                "--device",
                "distinct devices",
                "one device twice",
                "number discrete GPUs from 0, as in gpu:0,gpu:1",
            ));
        }
        for device in &self.device {
            let (device, name) = device.open()?;
            devices.push(device);
            names.push(name);
        }
        let device = devices.remove(0);
        let device_name = names.join(", ");
        let mut request = Request {
            preset: self.preset,
            data: self.data,
            source: Source {
                data_dir: self.data_dir,
                ..Source::default()
            },
            set: self.set,
            begun: Vec::new(),
            runs: self.runs,
            name: self.name,
            intent: if self.resume {
                Intent::Resume
            } else {
                Intent::Begin
            },
            models: self.models,
            device,
            others: devices,
            device_name,
            cancel: &CANCEL,
        };
        let name = request.run_name(&self.system);
        let mut about = About {
            system: self.system.clone(),
            data: request.data.absolute(),
            data_dir: request.source.data_dir.as_ref().map(absolute),
            preset: request.preset.clone(),
            set: request.set.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: commit(),
        };
        if self.resume
            && let Some(begun) = begun_with(&request.runs.join(&name), &about)?
        {
            request.preset.clone_from(&begun.preset);
            request.begun.clone_from(&begun.set);
            about = begun;
        }
        let mut bars = Bars::default();
        let runs = request.runs.clone();
        let mut problem = None;
        let json = self.json;
        let done = train(&request, &self.system, &mut |event| {
            if let Event::Started { run, .. } = event {
                problem = write_about(&runs.join(run), &about).err();
            }
            match json {
                true => {
                    if let Ok(line) = serde_json::to_string(event) {
                        println!("{line}");
                    }
                }
                false => bars.show(event),
            }
        });
        done?;
        problem.map_or(Ok(Outcome::Done), Err)
    }
}

/// An absolute path, valid from any working directory.
fn absolute(path: &PathBuf) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
}

fn write_about(folder: &Path, about: &About) -> Result<()> {
    let text = serde_json::to_vec_pretty(about)
        .map_err(|e| Error::model("run", e, "report this as a bug"))?;
    write_atomically(&folder.join("run.json"), &text)
}

/// What the run in `folder` was started with, if recorded. A run resumes with its own system and data:
/// others are an error.
fn begun_with(folder: &Path, now: &About) -> Result<Option<About>> {
    let path = folder.join("run.json");
    if !path.is_file() {
        return Ok(None);
    }
    let begun: About = read_json(&path)?;
    if begun.system == now.system && begun.data == now.data {
        return Ok(Some(begun));
    }
    Err(Error::invalid(
        "run",
        format!("{} on {}, as it was started", begun.system, begun.data),
        format!("{} on {}", now.system, now.data),
        "give these with --resume, or start a new run under another --name",
    ))
}

impl ExportArgs {
    /// Exports the run.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a run that does not exist or has no checkpoint; whatever the recipe
    /// reports.
    pub fn run(self) -> Result<Outcome> {
        let folder = self.runs.join(&self.run);
        let path = folder.join("run.json");
        if !path.is_file() {
            return Err(Error::invalid(
                "run",
                format!("{}, which `mixwell train` writes", path.display()),
                "none",
                "`mixwell runs` lists the runs; export a run that predates run.json with \
                 `mixwell train SYSTEM --resume --set …iterations=N`, where N is its last iteration",
            ));
        }
        let about: About = read_json(&path)?;
        let (device, device_name) = self.device.open()?;
        let request = Request {
            preset: String::new(),
            data: match self.data {
                Some(data) => data,
                None => about.data.parse()?,
            },
            source: Source {
                data_dir: self.data_dir.or(about.data_dir),
                ..Source::default()
            },
            set: Vec::new(),
            begun: Vec::new(),
            runs: self.runs,
            name: Some(self.run),
            intent: Intent::Export,
            models: self.models,
            device,
            others: Vec::new(),
            device_name,
            cancel: &CANCEL,
        };
        let mut bars = Bars::default();
        train(&request, &about.system, &mut |event| bars.show(event))?;
        Ok(Outcome::Done)
    }
}

#[derive(Default)]
struct Bars {
    bar: Option<(String, ProgressBar)>,
    printed: Option<Instant>,
}

impl Bars {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Started {
                run,
                phases,
                resumed_at,
            } => {
                let phases: Vec<String> = phases.iter().map(|(n, k)| format!("{n} {k}")).collect();
                eprintln!("run {run}: {}", phases.join(", then "));
                if let Some((phase, iteration)) = resumed_at {
                    eprintln!("resuming {phase} at iteration {iteration}");
                }
            }
            Event::Progress {
                phase,
                iteration,
                total,
            } => {
                if self.bar.as_ref().is_none_or(|(p, _)| p != phase) {
                    let bar = ProgressBar::new(*total);
                    // The template is constant: a mistake shows in the first run.
                    if let Ok(style) = ProgressStyle::with_template(
                        "{prefix} {wide_bar} {pos}/{len} [{elapsed} < {eta}] {msg}",
                    ) {
                        bar.set_style(style);
                    }
                    bar.set_prefix(phase.clone());
                    bar.set_position(*iteration);
                    bar.reset_eta();
                    self.bar = Some((phase.clone(), bar));
                }
                if let Some((_, bar)) = &self.bar {
                    bar.set_position(*iteration);
                }
            }
            Event::Metrics {
                phase,
                iteration,
                values,
                ..
            } => {
                let text: Vec<String> = values.iter().map(|(k, v)| format!("{k} {v:.4}")).collect();
                let text = text.join("  ");
                if let Some((_, bar)) = &self.bar {
                    bar.set_message(text.clone());
                    // Where the bar is hidden (a log file), print one line a minute.
                    let due = self
                        .printed
                        .is_none_or(|t| t.elapsed() >= Duration::from_secs(60));
                    if bar.is_hidden() && due {
                        eprintln!("{phase} {iteration}: {text}");
                        self.printed = Some(Instant::now());
                    }
                }
            }
            Event::Snapshot { .. } => {}
            Event::Incident { incident } => self.line(&incident.to_string()),
            Event::Note { text } => self.line(text),
            Event::Done { model } => self.line(&format!("done: {}", model.display())),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some((_, bar)) if !bar.is_hidden() => bar.println(text),
            _ => eprintln!("{text}"),
        }
    }
}
