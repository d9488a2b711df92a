//! `mixwell train`.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Outcome, device::DeviceName};
use crate::{
    data::{DatasetName, Source},
    error::{Error, Result},
    system,
    train::{Event, Request},
};

/// Train a system; the finished model goes to MODELS/NAME with its card.
#[derive(clap::Args)]
pub struct Args {
    /// What to train.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(system::REGISTRY.iter().map(|r| r.name)))]
    system: String,
    /// Data set: mnist, fashion-mnist or cifar-10.
    #[arg(long)]
    data: DatasetName,
    /// Recipe: "smoke" (seconds, a test), "cpu" (about an hour on 2 cores), and the large ones: flow-ebm
    /// "gpu"; clel "small", "base", "large" (CIFAR-10).
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
    /// Where to compute.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceName,
    /// Print events as JSON lines instead of a progress bar.
    #[arg(long)]
    json: bool,
}

static CANCEL: AtomicBool = AtomicBool::new(false);

impl Args {
    /// Trains.
    ///
    /// # Errors
    /// Whatever the recipe reports.
    pub fn run(self) -> Result<Outcome> {
        // A second Ctrl-C ends the program at once.
        ctrlc::set_handler(|| {
            if CANCEL.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
        })
        .map_err(|e| {
            Error::invalid(
                "Ctrl-C handler",
                "to be set once",
                e,
                "report this as a bug",
            )
        })?;
        let (device, device_name) = self.device.open()?;
        let request = Request {
            preset: self.preset,
            data: self.data,
            source: Source {
                data_dir: self.data_dir,
                ..Source::default()
            },
            set: self.set,
            runs: self.runs,
            name: self.name,
            resume: self.resume,
            models: self.models,
            device,
            device_name,
            cancel: &CANCEL,
        };
        let train = system::find(&self.system)?.train;
        if self.json {
            train(&request, &mut |event| {
                if let Ok(line) = serde_json::to_string(event) {
                    println!("{line}");
                }
            })?;
        } else {
            let mut bars = Bars::default();
            train(&request, &mut |event| bars.show(event))?;
        }
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
