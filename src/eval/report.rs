//! `mixwell eval`: one model, measured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    auroc_interval,
    fid::{Moments, frechet},
    inception::Inception,
};
use crate::{
    artifact::{
        self, Card,
        scores::{Interval, ScoredSet, Scores, quantiles},
    },
    data::{self, DataRef, Dataset, DatasetName, Split},
    device::read,
    error::{Error, Result},
    image, pixels,
    rng::{Purpose, Rng},
    session::studio::{Studio, StudioConfig},
    system::{
        self, Model,
        classifier::{Classifier, verdict},
        clel::Clel,
        latent_prior::{self, STEPS},
    },
    train::commit,
};

/// What is to be measured, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Samples N.
    pub samples: usize,
    /// Seed of samples, synthetic sets and the bootstrap.
    pub seed: u64,
    /// Rounds of augmentation and steps; the model's own, if left out.
    pub rounds: Option<usize>,
    /// Steps of a round, likewise.
    pub steps: Option<usize>,
    /// Images of each scored set, at most.
    pub images: usize,
    /// Other sets: names of data sets, or folders of images.
    pub others: Vec<String>,
    /// Resamples of each bootstrap interval.
    pub resamples: usize,
    /// Samples whose nearest training images are looked up.
    pub neighbours: usize,
    /// Training images that FID is measured to, the first so many; all, if left out. (The features of
    /// our own classifier cost little: they are always measured to all.)
    pub reference: Option<usize>,
}

/// A distance between the samples' features and those of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Samples to training images.
    pub value: f64,
    /// As many test images to the training images: what perfect samples would have.
    pub floor: f64,
    /// N of the samples and of the test images.
    pub samples: usize,
    /// Training images.
    pub images: usize,
    /// The network.
    pub network: String,
}

/// Mean, spread and extremes of energies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Number of images.
    pub images: usize,
    /// Mean E.
    pub mean: f64,
    /// Its standard deviation.
    pub sd: f64,
    /// Edges of the bins, one more than there are counts; the same for all sets.
    pub edges: Vec<f64>,
    /// Images in each bin; what lies outside is in the outer bins.
    pub counts: Vec<usize>,
}

/// Nearest training images of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Mean over samples of the root mean square difference, a pixel, to the nearest training image.
    pub samples: f64,
    /// The same from as many test images: smaller distances would mean copies.
    pub test: f64,
    /// Images looked up on each side.
    pub images: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// What was asked.
    pub plan: Plan,
    /// FID (Heusel et al. 2017); only with the published network.
    pub fid: Option<Distance>,
    /// Fréchet distance of our own classifier's features: no FID.
    pub classifier_feature_distance: Option<Distance>,
    /// Of what the classifier takes the samples for: the share of each class.
    pub classes: BTreeMap<String, f64>,
    /// Mean over the samples of the classifier's largest probability.
    pub confidence: Option<f64>,
    /// E of training, test and generated images.
    pub energies: BTreeMap<String, Histogram>,
    /// AUROC of other sets against the test set.
    pub auroc: BTreeMap<String, Aurocs>,
    /// Nearest training images.
    pub neighbours: Neighbours,
    /// Gradient evaluations of each sample.
    pub gradients: usize,
    /// Seconds in all.
    pub seconds: f64,
    /// Where it ran.
    pub device: String,
    /// Commit of the program.
    pub commit: String,
}

/// By both scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aurocs {
    /// By E alone.
    pub energy: Interval,
    /// By the paper's score; none without an encoder.
    pub ood: Option<Interval>,
}

/// Reads a split of a data set, as `[channels, height, width]`.
pub type Load<'a> = dyn Fn(&DataRef, Split, [usize; 3]) -> Result<Dataset> + 'a;

/// Where things come from.
pub struct Setting<'a> {
    /// Model: a name or a folder.
    pub model: &'a str,
    /// The classifier's folder or name.
    pub classifier: Option<&'a str>,
    /// A baseline that was measured by the same plan: its main numbers go onto this card, too.
    pub against: Option<&'a str>,
    /// The FID network's file.
    pub inception: Option<PathBuf>,
    /// Where samples are kept: read where they were made by the same plan, written otherwise.
    pub kept_samples: Option<PathBuf>,
    /// The data the model was trained on, where its card's name is none of a known set.
    pub data: Option<DataRef>,
    /// Reads a split of a data set, in a shape.
    pub load: &'a Load<'a>,
    /// Device and its name for people.
    pub device: (Device, String),
    /// Told what is going on.
    pub note: &'a mut dyn FnMut(&str),
}

