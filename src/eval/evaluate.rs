//! `mixwell eval`: evaluation of one model.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use burn::tensor::{Device, Tensor};

use super::{
    card::write_card,
    features::{self, Pair, flat, histograms, moments, nearest, noise, set, verdicts},
    fid::frechet,
    inception::Inception,
    report::{Aurocs, Distance, Neighbours, Plan, Report},
    roc::auroc_interval,
    samples::{MadeBy, sample},
};
use crate::{
    artifact::{
        self, Card,
        scores::{ScoredSet, Scores},
    },
    data::{self, DataRef, Dataset, DatasetName, Split},
    error::{Error, Result},
    image, pixels,
    rng::{Purpose, Rng},
    system::{self, Model, classifier::Classifier},
    train::commit,
};

/// Reads a split of a data set, as `[channels, height, width]`.
pub type Load<'a> = dyn Fn(&DataRef, Split, [usize; 3]) -> Result<Dataset> + 'a;

/// Inputs of an evaluation.
pub struct Setting<'a> {
    /// Model: a name or a folder.
    pub model: &'a str,
    /// The classifier's folder or name.
    pub classifier: Option<&'a str>,
    /// Baseline evaluated with the same plan: its main numbers are added to this card.
    pub against: Option<&'a str>,
    /// The FID network's file.
    pub inception: Option<PathBuf>,
    /// File for the samples: read if they were made with the same plan, written if there is none.
    pub kept_samples: Option<PathBuf>,
    /// The model's training data, if its card does not name a known set.
    pub data: Option<DataRef>,
    /// Reads a split of a data set with images of a shape.
    pub load: &'a Load<'a>,
    /// Device and its display name.
    pub device: (Device, String),
    /// Receives progress messages.
    pub note: &'a mut dyn FnMut(&str),
}

/// Evaluates a model and writes `eval.json`, `scores.json`, `samples.png` and `neighbours.png` beside
/// its files, the main numbers onto its card, and the manifest.
///
/// # Errors
/// Whatever reading, computing or writing reports.
pub fn evaluate(plan: &Plan, setting: Setting<'_>) -> Result<Report> {
    let began = Instant::now();
    Error::unless_within("samples", plan.samples, 2, 1_000_000)?;
    Error::unless_within("images", plan.images, 2, 1_000_000)?;
    // Find a missing file before hours of sampling.
    let baseline = setting.against.map(Report::read).transpose()?;
    if let Some(baseline) = &baseline {
        baseline.check_plan(plan)?;
    }
    let Setting {
        model,
        classifier,
        inception,
        kept_samples,
        data,
        load,
        device,
        note,
        ..
    } = setting;
    let subject = Subject::open(model, data, load, &device.0)?;
    let classifier = classifier
        .map(|name| open_classifier(name, &device.0))
        .transpose()?;
    let inception = inception
        .map(|path| Inception::open(&path, &device.0))
        .transpose()?;

    let (samples, gradients) = subject.samples(plan, kept_samples.as_deref(), note)?;
    subject.write_samples(&samples, plan.samples)?;
    let mut distance = |network: &str, images: usize, f: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        note(&format!("features of {network}"));
        subject.distance(plan, &samples, network, images, f)
    };
    let classifier_feature_distance = classifier
        .as_ref()
        .map(|c| distance(&c.title, subject.train.count, &|x| c.features(x)))
        .transpose()?;
    let fid = inception
        .as_ref()
        .map(|net| {
            let all = subject.train.count;
            let images = plan.reference.unwrap_or(all).min(all);
            let [c, h, w] = subject.shape;
            distance("Inception-v3 (2015-12-05), pool3", images, &|x| {
                let [n, _] = x.dims();
                net.features(x.reshape([n, c, h, w]))
            })
        })
        .transpose()?;
    let (classes, confidence) = match &classifier {
        Some(c) => {
            let (classes, certainty) = verdicts(c, &samples, subject.dim, &subject.device)?;
            (classes, Some(certainty))
        }
        None => (BTreeMap::new(), None),
    };

    note("energies and scores");
    let inside = subject.scores(&subject.pick(&subject.test, plan.images))?;
    let trained = subject.scores(&subject.pick(&subject.train, plan.images))?;
    let generated = subject.scores(&samples)?;
    let energies = histograms(&[
        ("train", &trained.0),
        ("test", &inside.0),
        ("samples", &generated.0),
    ]);
    let others = subject.other_sets(plan, load, &samples)?;
    let (sets, auroc) = subject.aurocs(plan, &inside, &others)?;

    note("nearest training images");
    let neighbours = subject.neighbours(plan, &samples)?;
    let report = Report {
        model: subject.card.name.clone(),
        plan: plan.clone(),
        fid,
        classifier_feature_distance,
        classes,
        confidence,
        energies,
        auroc,
        neighbours,
        gradients,
        seconds: began.elapsed().as_secs_f64(),
        device: device.1,
        commit: commit(),
    };
    subject.publish(&report, sets, baseline.as_ref())?;
    Ok(report)
}

