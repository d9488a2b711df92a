//! `mixwell eval`, `mixwell score` and `mixwell generate`.

use std::path::PathBuf;

use super::{Outcome, device::DeviceName, print_json};
use crate::{
    artifact,
    data::{DataRef, Source, folder},
    error::{Error, Result},
    eval::{Setting, card_from_report, evaluate, report::Plan},
    image, pixels,
    session::studio::{ConditionConfig, ConditionSource, InpaintConfig, Studio, StudioModel},
    system::{classifier::verdict, clel::compose::Role},
};

/// Evaluate a model: distance of its samples from the data, energies, out-of-distribution detection,
/// nearest training images. Writes eval.json, scores.json and pictures beside the model, and the main
/// numbers onto its card.
#[derive(clap::Args)]
pub struct EvalArgs {
    /// Model: a name under models/, or a folder.
    model: String,
    /// Number of samples N. Distances fall with N: compare at equal N only.
    #[arg(long, default_value_t = 1000)]
    samples: usize,
    /// Seed of the samples, the synthetic sets and the bootstrap.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds of augmentation and steps [default: the model's own, 10 for CLEL].
    #[arg(long)]
    rounds: Option<usize>,
    /// Steps per round [default: those of the training chains].
    #[arg(long)]
    steps: Option<usize>,
    /// Largest number of images per scored set.
    #[arg(long, default_value_t = 2000)]
    images: usize,
    /// Out-of-distribution set: a data set's name, or a folder of images. May be repeated.
    #[arg(long, value_name = "NAME_OR_FOLDER")]
    ood: Vec<String>,
    /// Bootstrap resamples per interval.
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// Number of samples whose nearest training image is searched.
    #[arg(long, default_value_t = 32)]
    neighbours: usize,
    /// Use only the first N training images as FID reference [default: all].
    #[arg(long)]
    reference: Option<usize>,
    /// Baseline model evaluated with the same options: its main numbers are added to this card.
    #[arg(long, value_name = "MODEL")]
    against: Option<String>,
    /// FID network (PyTorch's pt_inception-2015-12-05-6726825d.pth, or safetensors with the same
    /// names). Without it, FID is not computed.
    #[arg(long, value_name = "FILE")]
    inception: Option<PathBuf>,
    /// File for the samples (safetensors): reused if made with the same options, otherwise sampled and
    /// written.
    #[arg(long, value_name = "FILE")]
    keep_samples: Option<PathBuf>,
    /// Classifier for the feature distance (which is not FID) [default: models/classifier-DATA, if
    /// present].
    #[arg(long)]
    classifier: Option<String>,
    /// The model's training data, if it is your own folder.
    #[arg(long, value_name = "FOLDER")]
    data: Option<DataRef>,
    /// Evaluate nothing; rewrite the card from eval.json (and from the baseline's with --against).
    #[arg(long)]
    card_only: bool,
    /// Folder with the data sets' files; nothing is downloaded.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print the whole report as JSON.
    #[arg(long)]
    json: bool,
}

/// The classifier in the folder beside a model's, if present.
fn classifier_beside(model: &str) -> Result<Option<String>> {
    let folder = artifact::find_model(model)?;
    let card = artifact::read_card(model)?;
    let beside = folder
        .parent()
        .map(|p| p.join(format!("classifier-{}", card.data.name)));
    Ok(beside
        .filter(|p| p.join("card.json").is_file())
        .map(|p| p.to_string_lossy().into_owned()))
}