/// Images of a chunk that passes through a network at once.
const CHUNK: usize = 100;

/// Measures a model and writes `eval.json`, `scores.json`, `samples.png` and `neighbours.png` beside
/// its files, the main numbers onto its card, and the manifest.
///
/// # Errors
/// Whatever reading, computing or writing reports.
pub fn evaluate(plan: &Plan, setting: Setting<'_>) -> Result<Report> {
    let began = std::time::Instant::now();
    let (device, device_name) = setting.device;
    let note = setting.note;
    Error::unless_within("samples", plan.samples, 2, 1_000_000)?;
    Error::unless_within("images", plan.images, 2, 1_000_000)?;
    let folder = artifact::find_model(setting.model)?;
    let (mut card, weights) = artifact::read_files(setting.model)?;
    let model = system::load(&card, &weights, &device)?;
    let known = || card.data.name.parse::<DatasetName>().map(DataRef::Known);
    let data = setting.data.clone().map_or_else(known, Ok).map_err(|_| {
        Error::invalid(
            "data set",
            "--data, since the model learned from a set of its maker's own",
            "none",
            format!("give the folder that {} is called after", card.data.name),
        )
    })?;
    let shape = model.shape();
    let train = (setting.load)(&data, Split::Train, shape)?;
    let test = (setting.load)(&data, Split::Test, shape)?;
    let dim: usize = shape.iter().product();
    let judge = match setting.classifier {
        Some(name) => {
            let (card, weights) = artifact::read_files(name)?;
            Some(Classifier::open(&card, &weights, &device)?)
        }
        None => None,
    };
    // Before the hours of sampling: a file may be missing.
    let baseline = setting.against.map(read_report).transpose()?;
    if let Some(baseline) = &baseline {
        same_plan(baseline, plan)?;
    }
    let inception = setting
        .inception
        .map(|path| Inception::open(&path, &device))
        .transpose()?;

    let made_by = MadeBy::new(plan, &card);
    let kept = setting.kept_samples.as_deref();
    let (samples, gradients) = match kept.map(|path| made_by.read(path, dim)).transpose()? {
        Some(Some(kept)) => {
            note("the kept samples are of this plan: taken from the file");
            kept
        }
        _ => {
            note(&format!("sampling {} images", plan.samples));
            let made = sample(plan, &card, &weights, &device, note)?;
            if let Some(path) = kept {
                made_by.write(path, &made.0, made.1, shape)?;
            }
            made
        }
    };
    let grid: Vec<f32> = samples.iter().map(|&v| pixels::centre(v)).collect();
    let shown = plan.samples.min(64);
    image::write_grid(
        &folder.join("samples.png"),
        &grid[..shown * dim],
        shown,
        shape,
    )?;

    let pick = |data: &Dataset, n: usize| data.images[..n.min(data.count) * dim].to_vec();
    let floor = pick(&test, plan.samples);
    let mut distance = |network: &str, images: usize, features: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        note(&format!("features of {network}"));
        let moments = |images: &[u8]| -> Result<Moments> {
            let mut moments: Option<Moments> = None;
            for chunk in images.chunks(CHUNK * dim) {
                let f = features(pixels::tensor(chunk, dim, &device));
                let [_, width] = f.dims();
                let values: Vec<f32> = pollster::block_on(read(f))?;
                moments
                    .get_or_insert_with(|| Moments::new(width))
                    .add(&values)?;
            }
            moments.ok_or_else(|| {
                Error::invalid("images", "at least one", "none", "take more samples")
            })
        };
        let real = moments(&train.images[..images * dim])?;
        Ok::<_, Error>(Distance {
            value: frechet(&moments(&samples)?, &real)?,
            floor: frechet(&moments(&floor)?, &real)?,
            samples: plan.samples,
            images,
            network: network.into(),
        })
    };
    let classifier_feature_distance = judge
        .as_ref()
        .map(|judge| distance(&judge.title, train.count, &|x| judge.features(x)))
        .transpose()?;
    let fid = inception
        .as_ref()
        .map(|net| {
            let images = plan.reference.unwrap_or(train.count).min(train.count);
            distance("Inception-v3 (2015-12-05), pool3", images, &|x| {
                let [n, _] = x.dims();
                let [c, h, w] = shape;
                net.features(x.reshape([n, c, h, w]))
            })
        })
        .transpose()?;

    let mut classes = BTreeMap::new();
    let mut confidence = None;
    if let Some(judge) = &judge {
        let mut sure = 0.0;
        for chunk in samples.chunks(CHUNK * dim) {
            let p = judge.probabilities(pixels::tensor(chunk, dim, &device));
            let p: Vec<f32> = pollster::block_on(read(p))?;
            for row in p.chunks(judge.classes.len()) {
                let best = verdict(row);
                sure += f64::from(row[best]) / plan.samples as f64;
                *classes.entry(judge.classes[best].clone()).or_insert(0.0) +=
                    1.0 / plan.samples as f64;
            }
        }
        confidence = Some(sure);
    }

    note("energies and scores");
    let scored = |images: &[u8]| scores(&*model, images, dim, &device);
    let inside = scored(&pick(&test, plan.images))?;
    let trained = scored(&pick(&train, plan.images))?;
    let generated = scored(&samples)?;
    let energies = histograms(&[
        ("train", &trained.0),
        ("test", &inside.0),
        ("samples", &generated.0),
    ]);

    let rng = Rng::new(plan.seed);
    let mut sets = vec![set(&test.name, &format!("{} (test)", test.title), &inside)];
    let mut auroc = BTreeMap::new();
    let mut others = vec![
        (
            "flat".to_owned(),
            "flat greys".to_owned(),
            flat(plan.images, shape),
        ),
        (
            "noise".to_owned(),
            "uniform noise".to_owned(),
            noise(plan.images, dim, &rng),
        ),
    ];
    for other in &plan.others {
        let (short, title, set) = match other.parse::<DatasetName>() {
            Ok(name) => {
                let spec = name.spec();
                let data = (setting.load)(&DataRef::Known(name), Split::Test, shape)?;
                (spec.name.to_owned(), format!("{} (test)", spec.title), data)
            }
            Err(_) => {
                let set = data::folder::load(other.as_ref(), shape, plan.images)?;
                (set.name.clone(), set.name.clone(), set)
            }
        };
        if set.shape() != shape {
            return Err(Error::invalid(
                other,
                format!("images {shape:?}"),
                format!("{:?}", set.shape()),
                "give it as a folder of images: those are scaled",
            ));
        }
        others.push((short, title, pick(&set, plan.images)));
    }
    others.push((
        "samples".into(),
        "the model's own samples".into(),
        samples.clone(),
    ));
    for (k, (short, title, images)) in others.iter().enumerate() {
        let outside = scored(images)?;
        let rng = rng.derived(Purpose::Jump, k as u64);
        let area = |a: &[f32], b: &[f32]| auroc_interval(a, b, plan.resamples, &rng);
        let found = Aurocs {
            energy: area(&inside.0, &outside.0)?,
            ood: match (&inside.1, &outside.1) {
                (Some(a), Some(b)) => Some(area(a, b)?),
                _ => None,
            },
        };
        auroc.insert(short.clone(), found);
        sets.push(ScoredSet {
            auroc: found.ood,
            auroc_energy: Some(found.energy),
            ..set(short, title, &outside)
        });
    }

    note("nearest training images");
    let n = plan.neighbours.min(plan.samples).min(test.count);
    let (near, distances) = nearest(&samples[..n * dim], &train, dim);
    let (_, control) = nearest(&test.images[..n * dim], &train, dim);
    let pairs: Vec<f32> = (0..n)
        .flat_map(|i| {
            let sample = &samples[i * dim..(i + 1) * dim];
            let image = &train.images[near[i] * dim..(near[i] + 1) * dim];
            sample
                .iter()
                .chain(image)
                .map(|&v| pixels::centre(v))
                .collect::<Vec<_>>()
        })
        .collect();
    image::write_grid(&folder.join("neighbours.png"), &pairs, 2 * n, shape)?;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;

    let report = Report {
        model: card.name.clone(),
        plan: plan.clone(),
        fid,
        classifier_feature_distance,
        classes,
        confidence,
        energies,
        auroc,
        neighbours: Neighbours {
            samples: mean(&distances),
            test: mean(&control),
            images: n,
        },
        gradients,
        seconds: began.elapsed().as_secs_f64(),
        device: device_name,
        commit: commit(),
    };
    artifact::write_pretty(&folder.join("eval.json"), &report)?;
    let scores = Scores {
        format: 1,
        model: card.name.clone(),
        sets,
        seed: plan.seed,
        commit: report.commit.clone(),
    };
    artifact::write_pretty(&folder.join(artifact::SCORES), &scores)?;
    write_card(&mut card, &report, baseline.as_ref(), &*model)?;
    artifact::write_model(&folder, &card, &weights)?;
    if let Some(models) = folder.parent() {
        artifact::write_manifest(models)?;
    }
    Ok(report)
}