fn open_classifier(name: &str, device: &Device) -> Result<Classifier> {
    let (card, weights) = artifact::read_files(name)?;
    Classifier::open(&card, &weights, device)
}

/// The evaluated model, with its data.
struct Subject {
    folder: PathBuf,
    card: Card,
    weights: Vec<u8>,
    model: Arc<dyn Model>,
    shape: [usize; 3],
    dim: usize,
    train: Dataset,
    test: Dataset,
    device: Device,
}

/// A set of images other than the model's own: short name, title, bytes.
type OtherSet = (String, String, Vec<u8>);

impl Subject {
    fn open(name: &str, data: Option<DataRef>, load: &Load<'_>, device: &Device) -> Result<Self> {
        let folder = artifact::find_model(name)?;
        let (card, weights) = artifact::read_files(name)?;
        let model = system::load(&card, &weights, device)?;
        let known = || card.data.name.parse::<DatasetName>().map(DataRef::Known);
        let data = data.map_or_else(known, Ok).map_err(|_| {
            Error::invalid(
                "data set",
                "--data, since the model was not trained on a built-in set",
                "none",
                format!("give the folder of {}", card.data.name),
            )
        })?;
        let shape = model.shape();
        Ok(Self {
            folder,
            dim: shape.iter().product(),
            train: load(&data, Split::Train, shape)?,
            test: load(&data, Split::Test, shape)?,
            card,
            weights,
            model,
            shape,
            device: device.clone(),
        })
    }

    /// The first images of a set, as bytes.
    fn pick(&self, data: &Dataset, n: usize) -> Vec<u8> {
        data.images[..n.min(data.count) * self.dim].to_vec()
    }

    fn scores(&self, images: &[u8]) -> Result<Pair> {
        features::scores(&*self.model, images, self.dim, &self.device)
    }

    /// N samples and the number of gradients per sample: from the file, or sampled now.
    fn samples(
        &self,
        plan: &Plan,
        kept: Option<&Path>,
        note: &mut dyn FnMut(&str),
    ) -> Result<(Vec<u8>, usize)> {
        let made_by = MadeBy::new(plan, &self.card);
        if let Some(path) = kept
            && let Some(found) = made_by.read(path, self.dim)?
        {
            note("the stored samples match this plan: read from the file");
            return Ok(found);
        }
        note(&format!("sampling {} images", plan.samples));
        let made = sample(plan, &self.card, &self.weights, &self.device, note)?;
        if let Some(path) = kept {
            made_by.write(path, &made.0, made.1, self.shape)?;
        }
        Ok(made)
    }

    /// Writes the first 64 samples as a grid beside the model.
    fn write_samples(&self, samples: &[u8], count: usize) -> Result<()> {
        let shown = count.min(64);
        let values: Vec<f32> = samples[..shown * self.dim]
            .iter()
            .map(|&v| pixels::centre(v))
            .collect();
        image::write_grid(&self.folder.join("samples.png"), &values, shown, self.shape)
    }