impl EvalArgs {
    /// Evaluates, writes the report, prints it.
    ///
    /// # Errors
    /// Whatever loading, computing or writing reports.
    pub fn run(self) -> Result<Outcome> {
        if self.card_only {
            let (device, _) = self.device.open()?;
            card_from_report(&self.model, self.against.as_deref(), &device)?;
            return Ok(Outcome::Done);
        }
        let plan = Plan {
            samples: self.samples,
            seed: self.seed,
            rounds: self.rounds,
            steps: self.steps,
            images: self.images,
            others: self.ood,
            resamples: self.resamples,
            neighbours: self.neighbours,
            reference: self.reference,
        };
        let classifier = match self.classifier {
            Some(name) => Some(name),
            None => classifier_beside(&self.model)?,
        };
        let source = Source {
            data_dir: self.data_dir,
            ..Source::default()
        };
        let report = evaluate(
            &plan,
            Setting {
                model: &self.model,
                classifier: classifier.as_deref(),
                against: self.against.as_deref(),
                inception: self.inception,
                kept_samples: self.keep_samples,
                data: self.data,
                load: &|data, split, shape| data.load(split, &source, shape),
                device: self.device.open()?,
                note: &mut |text| eprintln!("{text}"),
            },
        )?;
        if self.json {
            print_json(&report)?;
            return Ok(Outcome::Done);
        }
        println!(
            "{}: {} samples of {} gradients each, seed {}",
            report.model, plan.samples, report.gradients, plan.seed
        );
        match &report.fid {
            Some(d) => println!(
                "FID {:.2} (test images: {:.2}), {} samples against {} training images",
                d.value, d.floor, d.samples, d.images
            ),
            None => println!("no FID: name the network's file with --inception FILE"),
        }
        if let Some(d) = &report.classifier_feature_distance {
            println!(
                "feature distance of our {}: {:.2} (test images: {:.2}); not FID",
                d.network, d.value, d.floor
            );
        }
        println!("\nE         mean ± sd");
        for (name, h) in &report.energies {
            println!(
                "  {name:<8}{:.5} ± {:.5}  ({} images)",
                h.mean, h.sd, h.images
            );
        }
        println!("\nAUROC against the test set, 95 % intervals (0.5: indistinguishable)");
        println!("  {:<16}{:<26}OOD score", "", "energy");
        for (name, a) in &report.auroc {
            let text = |i: &crate::artifact::scores::Interval| {
                format!("{:.3} [{:.3}, {:.3}]", i.value, i.low, i.high)
            };
            println!(
                "  {name:<16}{:<26}{}",
                text(&a.energy),
                a.ood.as_ref().map_or("–".into(), text)
            );
        }
        println!(
            "\nnearest training image: samples {:.4}, test images {:.4} (RMS per pixel, {} each)",
            report.neighbours.samples, report.neighbours.test, report.neighbours.images
        );
        Ok(Outcome::Done)
    }
}

/// A Studio with a model, its classifier and its reference scores.
fn open(model: &str, device: DeviceName) -> Result<(Studio, StudioModel)> {
    let (device, _) = device.open()?;
    let (card, weights) = artifact::read_files(model)?;
    let classifier = classifier_beside(model)?
        .map(|name| artifact::read_files(&name))
        .transpose()?;
    let scores = artifact::find_model(model)?.join(artifact::SCORES);
    let scores = match scores.is_file() {
        true => Some(std::fs::read(&scores).map_err(Error::io("read", &scores))?),
        false => None,
    };
    let mut studio = Studio::new(device);
    let classifier = classifier.as_ref().map(|(card, w)| (card.clone(), &w[..]));
    let info = pollster::block_on(studio.load(card, &weights, classifier, scores.as_deref()))?;
    Ok((studio, info))
}

/// Score images: energy, out-of-distribution score, and the percentile of both among known sets.
#[derive(clap::Args)]
pub struct ScoreArgs {
    /// Model: a name under models/, or a folder.
    model: String,
    /// Images; each is centre-cropped to a square and scaled to the model's size.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ScoreArgs {
    /// Scores and prints.
    ///
    /// # Errors
    /// [`Error::Data`] for a file that is not a usable image; whatever loading reports.
    pub fn run(self) -> Result<Outcome> {
        let (mut studio, info) = open(&self.model, self.device)?;
        let mut all = Vec::new();
        for path in &self.images {
            let bytes = folder::decode(path, info.shape)?;
            let score = pollster::block_on(studio.score(&bytes))?;
            if self.json {
                all.push(serde_json::json!({ "image": path, "score": score }));
                continue;
            }
            let ood = score
                .ood
                .map_or(String::new(), |v| format!(", OOD score {v:.5}"));
            println!("{}: E {:.5}{ood}", path.display(), score.energy);
            for (set, p) in info.sets.iter().zip(&score.percentiles) {
                let text = |p: &crate::artifact::scores::Percentile| {
                    format!(
                        "{:.1} % [{:.1}, {:.1}]",
                        100.0 * p.below,
                        100.0 * p.low,
                        100.0 * p.high
                    )
                };
                println!(
                    "  of {:<36} score below: E {}{}",
                    set.title,
                    text(&p.energy),
                    p.ood
                        .as_ref()
                        .map_or(String::new(), |p| format!(", OOD {}", text(p)))
                );
            }
        }
        if self.json {
            print_json(&all)?;
        }
        Ok(Outcome::Done)
    }
}

