//! `mixwell sample` and `mixwell race`: chains on the command line.

use std::{path::PathBuf, sync::Arc, time::Instant};

use burn::tensor::{Device, Tensor, TensorData};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Outcome, device::DeviceName, print_json, sampler_args::SamplerArgs};
use crate::{
    artifact::{self, Card},
    diagnostics::{Rule, Status, Summary, smallest_ess},
    energy::{self, Energy},
    error::{Error, Result},
    image,
    rng::Rng,
    sampler::{Run, SamplerConfig, Trace},
    session::race::{Race, RaceConfig, SideFrame, settings},
    system,
};

/// The convergence rule.
#[derive(clap::Args)]
pub struct RuleArgs {
    /// Largest R-hat accepted.
    #[arg(long, default_value_t = Rule::default().max_rhat)]
    max_rhat: f64,
    /// Smallest bulk and tail ESS accepted, per chain.
    #[arg(long, default_value_t = Rule::default().min_ess_per_chain)]
    min_ess: f64,
}

impl RuleArgs {
    fn rule(&self) -> Result<Rule> {
        let rule = Rule {
            max_rhat: self.max_rhat,
            min_ess_per_chain: self.min_ess,
        };
        rule.validate()?;
        Ok(rule)
    }
}

/// Sample a model or a density: run chains from over-dispersed starts, print diagnostics, and draw their
/// last states.
#[derive(clap::Args)]
pub struct SampleArgs {
    /// A model (a name under models/, or a folder), or a density listed by `mixwell targets`.
    model: String,
    /// Space in which the chains run: latent or pixel. A density has only one.
    #[arg(long)]
    space: Option<String>,
    #[command(flatten)]
    sampler: SamplerArgs,
    /// Transitions after the warm-up.
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Number of chains.
    #[arg(long, default_value_t = 16)]
    chains: usize,
    /// Seed of starts and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Standard deviation of the starts in latent space (the latent prior's is 1). For a density: spread
    /// of the starts, as a multiple of the middle part of its plotting window.
    #[arg(long, default_value_t = 1.2)]
    start_scale: f64,
    /// PNG file for the grid of the chains' last images.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replay the first TRANSITIONS on the CPU and report the device's drift: the largest |difference|
    /// of a coordinate, relative to max(1, |x|).
    #[arg(long, value_name = "TRANSITIONS")]
    drift: Option<usize>,
    #[command(flatten)]
    rule: RuleArgs,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct SampleReport {
    model: String,
    space: String,
    seed: u64,
    chains: usize,
    steps: usize,
    device: String,
    sampler: SamplerConfig,
    step_sizes: Vec<f64>,
    temperature: f64,
    gradients_per_chain: f64,
    acceptance: Option<f64>,
    shadow_acceptance: Option<f64>,
    divergences: u64,
    clipped_share: Option<f64>,
    saturated_share: Option<f64>,
    drift_from_cpu: Option<f64>,
    e_bfmi: Option<f64>,
    rule: Rule,
    converged: bool,
    ess_per_1000_gradients: Option<f64>,
    /// Wall-clock rate after the warm-up; the only number here that is not reproducible.
    ess_per_second: Option<f64>,
    summaries: Vec<Summary>,
}

/// Transitions between two updates of the progress bar.
const CHUNK: usize = 10;

impl SampleArgs {
    /// Samples and prints the diagnostics.
    ///
    /// # Errors
    /// [`Error`] for a model, setting or device that cannot be used, or chains that became non-finite.
    pub fn run(self) -> Result<Outcome> {
        let rule = self.rule.rule()?;
        for (what, value, max) in [
            ("chains", self.chains, 4096),
            ("steps", self.steps, 10_000_000),
        ] {
            Error::unless_within(what, value, 1, max)?;
        }
        let (device, device_name) = self.device.open()?;
        let rng = Rng::new(self.seed);
        let mut config = self.sampler.0.clone();
        let Subject {
            name,
            space,
            target,
            starts: x,
        } = self.subject(&rng, &mut config, &device)?;
        // Fail before the work, not after it.
        if self.out.is_some() && target.space().image.is_none() {
            let fix = "omit --out";
            return Err(Error::invalid("--out", "a model of images", &name, fix));
        }
        let drift = match self.drift {
            Some(transitions) => Some(self.drift(&config, transitions, &device)?),
            None => None,
        };
        let mut trace = Trace::new(target.observables(), self.chains);
        let mut run = Run::new(target.clone(), &config, rng, x)?;
        let total = config.warmup + self.steps;
        let bar = if self.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(total as u64)
        };
        let mut began = Instant::now();
        while (run.transitions() as usize) < total {
            let done = run.transitions() as usize;
            if done == config.warmup {
                began = Instant::now();
            }
            // A chunk ends at the end of the warm-up, so that the clock starts there.
            let end = if done < config.warmup {
                config.warmup
            } else {
                total
            };
            let n = CHUNK.min(end - done);
            for draw in pollster::block_on(run.advance(n))? {
                trace.push(&draw);
            }
            bar.set_position(u64::from(run.transitions()));
        }
        let seconds = began.elapsed().as_secs_f64();
        bar.finish_and_clear();

