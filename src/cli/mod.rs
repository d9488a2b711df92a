//! The command line.

mod chains;
mod device;
mod doctor;
mod eval;
mod info;
mod prior;
mod runs;
mod sampler_args;
mod train;

use std::{io::Write as _, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use serde::Serialize;

use crate::error::{Error, Result};

/// Energy-based models whose MCMC chains mix: train, sample, diagnose.
///
/// E is an energy: p ∝ exp(−E/T), low energy is likely.
#[derive(Parser)]
#[command(name = "mixwell", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 error; 2 the command ran, but the chains did not \
converge (rule: R-hat ≤ 1.01, bulk and tail ESS ≥ 100 per chain; --max-rhat and --min-ess change it).";

#[derive(Subcommand)]
enum Command {
    /// Train a system on a data set and export the model.
    Train(train::Args),
    /// Run chains on a model and report convergence diagnostics.
    Sample(chains::SampleArgs),
    /// List the samplers.
    Samplers(chains::SamplersArgs),
    /// List the densities that can be sampled by name.
    Targets(chains::TargetsArgs),
    /// Race pixel space against latent space at equal gradient evaluations.
    Race(chains::RaceArgs),
    /// Generate images: from noise, under conditions, or by inpainting.
    Generate(eval::GenerateArgs),
    /// Score your own images.
    Score(eval::ScoreArgs),
    /// Evaluate a model: FID, energies, AUROC, nearest neighbours.
    Eval(eval::EvalArgs),
    /// Sample every stage of a latent prior.
    Stages(prior::StagesArgs),
    /// Compare one density ratio with several on toy data with known divergences.
    Toys(prior::ToysArgs),
    /// Detect held-out digits as anomalies with latent priors.
    Anomaly(prior::AnomalyArgs),
    /// Show a model's card and test the model on a device.
    Info(info::InfoArgs),
    /// Export a run's last checkpoint to a model folder, during or after training.
    Export(train::ExportArgs),
    /// List training runs, or compare some.
    Runs(runs::RunsArgs),
    /// Watch a run from another terminal.
    Watch(runs::WatchArgs),
    /// Inspect the machine: devices, driver, limits, speed.
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Rewrite models/manifest.json from the model folders.
    Manifest(info::ManifestArgs),
    /// Write the page's contract (types and settings).
    #[command(hide = true)]
    Contract {
        /// Output folder.
        #[arg(default_value = crate::contract::FOLDER)]
        folder: std::path::PathBuf,
    },
}

/// Print a completion script for a shell.
#[derive(clap::Args)]
#[command(
    after_help = "Bash:  mixwell completions bash > ~/.local/share/bash-completion/completions/mixwell\n\
Zsh:   mixwell completions zsh > \"${fpath[1]}/_mixwell\"\n\
Fish:  mixwell completions fish > ~/.config/fish/completions/mixwell.fish"
)]
struct CompletionsArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    fn run(self) -> Result<Outcome> {
        // Generate into memory: clap_complete panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mixwell", &mut script);
        let mut out = std::io::stdout().lock();
        match out.write_all(&script) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::io("write", "standard output")(e))
            }
            _ => Ok(Outcome::Done),
        }
    }
}

/// Result of a command that ran without an error; sets the exit code.
pub enum Outcome {
    /// Success.
    Done,
    /// The chains ran but did not meet the convergence rule.
    NotConverged,
}

/// Parses the arguments, runs the command, reports errors on stderr.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NotConverged) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Train(args) => args.run(),
        Command::Contract { folder } => {
            crate::contract::write(&folder)?;
            Ok(Outcome::Done)
        }
        Command::Sample(args) => args.run(),
        Command::Samplers(args) => args.run(),
        Command::Targets(args) => args.run(),
        Command::Race(args) => args.run(),
        Command::Generate(args) => args.run(),
        Command::Score(args) => args.run(),
        Command::Eval(args) => args.run(),
        Command::Stages(args) => args.run(),
        Command::Toys(args) => args.run(),
        Command::Anomaly(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Completions(args) => args.run(),
        Command::Info(args) => args.run(),
        Command::Runs(args) => args.run(),
        Command::Watch(args) => args.run(),
        Command::Doctor(args) => args.run(),
        Command::Manifest(args) => args.run(),
    }
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::model("report", e, "report this as a bug"))?;
    println!("{text}");
    Ok(())
}