/// Generate images, optionally under conditions or by inpainting, and write them as a PNG grid.
#[derive(clap::Args)]
pub struct GenerateArgs {
    /// Model: a name under models/, or a folder.
    model: String,
    /// PNG file for the grid.
    #[arg(long)]
    out: PathBuf,
    /// Number of images.
    #[arg(long, default_value_t = 36)]
    count: usize,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps per round [default: the model's own].
    #[arg(long)]
    steps: Option<usize>,
    /// Rounds of augmentation and steps [default: the model's own].
    #[arg(long)]
    rounds: Option<usize>,
    /// Multiple of the model's own temperature.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Scale of the initial noise.
    #[arg(long, default_value_t = 1.0)]
    truncation: f64,
    /// Strength β of the conditions.
    #[arg(long)]
    beta: Option<f64>,
    /// AND: a condition that must hold; a class name or an image file. May be repeated.
    #[arg(long, value_name = "CLASS_OR_IMAGE")]
    all: Vec<String>,
    /// OR: at least one of these conditions must hold. May be repeated.
    #[arg(long, value_name = "CLASS_OR_IMAGE")]
    any: Vec<String>,
    /// NOT: a condition that must not hold. May be repeated.
    #[arg(long, value_name = "CLASS_OR_IMAGE")]
    none: Vec<String>,
    /// Inpainting: keep part of this image and let the chains fill the rest.
    #[arg(long, value_name = "IMAGE")]
    keep: Option<PathBuf>,
    /// The half that is kept.
    #[arg(long, value_enum, default_value = "top")]
    part: Part,
    /// Compute device.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print the last frame, without the images, as JSON.
    #[arg(long)]
    json: bool,
}

/// Half of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Top,
    Bottom,
    Left,
    Right,
}

impl GenerateArgs {
    /// Generates, writes, prints.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown class or a setting outside its domain; whatever loading and
    /// writing reports.
    pub fn run(self) -> Result<Outcome> {
        let (mut studio, info) = open(&self.model, self.device)?;
        let shape @ [_, h, w] = info.shape;
        let of = |text: &String| -> Result<ConditionSource> {
            if let Some(k) = info.classes.iter().position(|c| c == text) {
                return Ok(ConditionSource::Class(k));
            }
            if std::path::Path::new(text).is_file() {
                return Ok(ConditionSource::Image(folder::decode(
                    text.as_ref(),
                    shape,
                )?));
            }
            Err(Error::invalid(
                "condition",
                format!("a class ({}) or an image file", info.classes.join(", ")),
                text,
                "choose one of these",
            ))
        };
        let mut conditions = Vec::new();
        for (texts, role) in [
            (&self.all, Role::All),
            (&self.any, Role::Any),
            (&self.none, Role::None),
        ] {
            for text in texts {
                conditions.push(ConditionConfig {
                    of: of(text)?,
                    role,
                    weight: 1.0,
                });
            }
        }
        let inpaint = match &self.keep {
            Some(path) => {
                let kept = |i: usize| match self.part {
                    Part::Top => i / w < h / 2,
                    Part::Bottom => i / w >= h / 2,
                    Part::Left => i % w < w / 2,
                    Part::Right => i % w >= w / 2,
                };
                Some(InpaintConfig {
                    image: folder::decode(path, shape)?,
                    known: (0..h * w).map(|i| u8::from(kept(i))).collect(),
                })
            }
            None => None,
        };
        let mut config = info.defaults.clone();
        config.seed = self.seed;
        config.count = self.count;
        config.steps = self.steps.unwrap_or(config.steps);
        config.rounds = self.rounds.unwrap_or(config.rounds);
        config.temperature = self.temperature;
        config.truncation = self.truncation;
        config.beta = self.beta.unwrap_or(config.beta);
        (config.conditions, config.inpaint) = (conditions, inpaint);
        let frame = pollster::block_on(async {
            let mut frame = studio.begin(config).await?;
            let bar = indicatif::ProgressBar::new(frame.of as u64);
            while frame.step < frame.of {
                frame = studio.advance(10).await?;
                bar.set_position(frame.step as u64);
            }
            Ok::<_, Error>(frame)
        })?;
        let values: Vec<f32> = frame.images.0.iter().map(|&v| pixels::centre(v)).collect();
        image::write_grid(&self.out, &values, self.count, shape)?;
        let mut summary = frame.clone();
        summary.images.0.clear();
        if self.json {
            print_json(&summary)?;
            return Ok(Outcome::Done);
        }
        println!(
            "{} images after {} steps at T = σ²/(2a) = {:.2e} (a = {}, σ = {})",
            self.count, frame.of, frame.temperature, frame.drift, frame.noise
        );
        for term in &frame.terms {
            let cosine = term
                .cosine
                .map_or(String::new(), |c| format!(", cos {c:.3}"));
            println!(
                "  {} ({}): E {:.5}{cosine}",
                term.name, term.role, term.energy
            );
        }
        if let Some(probabilities) = &frame.verdict {
            let mut counts = vec![0; info.classes.len()];
            for row in probabilities.0.chunks(counts.len()) {
                counts[verdict(row)] += 1;
            }
            let text: Vec<String> = info
                .classes
                .iter()
                .zip(&counts)
                .filter(|(_, n)| **n > 0)
                .map(|(c, n)| format!("{c} {n}"))
                .collect();
            println!("  the independent classifier says: {}", text.join(", "));
        }
        println!("  written to {}", self.out.display());
        Ok(Outcome::Done)
    }
}
