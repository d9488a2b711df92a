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
  mixwell train clel --data fashion-mnist --resume         goes on where it was

A run's folder, RUNS/NAME, holds config.toml, metrics.jsonl, grids, log.txt, incidents.jsonl, checkpoints,
and event files: tensorboard --logdir RUNS. Ctrl-C writes a checkpoint and ends; a second one ends at once.
A training that diverges goes back to a kept checkpoint by itself, with other random numbers and smaller
steps ([guard] in config.toml).";

/// Train a system; the finished model goes to MODELS/NAME with its card.
#[derive(clap::Args)]
#[command(after_help = TRAIN_HELP)]
pub struct Args {
    /// What to train.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(system::REGISTRY.iter().map(|r| r.name)))]
    system: String,
    /// What to learn: mnist, fashion-mnist, cifar-10, or a folder of your own with images (folders in it
    /// are classes; `train` and `test` are splits) or with parquet files as Hugging Face has them.
    #[arg(long)]
    data: DataRef,
    /// Recipe: "smoke" (seconds, a test), "cpu" (about an hour on 2 cores), and the large ones: flow-ebm
    /// "gpu"; clel "small", "base", "large" (CIFAR-10); latent-prior "gpu", "cifar10".
    #[arg(long, default_value = "cpu")]
    preset: String,
    /// Override a setting of the recipe, e.g. --set tilt.iterations=500.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Go on with a run that was stopped or killed.
    #[arg(long)]
    resume: bool,
    /// Name of the run's folder [default: the model's name].
    #[arg(long)]
    name: Option<String>,
    /// Folder with the data set's files, instead of the download.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of finished models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Where to compute. Several, as in gpu:0,gpu:1, share the work of flow-ebm, clel and latent-prior.
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

/// Export a run's last checkpoint to a model folder, with its card: while it trains, or after it was
/// stopped.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// The run.
    run: String,
    /// The data, where it is no longer where the run was begun with it.
    #[arg(long)]
    data: Option<DataRef>,
    /// Folder with the data set's files [default: as the run was begun].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of finished models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Where to compute.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
}

/// `run.json`: what a run was begun with, beside its recipe.
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
        // A processor may be named twice: that is how it is tried without several GPUs.
        let twice = |(k, device): (usize, &DeviceName)| {
            *device != DeviceName::Cpu && self.device[..k].contains(device)
        };
        if self.device.iter().enumerate().any(twice) {
            return Err(Error::invalid(
                "--device",
                "different devices",
                "one twice",
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
            data: request.data.whole(),
            data_dir: request.source.data_dir.as_ref().map(whole),
            preset: request.preset.clone(),
            set: request.set.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: commit(),
        };
        if self.resume
            && let Some(begun) = agree(&request.runs.join(&name), &about)?
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

/// A path that is right from anywhere.
fn whole(path: &PathBuf) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
}

fn write_about(folder: &Path, about: &About) -> Result<()> {
    let text = serde_json::to_vec_pretty(about)
        .map_err(|e| Error::model("run", e, "report this as a bug"))?;
    write_atomically(&folder.join("run.json"), &text)
}

/// A run is gone on with as it was begun: with another system or other data it would be another run.
fn agree(folder: &Path, now: &About) -> Result<Option<About>> {
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
        format!("{} on {}, as it was begun", begun.system, begun.data),
        format!("{} on {}", now.system, now.data),
        "give these to --resume, or begin another run under another --name",
    ))
}

impl ExportArgs {
    /// Exports.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a run that there is not or that has no checkpoint; whatever the recipe
    /// reports.
    pub fn run(self) -> Result<Outcome> {
        let folder = self.runs.join(&self.run);
        let path = folder.join("run.json");
        if !path.is_file() {
            return Err(Error::invalid(
                "run",
                format!("{}, which `mixwell train` writes", path.display()),
                "none",
                "`mixwell runs` lists the runs; one that is older than this file is exported by \
                 `mixwell train SYSTEM --resume --set …iterations=N` with the N it has",
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
                    // The template is a constant: a mistake in it shows in the first run.
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
                    // Where the bar is hidden (a log file), a line a minute tells how it goes.
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
