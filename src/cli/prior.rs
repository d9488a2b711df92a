//! `mixwell stages`, `mixwell toys` and `mixwell anomaly`: latent priors by density-ratio estimation.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{Outcome, device::DeviceName, print_json};
use crate::{
    artifact,
    data::{self, DatasetName, Source, Split},
    error::{Error, Result},
    eval::{
        anomaly::{AnomalyResult, Budget, Pool, run},
        toys::{self, PICTURE, Ring, ToyPlan, ToyResult},
    },
    image, pixels,
    session::prior::{Prior, PriorConfig, PriorFrame},
    system::latent_prior::{PRESETS, Recipe, ratio::Arm},
    train::{commit, override_config},
};

/// Sample every stage of a latent prior, to show what each density ratio adds.
#[derive(clap::Args)]
pub struct StagesArgs {
    /// Model: a name under models/, or a folder.
    model: String,
    /// Sampler: ula, mala, hmc, or sir (sampling-importance-resampling).
    #[arg(long, default_value = "mala")]
    sampler: String,
    /// Number of chains.
    #[arg(long, default_value_t = 64)]
    chains: usize,
    /// Transitions after the warm-up.
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Transitions that adapt the step size.
    #[arg(long, default_value_t = 100)]
    warmup: usize,
    /// Standard deviation of the starts.
    #[arg(long, default_value_t = 1.2)]
    start_scale: f64,
    /// Seed of starts and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of proposals for sir.
    #[arg(long, default_value_t = 10_000)]
    proposals: usize,
    /// Folder for the samples, one PNG grid per stage: OUT/stage-K.png.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl StagesArgs {
    /// Samples every stage and prints its diagnostics.
    ///
    /// # Errors
    /// Whatever loading, sampling or writing reports.
    pub fn run(self) -> Result<Outcome> {
        let (device, _) = self.device.open()?;
        let (card, weights) = artifact::read_files(&self.model)?;
        let mut prior = Prior::new(device);
        let info = pollster::block_on(prior.load(card, &weights, None))?;
        let mut frames: Vec<PriorFrame> = Vec::new();
        for stage in 0..info.stages.len() {
            let config = PriorConfig {
                stage,
                seed: self.seed,
                sampler: self.sampler.clone(),
                count: self.chains,
                warmup: self.warmup,
                start_scale: self.start_scale,
                proposals: self.proposals,
                ..info.defaults.clone()
            };
            let frame = pollster::block_on(async {
                prior.begin(config).await?;
                let mut left = self.warmup + self.steps;
                while left > 0 {
                    prior.advance(left.min(500)).await?;
                    left -= left.min(500);
                }
                prior.advance(0).await
            })?;
            if let Some(out) = &self.out {
                fs::create_dir_all(out).map_err(Error::io("create", out))?;
                let path = out.join(format!("stage-{stage}.png"));
                let values: Vec<f32> = frame.images.0.iter().map(|&v| pixels::centre(v)).collect();
                image::write_grid(&path, &values, self.chains, info.shape)?;
            }
            frames.push(frame);
        }
        let converged = self.sampler == "sir" || frames.iter().all(|f| f.converged);
        if self.json {
            let lines: Vec<_> = frames
                .iter()
                .zip(&info.stages)
                .map(|(frame, stage)| {
                    serde_json::json!({
                        "training": stage, "diagnostics": frame.diagnostics,
                        "converged": frame.converged, "gradients": frame.gradients, "sir": frame.sir,
                    })
                })
                .collect();
            print_json(&lines)?;
        } else {
            println!(
                "stage  held-out loss  R-hat   bulk ESS  tail ESS  gradients  importance weights"
            );
            for (k, (frame, stage)) in frames.iter().zip(&info.stages).enumerate() {
                let worst = |f: fn(&crate::session::prior::PriorDiagnostic) -> Option<f64>,
                             most: bool| {
                    let values = frame.diagnostics.iter().filter_map(f);
                    let found = if most {
                        values.reduce(f64::max)
                    } else {
                        values.reduce(f64::min)
                    };
                    found.map_or("–".to_owned(), |v| format!("{v:.3}"))
                };
                let loss = stage
                    .checks
                    .last()
                    .map_or("–".into(), |c| format!("{:.4}", c.loss));
                let weights = frame.sir.map_or("–".into(), |s| {
                    format!(
                        "ESS {:.0} of {}, {} distinct",
                        s.ess, s.proposals, s.distinct
                    )
                });
                println!(
                    "{k:<7}{loss:<15}{:<8}{:<10}{:<10}{:<11}{weights}",
                    worst(|d| d.rhat, true),
                    worst(|d| d.bulk_ess, false),
                    worst(|d| d.tail_ess, false),
                    frame.gradients
                );
            }
        }
        Ok(if converged {
            Outcome::Done
        } else {
            Outcome::NotConverged
        })
    }
}