/// Writes the main numbers of an earlier report onto the model's card again, with those of a baseline.
///
/// # Errors
/// [`Error::Data`] where there is no report, or the baseline's was measured otherwise; whatever reading
/// and writing say.
pub fn card_from_report(model: &str, against: Option<&str>, device: &Device) -> Result<()> {
    let folder = artifact::find_model(model)?;
    let (mut card, weights) = artifact::read_files(model)?;
    let loaded = system::load(&card, &weights, device)?;
    let report = read_report(model)?;
    let baseline = against.map(read_report).transpose()?;
    if let Some(baseline) = &baseline {
        same_plan(baseline, &report.plan)?;
    }
    write_card(&mut card, &report, baseline.as_ref(), &*loaded)?;
    artifact::write_model(&folder, &card, &weights)?;
    match folder.parent() {
        Some(models) => artifact::write_manifest(models),
        None => Ok(()),
    }
}

/// What begins a failure that was found by measuring, so that the next measurement replaces it.
const MEASURED: &str = "Measured: ";

/// Below this area a set is hardly told from the model's own.
const HARDLY: f64 = 0.8;
/// Class means of a larger cosine are hardly two conditions.
const NEARLY_ONE: f64 = 0.9;

fn write_card(
    card: &mut Card,
    report: &Report,
    baseline: Option<&Report>,
    model: &dyn Model,
) -> Result<()> {
    // What an earlier measurement had and this one has not must not stay.
    card.metrics.retain(|key, _| {
        let measured = [
            "fid",
            "classifier_feature_distance",
            "neighbours",
            "baseline",
        ];
        !measured.contains(&key.as_str()) && !key.starts_with("auroc_")
    });
    onto_card(card, report);
    if let Some(baseline) = baseline {
        let mut other = card.clone();
        other.metrics.clear();
        onto_card(&mut other, baseline);
        let value = serde_json::json!({ "model": baseline.model, "metrics": other.metrics });
        card.metrics.insert("baseline".into(), value);
    }
    card.known_failures.retain(|f| !f.starts_with(MEASURED));
    for (name, a) in &report.auroc {
        let best = a.ood.map_or(a.energy.value, |ood| ood.value);
        if name != "samples" && best < HARDLY {
            card.known_failures.push(format!(
                "{MEASURED}it hardly tells {name} from its own test images (AUROC {best:.2})."
            ));
        }
    }
    if let Some(clel) = model
        .downcast_ref::<Clel>()
        .filter(|clel| clel.has_latents())
    {
        let means = clel.class_latents()?;
        let [count, _] = means.dims();
        let cosines = means.clone().matmul(means.transpose());
        let cosines: Vec<f64> = pollster::block_on(read(cosines))?;
        for i in 0..count {
            for j in i + 1..count {
                let cos = cosines[i * count + j];
                if cos > NEARLY_ONE {
                    let name = |k: usize| card.data.classes.get(k).cloned().unwrap_or_default();
                    card.known_failures.push(format!(
                        "{MEASURED}the mean latents of {} and {} are nearly one direction (cosine {cos:.2}): as conditions they bring images of both.",
                        name(i), name(j)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The report of a model that was it was measured before.
fn read_report(name: &str) -> Result<Report> {
    let path = artifact::find_model(name)?.join("eval.json");
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    serde_json::from_slice(&text).map_err(|e| Error::Data {
        path: path.clone(),
        problem: format!("expected a report of eval, found another file ({e})"),
        fix: "measure the model first".into(),
    })
}

fn same_plan(baseline: &Report, plan: &Plan) -> Result<()> {
    if baseline.plan == *plan {
        return Ok(());
    }
    Err(Error::invalid(
        "baseline",
        format!("one measured by the plan {plan:?}"),
        format!("{:?}", baseline.plan),
        "measure both models with the same options",
    ))
}

/// The main numbers, with what they were measured on.
fn onto_card(card: &mut Card, report: &Report) {
    let mut put = |key: &str, value: serde_json::Value| {
        card.metrics.insert(key.into(), value);
    };
    let distance = |d: &Distance| {
        serde_json::json!({
            "value": d.value, "floor": d.floor, "samples": d.samples, "images": d.images,
            "network": d.network, "seed": report.plan.seed, "gradients": report.gradients,
        })
    };
    if let Some(d) = &report.fid {
        put("fid", distance(d));
    }
    if let Some(d) = &report.classifier_feature_distance {
        put("classifier_feature_distance", distance(d));
    }
    for (name, found) in &report.auroc {
        put(&format!("auroc_{name}"), serde_json::json!(found));
    }
    put("neighbours", serde_json::json!(report.neighbours));
}

/// What kept samples depend on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MadeBy {
    model: String,
    known_answer: String,
    samples: usize,
    seed: u64,
    rounds: Option<usize>,
    steps: Option<usize>,
    #[serde(default)]
    gradients: usize,
}

impl MadeBy {
    fn new(plan: &Plan, card: &Card) -> Self {
        Self {
            model: card.name.clone(),
            // Another training has other energies.
            known_answer: format!("{:?}", card.known_answer.energies),
            samples: plan.samples,
            seed: plan.seed,
            rounds: plan.rounds,
            steps: plan.steps,
            gradients: 0,
        }
    }

    /// The samples of a file and the gradients of each, if they were made by this.
    fn read(&self, path: &Path, dim: usize) -> Result<Option<(Vec<u8>, usize)>> {
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let problem = |problem: String| Error::Data {
            path: path.into(),
            problem,
            fix: "name another file, or remove this one".into(),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| problem(format!("expected kept samples, found another file ({e})")))?;
        let made_by = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(MADE_BY))
            .and_then(|text| serde_json::from_str::<Self>(text).ok());
        let file = SafeTensors::deserialize(&bytes).map_err(|e| problem(e.to_string()))?;
        let images = file.tensor("samples").map_err(|e| problem(e.to_string()))?;
        let Some(mut made_by) = made_by else {
            return Err(problem("expected samples that say what made them".into()));
        };
        let gradients = std::mem::take(&mut made_by.gradients);
        if made_by != *self {
            return Err(problem(format!(
                "expected samples of {self:?}, found {made_by:?}"
            )));
        }
        match images.data().len() == self.samples * dim {
            true => Ok(Some((images.data().to_vec(), gradients))),
            false => Err(problem("its samples are not whole".into())),
        }
    }

    /// Writes `[N, C, H, W]` bytes.
    fn write(
        mut self,
        path: &Path,
        samples: &[u8],
        gradients: usize,
        [c, h, w]: [usize; 3],
    ) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| Error::model("samples", e, "report this as a bug");
        self.gradients = gradients;
        let shape = vec![self.samples, c, h, w];
        let view = TensorView::new(Dtype::U8, shape, samples).map_err(|e| fail(&e))?;
        let made_by = serde_json::to_string(&self).map_err(|e| fail(&e))?;
        let metadata = std::collections::HashMap::from([(MADE_BY.to_owned(), made_by)]);
        let bytes =
            safetensors::serialize([("samples", view)], Some(metadata)).map_err(|e| fail(&e))?;
        artifact::write_atomically(path, &bytes)
    }
}

const MADE_BY: &str = "made_by";

/// N images as bytes, and the gradients that each took.
fn sample(
    plan: &Plan,
    card: &Card,
    weights: &[u8],
    device: &Device,
    note: &mut dyn FnMut(&str),
) -> Result<(Vec<u8>, usize)> {
    pollster::block_on(async {
        let mut studio = Studio::new(device.clone());
        let defaults = studio
            .load(card.clone(), weights, None, None)
            .await?
            .defaults;
        let (mut images, mut gradients) = (Vec::new(), 0);
        for (batch, first) in (0..plan.samples).step_by(CHUNK).enumerate() {
            let config = StudioConfig {
                seed: Rng::new(plan.seed)
                    .derived(Purpose::Start, batch as u64)
                    .seed(),
                count: CHUNK.min(plan.samples - first),
                rounds: plan.rounds.unwrap_or(defaults.rounds),
                steps: plan.steps.unwrap_or(defaults.steps),
                ..defaults.clone()
            };
            gradients = config.rounds * config.steps;
            studio.begin(config).await?;
            let frame = studio.advance(usize::MAX).await?;
            images.extend(frame.images.0);
            note(&format!(
                "{} of {} samples",
                first + frame.energies.0.len(),
                plan.samples
            ));
        }
        Ok((images, gradients))
    })
}

type Pair = (Vec<f32>, Option<Vec<f32>>);

/// E and, where there is one, the OOD score of every image.
fn scores(model: &dyn Model, images: &[u8], dim: usize, device: &Device) -> Result<Pair> {
    let (mut energies, mut oods) = (Vec::new(), Vec::new());
    for chunk in images.chunks(CHUNK * dim) {
        let x = pixels::tensor(chunk, dim, device);
        let (energy, ood) = if let Some(clel) = model.downcast_ref::<Clel>() {
            clel.scores(x)
        } else if let Some(prior) = latent_prior::of(model) {
            (pollster::block_on(prior.score(x, STEPS))?.0, None)
        } else {
            (model.target("pixel")?.evaluate(x).energy, None)
        };
        energies.extend(pollster::block_on(read::<1, f32>(energy))?);
        if let Some(ood) = ood {
            oods.extend(pollster::block_on(read::<1, f32>(ood))?);
        }
    }
    Ok((energies, (!oods.is_empty()).then_some(oods)))
}

fn set(name: &str, title: &str, (energy, ood): &Pair) -> ScoredSet {
    ScoredSet {
        name: name.into(),
        title: title.into(),
        images: energy.len(),
        energy: quantiles(energy),
        ood: ood.as_deref().map(quantiles),
        auroc: None,
        auroc_energy: None,
    }
}

/// Images of one grey, all greys alike: what energies of images are known to take for typical.
fn flat(n: usize, shape: [usize; 3]) -> Vec<u8> {
    let dim = shape.iter().product();
    let n = n.min(256);
    (0..n)
        .flat_map(|i| std::iter::repeat_n((i * 255 / (n - 1)) as u8, dim))
        .collect()
}

fn noise(n: usize, dim: usize, rng: &Rng) -> Vec<u8> {
    let words = rng.words(Purpose::Data, 0, n, dim);
    words.into_iter().map(|w| (w >> 24) as u8).collect()
}

const BINS: usize = 40;

fn histograms(sets: &[(&str, &Vec<f32>)]) -> BTreeMap<String, Histogram> {
    let mut all: Vec<f32> = sets.iter().flat_map(|(_, v)| v.iter().copied()).collect();
    all.sort_by(f32::total_cmp);
    // Half a percent at either end may be far out.
    let at = |q: f64| f64::from(all[((all.len() - 1) as f64 * q) as usize]);
    let (low, high) = (at(0.005), at(0.995).max(at(0.005) + 1e-9));
    let edges: Vec<f64> = (0..=BINS)
        .map(|k| low + (high - low) * k as f64 / BINS as f64)
        .collect();
    sets.iter()
        .map(|(name, values)| {
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let square = |v: &f32| (f64::from(*v) - mean).powi(2);
            let sd = (values.iter().map(square).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
            let mut counts = vec![0; BINS];
            for &v in *values {
                let k = ((f64::from(v) - low) / (high - low) * BINS as f64).floor();
                counts[k.clamp(0.0, (BINS - 1) as f64) as usize] += 1;
            }
            let histogram = Histogram {
                images: values.len(),
                mean,
                sd,
                edges: edges.clone(),
                counts,
            };
            ((*name).to_owned(), histogram)
        })
        .collect()
}

/// For each image the nearest training image and the root mean square difference, a pixel in [0, 1].
fn nearest(images: &[u8], train: &Dataset, dim: usize) -> (Vec<usize>, Vec<f64>) {
    images
        .chunks(dim)
        .map(|image| {
            let mut best = (0, u64::MAX);
            for (i, other) in train.images.chunks(dim).enumerate() {
                let distance: u64 = image
                    .iter()
                    .zip(other)
                    .map(|(&a, &b)| u64::from(u32::from(a.abs_diff(b)).pow(2)))
                    .sum();
                if distance < best.1 {
                    best = (i, distance);
                }
            }
            (best.0, (best.1 as f64 / dim as f64).sqrt() / 255.0)
        })
        .unzip()
}