    /// Fréchet distance of features between the samples and the first `images` training images, and the
    /// floor: the distance of as many test images as samples.
    fn distance(
        &self,
        plan: &Plan,
        samples: &[u8],
        network: &str,
        images: usize,
        features: &dyn Fn(Tensor<2>) -> Tensor<2>,
    ) -> Result<Distance> {
        let of = |images: &[u8]| moments(images, self.dim, &self.device, features);
        let real = of(&self.train.images[..images * self.dim])?;
        let floor = self.pick(&self.test, plan.samples);
        Ok(Distance {
            value: frechet(&of(samples)?, &real)?,
            floor: frechet(&of(&floor)?, &real)?,
            samples: plan.samples,
            images,
            network: network.into(),
        })
    }

    /// The sets compared with the model's test images.
    fn other_sets(&self, plan: &Plan, load: &Load<'_>, samples: &[u8]) -> Result<Vec<OtherSet>> {
        let (shape, rng) = (self.shape, Rng::new(plan.seed));
        let mut others = vec![
            ("flat".into(), "flat greys".into(), flat(plan.images, shape)),
            (
                "noise".into(),
                "uniform noise".into(),
                noise(plan.images, self.dim, &rng),
            ),
        ];
        for other in &plan.others {
            let (short, title, set) = match other.parse::<DatasetName>() {
                Ok(name) => {
                    let spec = name.spec();
                    let data = load(&DataRef::Known(name), Split::Test, shape)?;
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
                    "give a folder of images instead, which are scaled",
                ));
            }
            others.push((short, title, self.pick(&set, plan.images)));
        }
        let own = "the model's own samples".into();
        others.push(("samples".into(), own, samples.to_vec()));
        Ok(others)
    }

    /// Reference scores of every set, and the AUROC of each against the test images' scores.
    fn aurocs(
        &self,
        plan: &Plan,
        inside: &Pair,
        others: &[OtherSet],
    ) -> Result<(Vec<ScoredSet>, BTreeMap<String, Aurocs>)> {
        let title = format!("{} (test)", self.test.title);
        let mut sets = vec![set(&self.test.name, &title, inside)];
        let mut auroc = BTreeMap::new();
        for (k, (short, title, images)) in others.iter().enumerate() {
            let outside = self.scores(images)?;
            let rng = Rng::new(plan.seed).derived(Purpose::Jump, k as u64);
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
        Ok((sets, auroc))
    }

    /// Nearest training images of samples and of test images; writes the samples' pairs as a grid.
    fn neighbours(&self, plan: &Plan, samples: &[u8]) -> Result<Neighbours> {
        let (dim, train) = (self.dim, &self.train);
        let n = plan.neighbours.min(plan.samples).min(self.test.count);
        let (near, distances) = nearest(&samples[..n * dim], train, dim);
        let (_, control) = nearest(&self.test.images[..n * dim], train, dim);
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
        image::write_grid(
            &self.folder.join("neighbours.png"),
            &pairs,
            2 * n,
            self.shape,
        )?;
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        Ok(Neighbours {
            samples: mean(&distances),
            test: mean(&control),
            images: n,
        })
    }

    /// Writes report, reference scores, card and manifest.
    fn publish(
        mut self,
        report: &Report,
        sets: Vec<ScoredSet>,
        baseline: Option<&Report>,
    ) -> Result<()> {
        artifact::write_pretty(&self.folder.join("eval.json"), report)?;
        let scores = Scores {
            format: 1,
            model: self.card.name.clone(),
            sets,
            seed: report.plan.seed,
            commit: report.commit.clone(),
        };
        artifact::write_pretty(&self.folder.join(artifact::SCORES), &scores)?;
        write_card(&mut self.card, report, baseline, &*self.model)?;
        artifact::write_model(&self.folder, &self.card, &self.weights)?;
        match self.folder.parent() {
            Some(models) => artifact::write_manifest(models),
            None => Ok(()),
        }
    }
}