/// Measure how far one density ratio can reach: a ring of eight modes at 5, 10 and 20 nats from N(0, I),
/// learned in one shot, over fixed bridges, and in adaptive stages. Divergences are computed on a grid.
///
/// Finished runs are kept in --out: after a kill, the same command continues.
#[derive(clap::Args)]
pub struct ToysArgs {
    /// Distances KL(q ‖ N(0, I)) in nats.
    #[arg(long, value_delimiter = ',', default_values_t = [5.0, 10.0, 20.0])]
    nats: Vec<f64>,
    /// Iterations of every arm.
    #[arg(long, default_value_t = 3000)]
    iterations: u64,
    /// Batch size.
    #[arg(long, default_value_t = 512)]
    batch: usize,
    /// Seeds.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    seeds: Vec<u64>,
    /// Arms: nce, adaptive, bridges, lebm.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nce,adaptive,bridges,lebm"
    )]
    arms: Vec<Arm>,
    /// Override a training setting of the prior, e.g. --set chains=4096.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder for toys.json and toys.png (the densities of the first seed).
    #[arg(long)]
    out: Option<PathBuf>,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Columns of the table and the picture: arm, number of stages, title.
const TOYS: [(Arm, usize, &str); 6] = [
    (Arm::Nce, 1, "one shot"),
    (Arm::Adaptive, 2, "2 stages"),
    (Arm::Adaptive, 4, "4 stages"),
    (Arm::Adaptive, 6, "6 stages"),
    (Arm::Bridges, 4, "4 bridges"),
    (Arm::Lebm, 1, "likelihood"),
];

#[derive(Serialize)]
struct Toys {
    commit: String,
    device: String,
    runs: Vec<ToyResult>,
}

/// A finished run, stored so that an interrupted table can be continued.
#[derive(Serialize, Deserialize)]
struct ToyLine {
    /// SHA-256 of the program: another build may compute different values.
    program: String,
    device: String,
    result: ToyResult,
    density: Vec<f32>,
}

impl ToysArgs {
    /// Learns the unfinished runs, prints the table, writes the results.
    ///
    /// # Errors
    /// Whatever learning or writing reports.
    pub fn run(self) -> Result<Outcome> {
        if let Some(arm) = self.arms.iter().find(|a| !TOYS.iter().any(|t| t.0 == **a)) {
            return Err(Error::invalid(
                "--arms",
                "nce, adaptive, bridges, lebm",
                arm.name(),
                "omit it: N(0, I) needs no learning, and its divergence is --nats",
            ));
        }
        let (device, device_name) = self.device.open()?;
        let unfinished = match &self.out {
            Some(out) => {
                fs::create_dir_all(out).map_err(Error::io("create", out))?;
                Some(out.join("unfinished.jsonl"))
            }
            None => None,
        };
        let mut lines: Vec<ToyLine> = match &unfinished {
            Some(path) => read_lines(path)?,
            None => Vec::new(),
        };
        // Read at the start: the checkout may change during the run.
        let (commit, program) = (commit(), program()?);
        let mut runs = Vec::new();
        let mut pictures: Vec<f32> = Vec::new();
        println!(
            "KL(data ‖ prior) in nats: mean over {} seed(s), largest in brackets",
            self.seeds.len()
        );
        print!("{:<8}", "nats");
        let chosen: Vec<_> = TOYS
            .iter()
            .filter(|(arm, ..)| self.arms.contains(arm))
            .collect();
        chosen.iter().for_each(|(.., title)| print!("{title:<18}"));
        println!();
        for &nats in &self.nats {
            pictures.extend(toys::target_picture(&Ring::at(nats)?));
            print!("{nats:<8}");
            for &&(arm, stages, _) in &chosen {
                let mut found = Vec::new();
                for (k, &seed) in self.seeds.iter().enumerate() {
                    let plan = ToyPlan {
                        nats,
                        arm,
                        stages,
                        iterations: self.iterations,
                        batch: self.batch,
                        seed,
                    };
                    let settings = override_config(&toys::settings(&plan), &self.set)?;
                    let same = |line: &ToyLine| {
                        line.program == program
                            && line.device == device_name
                            && line.result.plan == plan
                            && line.result.settings == settings
                    };
                    let line = match lines.iter().position(same) {
                        Some(i) => lines.swap_remove(i),
                        None => {
                            let mut result = toys::run(&plan, &settings, &device)?;
                            let line = ToyLine {
                                program: program.clone(),
                                device: device_name.clone(),
                                density: std::mem::take(&mut result.density),
                                result,
                            };
                            if let Some(path) = &unfinished {
                                append(path, &line)?;
                            }
                            line
                        }
                    };
                    found.push(line.result.parts.divergence);
                    if k == 0 {
                        pictures.extend(&line.density);
                    }
                    runs.push(line.result);
                }
                let mean = found.iter().sum::<f64>() / found.len() as f64;
                let most = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                print!("{:<18}", format!("{mean:.3} [{most:.3}]"));
                let _ = std::io::stdout().flush();
            }
            println!();
        }
        let toys = Toys {
            commit,
            device: device_name,
            runs,
        };
        if let Some(out) = &self.out {
            artifact::write_pretty(&out.join("toys.json"), &toys)?;
            let columns = 1 + chosen.len();
            image::write_rows(
                &out.join("toys.png"),
                &pictures,
                columns * self.nats.len(),
                [1, PICTURE, PICTURE],
                columns,
            )?;
        }
        if let Some(path) = unfinished.filter(|p| p.exists()) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            // Keep the lines of other, unfinished commands.
            lines.iter().try_for_each(|line| append(&path, line))?;
        }
        if self.json {
            print_json(&toys)?;
        }
        Ok(Outcome::Done)
    }
}

