//! Export: store the averaged network, evaluate the stored weights, and write the card.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::{
    Architecture, Clel,
    learn::{ChainStage, Training},
    recipe::Recipe,
};
use crate::{
    artifact::Card,
    data::{self, Dataset},
    device::read,
    error::Result,
    nn::{
        augment::augment,
        dict::{Dict, DictBuilder},
        encoder::FrozenEncoder,
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    system::model::{Model as _, start_energies},
    train::{Draft, Session},
};

/// Images used for the class means, spread over the data: a thousand per class are enough.
const MEANS_OVER: usize = 10_000;

/// The direction of each class's mean latent over the data, `[classes, latent]`, row by row.
fn class_latents(
    encoder: &FrozenEncoder,
    data: &Dataset,
    classes: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let mut sums: Vec<Vec<f64>> = vec![Vec::new(); classes];
    let stride = data.count.div_ceil(MEANS_OVER);
    let order: Vec<usize> = (0..data.count).step_by(stride.max(1)).collect();
    for chunk in order.chunks(250) {
        let x = data::images(data, chunk, device);
        let z: Vec<f32> = pollster::block_on(read(encoder.latent(x)))?;
        for (&i, z) in chunk.iter().zip(z.chunks(z.len() / chunk.len())) {
            let sum = &mut sums[usize::from(data.labels[i])];
            sum.resize(z.len(), 0.0);
            sum.iter_mut().zip(z).for_each(|(s, &v)| *s += f64::from(v));
        }
    }
    // A class without images has the zero vector.
    let width = sums.iter().map(Vec::len).max().unwrap_or(0);
    sums.iter_mut().for_each(|sum| sum.resize(width, 0.0));
    Ok(sums
        .iter()
        .flat_map(|sum| {
            let norm = sum.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            sum.iter().map(move |v| (v / norm) as f32)
        })
        .collect())
}

/// Rounds of augmentation and chain steps, from fresh noise, for the card's samples; as in the authors'
/// evaluation.
const ROUNDS: usize = 10;

/// The file of weights: the averaged network, and for a guided model the encoder and the class directions.
fn weights(training: &Training, data: &Dataset, latent: usize, device: &Device) -> Result<Vec<u8>> {
    let mut dict = DictBuilder::default();
    training.frozen().save(&mut dict);
    if let Some(encoder) = training.encoder() {
        let encoder = encoder.frozen();
        encoder.save(&mut dict, "encoder");
        let classes = data.classes.len();
        let means = class_latents(&encoder, data, classes, device)?;
        dict.full_values("class_latents", &means, &[classes, latent]);
    }
    dict.finish()
}

/// Stores the averaged network, evaluates the stored weights, and writes the card.
pub(super) fn export(
    name: &str,
    training: &Training,
    (recipe, chains): (&Recipe, &ChainStage),
    data: &Dataset,
    session: &mut Session<'_, '_, '_>,
    device: &Device,
) -> Result<(Card, Vec<u8>)> {
    let stage = &recipe.clel;
    let classes = data.classes.len();
    let architecture = Architecture {
        energy: stage.energy.clone(),
        beta: if stage.guided { stage.beta } else { 0.0 },
        encoder: stage.guided.then(|| stage.encoder.clone()),
        classes: if stage.guided { classes } else { 0 },
        augment: stage.buffer_augmentation.then(|| stage.augment.clone()),
        // With the corrections made after divergences.
        chains: Some(chains.clone()),
    };
    let weights = weights(training, data, stage.encoder.latent, device)?;
    let stored = Clel::from_dict(&Dict::open(&weights, name, device)?, &architecture)?;

    // Samples from noise, with the stored weights.
    let rng = Rng::new(recipe.seed).derived(Purpose::Start, 1);
    let mut x = stored.starts("pixel", &rng, 64, 1.0)?;
    let target = stored.target("pixel")?;
    let mut energy = 0.0;
    for round in 0..ROUNDS as u64 {
        let rng = rng.derived(Purpose::Data, round);
        if stage.buffer_augmentation {
            let [c, h, w] = stage.energy.shape;
            let [n, dim] = x.dims();
            let view = augment(&stage.augment, &rng, 0, 0, x.reshape([n, c, h, w]));
            x = view.reshape([n, dim]);
        }
        let mut run = Run::new(target.clone(), &chains.sampler(), rng, x)?;
        let draws = pollster::block_on(run.advance(chains.steps))?;
        x = run.states();
        if let Some(last) = draws.last() {
            energy = last.energy.iter().map(|&e| f64::from(e)).sum::<f64>() / 64.0;
        }
    }
    session.grid("samples", x, stage.energy.shape)?;

    let SamplerConfig { step_size, .. } = chains.sampler();
    let energies = pollster::block_on(start_energies(&stored, 0, 1.0, 4))?;
    let value = |v: f64| serde_json::json!(v);
    let draft = Draft {
        name: name.into(),
        title: format!("{} (CLEL)", data.title),
        description: format!(
            "A contrastive-latent guided energy-based model of {}: p(x) ∝ exp(−½‖f(x)‖²) \
             (arXiv 2303.03023).",
            data.title
        ),
        shape: stage.energy.shape,
        preprocessing: data.preparation(8),
        architecture,
        iterations: training.iteration,
        metrics: vec![
            ("energy_of_samples".to_owned(), value(energy)),
            ("samples".to_owned(), serde_json::json!(64)),
            ("sample_rounds".to_owned(), serde_json::json!(ROUNDS)),
            ("buffer_mean_age".to_owned(), value(training.buffer().mean_age())),
            ("seed".to_owned(), serde_json::json!(recipe.seed)),
        ],
        step_sizes: BTreeMap::from([(
            "pixel".to_owned(),
            step_size
                .map(|s| BTreeMap::from([("sgld".to_owned(), s)]))
                .unwrap_or_default(),
        )]),
        energies,
        known_failures: vec![
            format!(
                "The card's step size is for --sampler sgld --noise {} --clamp; other samplers need their own.",
                chains.noise
            ),
            "Its chains run far below T = 1: they sample the short, clamped dynamics of training, not \
             exp(−E)."
                .into(),
        ],
    };
    Ok((session.card(recipe, data, draft)?, weights))
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::{
        data::Split,
        nn::{
            encoder::{Encoder, EncoderConfig},
            layers::Init,
            resnet::FrozenEnergyNet,
        },
        test_support::{Fill, assert_near, host},
    };

    /// The file holds the average, not the network in training.
    #[test]
    fn stored_weights_are_those_of_the_average() {
        let device = Device::flex();
        let (_, smoke) = crate::system::clel::PRESETS
            .iter()
            .find(|p| p.0 == "smoke")
            .unwrap();
        let stage = smoke().clel;
        let mut training = Training::new(&stage, 1, &device).unwrap();
        training.net = training.net.map(&mut Fill::new(0));
        let dim = stage.energy.dim();
        let data = Dataset {
            images: (0..2 * dim).map(|i| (i * 7 % 256) as u8).collect(),
            labels: vec![0, 1],
            classes: vec!["a".into(), "b".into()],
            count: 2,
            height: stage.energy.shape[1],
            width: stage.energy.shape[2],
            channels: stage.energy.shape[0],
            ..Dataset::empty("test", Split::Train)
        };
        let bytes = weights(&training, &data, stage.encoder.latent, &device).unwrap();
        let dict = Dict::open(&bytes, "test", &device).unwrap();
        let stored = FrozenEnergyNet::load(&dict, &stage.energy).unwrap();
        let x = Rng::new(1).uniform_rows(Purpose::Data, 0, 0, 4, dim, &device);
        let energy = |net: &FrozenEnergyNet| host(net.energy(x.clone()));
        let (found, average) = (energy(&stored), energy(&training.frozen()));
        assert_near("E of the stored network", &found, &average, 2e-2);
        let other = energy(&training.net.frozen());
        assert!(
            found
                .iter()
                .zip(&other)
                .all(|(a, b)| (a - b).abs() > 0.1 * b.abs()),
            "{found:?} and {other:?}"
        );
    }

    /// By the definition, image by image in f64; a class without images has the zero vector.
    #[test]
    fn class_directions_are_those_of_the_mean_latents() {
        let device = Device::flex();
        let mut config = EncoderConfig::small([1, 8, 8], &[0.5], &[0.3]);
        config.stages = vec![(4, 1), (8, 1)];
        (config.hidden, config.latent) = (8, 3);
        let encoder = Encoder::new(&config, &mut Init::new(1, &device))
            .unwrap()
            .frozen();
        let count = 12;
        let words = Rng::new(2).words(Purpose::Data, 0, count, 64);
        let data = Dataset {
            images: words.iter().map(|w| (w >> 24) as u8).collect(),
            labels: (0..count).map(|i| [0, 2, 2][i % 3]).collect(),
            count,
            height: 8,
            width: 8,
            channels: 1,
            ..Dataset::empty("test", Split::Train)
        };
        let found = class_latents(&encoder, &data, 3, &device).unwrap();
        let mut sums = [[0.0f64; 3]; 3];
        for i in 0..count {
            let z = encoder.latent(data::images(&data, &[i], &device));
            let z: Vec<f64> = z.into_data().iter::<f64>().collect();
            let norm = z.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((norm - 1.0).abs() < 1e-5, "latents are directions: {norm}");
            for (sum, v) in sums[usize::from(data.labels[i])].iter_mut().zip(z) {
                *sum += v;
            }
        }
        for (class, sum) in sums.iter().enumerate() {
            let norm = sum.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            for (k, v) in sum.iter().enumerate() {
                let found = f64::from(found[3 * class + k]);
                assert!((found - v / norm).abs() < 1e-5, "class {class}: {found}");
            }
        }
        assert_eq!(found[3..6], [0.0; 3]);
    }
}