        if let Some(path) = &self.out {
            let images = target.to_image(run.states()).ok_or_else(|| {
                Error::invalid(
                    "--out",
                    "a model of images",
                    "a model without images",
                    "omit --out",
                )
            })?;
            let [n, c, h, w] = images.dims();
            let values: Vec<f32> = images.into_data().iter::<f32>().collect();
            image::write_grid(path, &values, n, [c, h, w])?;
        }
        let summaries = trace.summaries(&rule)?;
        let converged = summaries.iter().all(|s| s.status == Status::Converged);
        let work = trace.gradients() * self.chains as f64;
        let acceptance = Some(trace.acceptance()).filter(|a| a.is_finite());
        let report = SampleReport {
            model: name,
            space,
            seed: self.seed,
            chains: self.chains,
            steps: self.steps,
            device: device_name,
            step_sizes: run.step_sizes().to_vec(),
            temperature: run.temperature(),
            sampler: config,
            gradients_per_chain: trace.gradients(),
            acceptance: acceptance.filter(|_| run.has_test()),
            shadow_acceptance: acceptance.filter(|_| !run.has_test()),
            divergences: trace.divergences(),
            clipped_share: trace.clipped(),
            saturated_share: trace.saturated(),
            drift_from_cpu: drift,
            e_bfmi: trace.e_bfmi(),
            rule,
            converged,
            ess_per_1000_gradients: smallest_ess(&summaries).map(|e| e / work * 1000.0),
            ess_per_second: smallest_ess(&summaries).map(|e| e / seconds),
            summaries,
        };
        if self.json {
            print_json(&report)?;
        } else {
            report.print();
            if let Some(path) = &self.out {
                println!("images   {}", path.display());
            }
        }
        Ok(if converged {
            Outcome::Done
        } else {
            Outcome::NotConverged
        })
    }
}

/// The target of the chains, and their starts.
struct Subject {
    name: String,
    space: String,
    target: Arc<dyn Energy>,
    starts: Tensor<2>,
}

impl SampleArgs {
    /// Distance between chains on a device and the same chains on the CPU after `transitions`. The step
    /// size is fixed: adaptation would amplify rounding differences.
    fn drift(&self, config: &SamplerConfig, transitions: usize, device: &Device) -> Result<f64> {
        let ends = |device: &Device| -> Result<Vec<f32>> {
            let rng = Rng::new(self.seed);
            let mut config = SamplerConfig {
                no_adapt: true,
                adapt_mass: false,
                ..config.clone()
            };
            let subject = self.subject(&rng, &mut config, device)?;
            let mut run = Run::new(subject.target, &config, rng, subject.starts)?;
            pollster::block_on(run.advance(transitions))?;
            pollster::block_on(crate::device::read(run.states()))
        };
        let (here, cpu) = (ends(device)?, ends(&Device::flex())?);
        Ok(here
            .iter()
            .zip(&cpu)
            .map(|(a, b)| f64::from((a - b).abs()) / f64::from(b.abs()).max(1.0))
            // f64::max would drop a NaN.
            .fold(0.0, |m, v| if v > m || v.is_nan() { v } else { m }))
    }

    /// The model or density named by the arguments; sets its recommended step size if none is given.
    fn subject(&self, rng: &Rng, config: &mut SamplerConfig, device: &Device) -> Result<Subject> {
        if let Some(density) = energy::REGISTRY.iter().find(|r| r.name == self.model) {
            if let Some(space) = &self.space {
                return Err(Error::invalid(
                    "--space",
                    "no value for a density, which has only one space",
                    space,
                    "omit --space",
                ));
            }
            config.step_size = config
                .step_size
                .or_else(|| density.step_size(&config.sampler));
            let target = (density.build)(device);
            let plane = target.dispersed(rng, self.chains, self.start_scale);
            let starts = target.lift(&plane);
            let shape = [self.chains, target.space().dim];
            return Ok(Subject {
                name: density.name.into(),
                space: target.space().name.into(),
                starts: Tensor::from_data(TensorData::new(starts, shape), device),
                target,
            });
        }
        let (card, model) = system::read_model(&self.model, device)?;
        // Default to the latent space if the model has one: chains mix there.
        let spaces = model.spaces();
        let own = spaces.iter().find(|s| **s == "latent").or(spaces.first());
        let space = self
            .space
            .clone()
            .unwrap_or_else(|| own.copied().unwrap_or("latent").to_owned());
        // A model without a step size for this sampler has one for the sampler's nearest relative.
        let relative = config.registration()?.relative;
        config.step_size = config
            .step_size
            .or_else(|| card.step_size(&space, &config.sampler))
            .or_else(|| card.step_size(&space, relative?));
        Ok(Subject {
            target: model.target(&space)?,
            starts: model.starts(&space, rng, self.chains, self.start_scale)?,
            name: card.name,
            space,
        })
    }
}

