//! Statistics of sets of images: moments of features, scores, histograms, nearest neighbours.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};

use super::{fid::Moments, report::Histogram};
use crate::{
    artifact::scores::{ScoredSet, quantiles},
    data::Dataset,
    device::read,
    error::{Error, Result},
    pixels,
    rng::{Purpose, Rng},
    system::{
        Model,
        classifier::{Classifier, verdict},
        clel::Clel,
        latent_prior::{self, STEPS},
    },
};

/// Images per forward pass.
pub(super) const CHUNK: usize = 100;

/// Mean and covariance of the features of images of `dim` bytes each.
pub(super) fn moments(
    images: &[u8],
    dim: usize,
    device: &Device,
    features: &dyn Fn(Tensor<2>) -> Tensor<2>,
) -> Result<Moments> {
    let mut moments: Option<Moments> = None;
    for chunk in images.chunks(CHUNK * dim) {
        let f = features(pixels::tensor(chunk, dim, device));
        let [_, width] = f.dims();
        let values: Vec<f32> = pollster::block_on(read(f))?;
        moments
            .get_or_insert_with(|| Moments::new(width))
            .add(&values)?;
    }
    moments.ok_or_else(|| Error::invalid("images", "at least one", "none", "use more samples"))
}

/// The share of each class among a classifier's predictions, and the mean of its largest probability.
pub(super) fn verdicts(
    classifier: &Classifier,
    images: &[u8],
    dim: usize,
    device: &Device,
) -> Result<(BTreeMap<String, f64>, f64)> {
    let n = (images.len() / dim) as f64;
    let (mut classes, mut certainty) = (BTreeMap::new(), 0.0);
    for chunk in images.chunks(CHUNK * dim) {
        let p = classifier.probabilities(pixels::tensor(chunk, dim, device));
        let p: Vec<f32> = pollster::block_on(read(p))?;
        for row in p.chunks(classifier.classes.len()) {
            let best = verdict(row);
            certainty += f64::from(row[best]) / n;
            *classes
                .entry(classifier.classes[best].clone())
                .or_insert(0.0) += 1.0 / n;
        }
    }
    Ok((classes, certainty))
}

pub(super) type Pair = (Vec<f32>, Option<Vec<f32>>);

/// E and, if the model has one, the OOD score of every image.
pub(super) fn scores(
    model: &dyn Model,
    images: &[u8],
    dim: usize,
    device: &Device,
) -> Result<Pair> {
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

pub(super) fn set(name: &str, title: &str, (energy, ood): &Pair) -> ScoredSet {
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

/// Images of one grey value each, evenly spaced over all greys. Image energies are known to rank them as
/// typical.
pub(super) fn flat(n: usize, shape: [usize; 3]) -> Vec<u8> {
    let dim = shape.iter().product();
    let n = n.min(256);
    (0..n)
        .flat_map(|i| std::iter::repeat_n((i * 255 / (n - 1)) as u8, dim))
        .collect()
}

pub(super) fn noise(n: usize, dim: usize, rng: &Rng) -> Vec<u8> {
    let words = rng.words(Purpose::Data, 0, n, dim);
    words.into_iter().map(|w| (w >> 24) as u8).collect()
}

const BINS: usize = 40;

pub(super) fn histograms(sets: &[(&str, &Vec<f32>)]) -> BTreeMap<String, Histogram> {
    let mut all: Vec<f32> = sets.iter().flat_map(|(_, v)| v.iter().copied()).collect();
    all.sort_by(f32::total_cmp);
    // Ignore outliers: half a percent at either end.
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

/// For each image, the nearest training image and the root mean square difference per pixel, with
/// values in [0, 1].
pub(super) fn nearest(images: &[u8], train: &Dataset, dim: usize) -> (Vec<usize>, Vec<f64>) {
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