/// Held-out-digit anomaly detection: runs every arm on the same split and prints base rates and the mean
/// of the last ten evaluations. No evaluation is selected by its test score.
///
/// Finished runs are kept in --out, one line each: after a kill, the same command continues.
#[derive(clap::Args)]
pub struct AnomalyArgs {
    /// Data set.
    #[arg(long, default_value = "mnist")]
    data: DatasetName,
    /// Digits to hold out, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 5, 7, 9])]
    digits: Vec<u8>,
    /// Arms: gaussian, lebm, nce, bridges, adaptive.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "gaussian,lebm,nce,bridges,adaptive"
    )]
    arms: Vec<Arm>,
    /// Seeds.
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    seeds: Vec<u64>,
    /// Epochs per run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(10..))]
    epochs: u64,
    /// Iterations per run, instead of epochs; evaluated ten times in the second half.
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(20..))]
    iterations: Option<u64>,
    /// Seconds of learning per run, instead of epochs: equal wall-clock time for every arm.
    #[arg(long)]
    seconds: Option<f64>,
    /// Recipe.
    #[arg(long, default_value = "cpu")]
    preset: String,
    /// Override a setting of the recipe [default: eight latent dimensions, as published].
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Gradient steps per anomaly score.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Use only every KEEP-th test image.
    #[arg(long, default_value_t = 1)]
    keep: usize,
    /// File of finished runs (JSON lines).
    #[arg(long, default_value = "runs/anomaly.jsonl")]
    out: PathBuf,
    /// Folder with the data set's files; nothing is downloaded.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
}

/// A finished run with everything its result depends on.
#[derive(Serialize, Deserialize)]
struct Line {
    data: String,
    steps: usize,
    keep: usize,
    recipe: Recipe,
    result: AnomalyResult,
}