fn number(v: Option<f64>, digits: usize) -> String {
    v.map_or_else(|| "–".into(), |v| format!("{v:.digits$}"))
}

fn print_summaries(summaries: &[Summary]) {
    println!(
        "{:<10}{:>12}{:>10}{:>9}{:>10}{:>10}  verdict",
        "quantity", "mean", "mcse", "R-hat", "bulk ESS", "tail ESS"
    );
    for s in summaries {
        println!(
            "{:<10}{:>12}{:>10}{:>9}{:>10}{:>10}  {}",
            s.name,
            number(s.mean, 3),
            number(s.mcse_mean, 3),
            number(s.rhat, 3),
            number(s.ess_bulk, 0),
            number(s.ess_tail, 0),
            s.status
        );
    }
}

impl SampleReport {
    fn print(&self) {
        println!(
            "{} in {} space on {}: {} chains × {} draws, seed {}",
            self.model, self.space, self.device, self.chains, self.steps, self.seed
        );
        println!(
            "{}  ε {:.4}  T {:.4}  acceptance {}  {:.0} ∇E per chain  ESS per 1000 ∇E {}",
            self.sampler.sampler,
            self.step_sizes[0],
            self.temperature,
            number(self.acceptance, 3),
            self.gradients_per_chain,
            number(self.ess_per_1000_gradients, 2),
        );
        if let Some(rate) = self.ess_per_second {
            println!("ESS per second {rate:.1}");
        }
        if let Some(drift) = self.drift_from_cpu {
            println!("drift from the CPU {drift:.1e}");
        }
        if let Some(shadow) = self.shadow_acceptance {
            println!("no Metropolis test; it would have accepted {shadow:.3}");
        }
        if self.divergences > 0 {
            println!("{} divergent transitions", self.divergences);
        }
        if let Some(clipped) = self.clipped_share {
            println!(
                "{:.1} % of the gradient components were clipped",
                100.0 * clipped
            );
        }
        if let Some(saturated) = self.saturated_share.filter(|s| *s > 0.0) {
            println!(
                "{:.1} % of the trajectories reached --max-tree-depth",
                100.0 * saturated
            );
        }
        print_summaries(&self.summaries);
    }
}

/// Compare chains in pixel space and latent space at equal gradient evaluations, as the page's Race
/// does.
#[derive(clap::Args)]
pub struct RaceArgs {
    /// Model: a name under models/, or a folder.
    model: String,
    /// Sampler of both sides: ula, mala or hmc.
    #[arg(long, default_value = "mala")]
    sampler: String,
    /// Transitions of each side after the warm-up.
    #[arg(long, default_value_t = 1000)]
    steps: usize,
    /// Warm-up transitions.
    #[arg(long, default_value_t = settings::WARMUP.default_count())]
    warmup: usize,
    /// Number of chains on each side.
    #[arg(long, default_value_t = settings::CHAINS.default_count())]
    chains: usize,
    /// Leapfrog steps per HMC transition.
    #[arg(long, default_value_t = settings::LEAPFROG_STEPS.default_count())]
    leapfrog_steps: usize,
    /// Seed of starts and noise.
    #[arg(long, default_value_t = settings::SEED.default_count() as u64)]
    seed: u64,
    /// Standard deviation of the starts in latent space (the latent prior's is 1).
    #[arg(long, default_value_t = settings::START_SCALE.default_number())]
    start_scale: f64,
    /// Write the report to models/NAME/race-SAMPLER.json, which the docs and the page read.
    #[arg(long)]
    save: bool,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RaceReport {
    command: String,
    device: String,
    config: RaceConfig,
    steps: usize,
    sides: Vec<SideReport>,
}

#[derive(Serialize)]
struct SideReport {
    space: String,
    gradients_per_chain: u64,
    rhat_max: Option<f64>,
    ess_bulk_min: Option<f64>,
    ess_per_1000_gradients: Option<f64>,
    acceptance: Option<f64>,
    e_bfmi: Option<f64>,
    step_size: f64,
    temperature: f64,
    /// Energy of each chain after the last transition, for comparison across devices.
    last_energy: Vec<f32>,
    summaries: Vec<Summary>,
}

impl From<SideFrame> for SideReport {
    fn from(f: SideFrame) -> Self {
        Self {
            space: f.space,
            gradients_per_chain: f.gradients,
            rhat_max: f.rhat_max,
            ess_bulk_min: f.ess_bulk_min,
            ess_per_1000_gradients: f.ess_per_1000_gradients,
            acceptance: f.acceptance,
            e_bfmi: f.e_bfmi,
            step_size: f.step_size,
            temperature: f.temperature,
            last_energy: f
                .traces
                .get("energy")
                .map(|e| e.0[e.0.len() - f.chains..].to_vec())
                .unwrap_or_default(),
            summaries: f.summaries,
        }
    }
}

impl RaceArgs {
    /// Runs both sides and prints their diagnostics.
    ///
    /// # Errors
    /// [`Error`] for a model, setting or device that cannot be used.
    pub fn run(self) -> Result<Outcome> {
        let (device, device_name) = self.device.open()?;
        let (card, model): (Card, _) = system::read_model(&self.model, &device)?;
        let config = RaceConfig {
            seed: self.seed,
            chains: self.chains,
            sampler: self.sampler.clone(),
            leapfrog_steps: self.leapfrog_steps,
            warmup: self.warmup,
            start_scale: self.start_scale,
            ..RaceConfig::new(&card.name)
        }
        .complete(&card)?;
        let mut race = pollster::block_on(Race::new(&*model, config.clone()))?;
        let total = self.warmup + self.steps;
        let bar = if self.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(total as u64)
        };
        let mut done = 0;
        let mut frame = pollster::block_on(race.advance(0))?;
        while done < total {
            // Only the last frame's statistics are used; the others drive the progress bar.
            let n = 50.min(total - done);
            frame = pollster::block_on(race.advance(n))?;
            done += n;
            bar.set_position(done as u64);
        }
        bar.finish_and_clear();
        let report = RaceReport {
            command: format!(
                "mixwell race {} --sampler {} --steps {} --warmup {} --chains {} --seed {}",
                card.name, self.sampler, self.steps, self.warmup, self.chains, self.seed
            ),
            device: device_name,
            config,
            steps: self.steps,
            sides: frame.sides.into_iter().map(SideReport::from).collect(),
        };
        if self.save {
            let name = format!("race-{}.json", self.sampler);
            let path = PathBuf::from("models").join(&card.name).join(name);
            let mut text = serde_json::to_vec_pretty(&report).map_err(|e| {
                Error::invalid(
                    "report",
                    "values that JSON can hold",
                    e,
                    "report this as a bug",
                )
            })?;
            text.push(b'\n');
            artifact::write_atomically(&path, &text)?;
        }
        if self.json {
            print_json(&report)?;
        } else {
            println!("{}\non {}", report.command, report.device);
            for side in &report.sides {
                println!(
                    "\n{} space: R-hat {} (worst)  bulk ESS {}  ESS per 1000 ∇E {}  acceptance {}  ε {:.4}  T {:.3}  {} ∇E per chain",
                    side.space,
                    number(side.rhat_max, 3),
                    number(side.ess_bulk_min, 0),
                    number(side.ess_per_1000_gradients, 2),
                    number(side.acceptance, 3),
                    side.step_size,
                    side.temperature,
                    side.gradients_per_chain,
                );
                print_summaries(&side.summaries);
            }
        }
        Ok(Outcome::Done)
    }
}

/// List the samplers.
#[derive(clap::Args)]
pub struct SamplersArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl SamplersArgs {
    /// Prints the list.
    ///
    /// # Errors
    /// Only if the JSON cannot be written, which is a bug.
    pub fn run(self) -> Result<Outcome> {
        if self.json {
            let all: Vec<_> = crate::sampler::REGISTRY
                .iter()
                .map(|r| {
                    serde_json::json!({
                        "name": r.name, "title": r.title, "description": r.description,
                        "tested": r.tested, "target_accept": r.target_accept,
                        "settings": r.settings.iter().map(|s| s.name).collect::<Vec<_>>(),
                    })
                })
                .collect();
            print_json(&all)?;
        } else {
            for r in crate::sampler::REGISTRY {
                println!("{:<12} {}\n{:13}{}", r.name, r.title, "", r.description);
            }
        }
        Ok(Outcome::Done)
    }
}

/// List the densities that can be sampled by name.
#[derive(clap::Args)]
pub struct TargetsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl TargetsArgs {
    /// Prints the list.
    ///
    /// # Errors
    /// Only if the JSON cannot be written, which is a bug.
    pub fn run(self) -> Result<Outcome> {
        if self.json {
            let all: Vec<_> = energy::REGISTRY
                .iter()
                .map(|r| {
                    serde_json::json!({
                        "name": r.name, "title": r.title, "description": r.description,
                    })
                })
                .collect();
            print_json(&all)?;
        } else {
            for r in energy::REGISTRY {
                println!("{:<14} {}\n{:15}{}", r.name, r.title, "", r.description);
            }
        }
        Ok(Outcome::Done)
    }
}