impl AnomalyArgs {
    /// Runs what is not finished and prints the table.
    ///
    /// # Errors
    /// Whatever reading, learning or writing reports.
    pub fn run(self) -> Result<Outcome> {
        let budget = match (self.seconds, self.iterations) {
            (Some(seconds), _) if seconds.is_finite() && seconds > 0.0 => Budget::Seconds(seconds),
            (Some(seconds), _) => {
                let fix = "give a positive number";
                return Err(Error::invalid(
                    "--seconds",
                    "a positive number",
                    seconds,
                    fix,
                ));
            }
            (None, Some(n)) => Budget::Iterations(n),
            (None, None) => Budget::Epochs(self.epochs),
        };
        let preset = PRESETS.iter().find(|(name, _)| *name == self.preset);
        let (_, preset) = preset.ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|p| p.0).collect();
            Error::invalid(
                "preset",
                names.join(", "),
                &self.preset,
                "choose one of these",
            )
        })?;
        let mut recipe = preset();
        recipe.latent.generator.latent = 8;
        let recipe = override_config(&recipe, &self.set)?;
        let source = Source {
            data_dir: self.data_dir.clone(),
            ..Source::default()
        };
        let [first, second] =
            [Split::Train, Split::Test].map(|s| data::load(self.data, s, &source));
        let (first, second) = (first?, second?);
        let (device, device_name) = self.device.open()?;
        if let Some(folder) = self.out.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let mut lines: Vec<Line> = read_lines(&self.out)?;
        // Lines of other recipes stay in the file but not in the table.
        lines.retain(|line| {
            let mut recipe = recipe.clone();
            recipe.latent.prior.arm = line.recipe.latent.prior.arm;
            recipe.seed = line.recipe.seed;
            line.data == self.data.to_string()
                && (line.steps, line.keep) == (self.steps, self.keep)
                && line.recipe == recipe
        });
        for &digit in &self.digits {
            let pool = Pool::new([&first, &second], digit, self.keep)?;
            for &arm in &self.arms {
                for &seed in &self.seeds {
                    let mut recipe = recipe.clone();
                    recipe.latent.prior.arm = arm;
                    recipe.seed = seed;
                    let same = |line: &Line| {
                        line.recipe.latent.prior.arm == arm
                            && line.recipe.seed == seed
                            && line.result.digit == digit
                            && line.result.budget == budget
                    };
                    if lines.iter().any(same) {
                        continue;
                    }
                    eprintln!("digit {digit}, {}, seed {seed}", arm.name());
                    let stage = &recipe.latent;
                    let mut report =
                        |prc: f64, roc: f64| eprintln!("  AUPRC {prc:.3}, AUROC {roc:.3}");
                    let (auprc, auroc, training, seconds) =
                        run(stage, seed, &pool, budget, self.steps, &device, &mut report)?;
                    let line = Line {
                        data: self.data.to_string(),
                        steps: self.steps,
                        keep: self.keep,
                        result: AnomalyResult {
                            digit,
                            arm: arm.name().into(),
                            seed,
                            budget,
                            base_rate: pool.base_rate(),
                            images: pool.test.count,
                            auprc,
                            auroc,
                            iterations: training.iteration,
                            stages: training.prior.learned().len(),
                            seconds,
                            device: device_name.clone(),
                            commit: commit(),
                        },
                        recipe,
                    };
                    append(&self.out, &line)?;
                    lines.push(line);
                }
            }
        }
        self.print(&lines, budget);
        Ok(Outcome::Done)
    }

    /// Prints the requested digits and arms as a table.
    fn print(&self, lines: &[Line], budget: Budget) {
        println!(
            "AUPRC (AUROC), mean of ten evaluations; ± sd over seeds; base rate = AUPRC of chance"
        );
        print!("{:<7}{:<11}", "digit", "base rate");
        self.arms.iter().for_each(|a| print!("{:<24}", a.name()));
        println!();
        for &digit in &self.digits {
            let mut cells: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
            let mut base = f64::NAN;
            for line in lines {
                let r = &line.result;
                if r.digit != digit || r.budget != budget || !self.seeds.contains(&r.seed) {
                    continue;
                }
                base = r.base_rate;
                let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
                let cell = cells.entry(&r.arm).or_default();
                cell.0.push(mean(&r.auprc));
                cell.1.push(mean(&r.auroc));
            }
            print!("{digit:<7}{base:<11.3}");
            for arm in &self.arms {
                let text = cells.get(arm.name()).map_or("–".into(), |(prc, roc)| {
                    let n = prc.len() as f64;
                    let mean = prc.iter().sum::<f64>() / n;
                    let sd = (prc.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
                        / (n - 1.0).max(1.0))
                    .sqrt();
                    let spread = if prc.len() > 1 {
                        format!(" ± {sd:.3}")
                    } else {
                        String::new()
                    };
                    format!("{mean:.3}{spread} ({:.3})", roc.iter().sum::<f64>() / n)
                });
                print!("{text:<24}");
            }
            println!();
        }
    }
}

/// SHA-256 of the running program.
fn program() -> Result<String> {
    let path = std::env::current_exe().map_err(Error::io("find", "this program"))?;
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    Ok(format!("{:x}", Sha256::digest(&bytes)))
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    // Skip lines that were cut short by a kill or have an older recipe's fields: those runs are
    // repeated.
    Ok(text
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect())
}

fn append(path: &Path, line: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(line)
        .map_err(|e| Error::model("a finished run", e, "report this as a bug"))?;
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    // Begin with a newline: the previous line may have been cut short.
    writeln!(file, "\n{text}").map_err(Error::io("write", path))
}
