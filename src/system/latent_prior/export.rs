//! Export: store the finished model, evaluate the stored weights, and write the card.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::DMatrix;

use super::{
    Architecture, LatentPrior, Reference, STEPS, into_model,
    learn::{LatentStage, Training},
    recipe::Recipe,
    sir,
};
use crate::{
    artifact::Card,
    data::{self, Dataset},
    device::read,
    error::Result,
    nn::dict::Dict,
    rng::Rng,
    system::{
        model::start_energies,
        pca::{axes, principal_components, row},
        step_sizes::adapted_steps,
    },
    train::{Draft, Session},
};

/// Training images whose latents the model stores.
const LATENTS: usize = 512;

/// Latents of the first training images under the learned prior, and their principal plane.
fn reference(
    training: &Training,
    stage: &LatentStage,
    data: &Dataset,
    device: &Device,
) -> Result<Reference> {
    let n = stage.generator.latent;
    let count = LATENTS.min(data.count);
    let order: Vec<usize> = (0..count).collect();
    let mut values: Vec<f32> = Vec::new();
    for (which, chunk) in order.chunks(128).enumerate() {
        let x = data::images(data, chunk, device);
        let z = pollster::block_on(training.infer(stage, x, 2 + which as u64))?;
        values.extend(pollster::block_on(read::<2, f32>(z))?);
    }
    let rows = DMatrix::from_row_iterator(count, n, values.iter().map(|&v| f64::from(v)));
    let plane = axes(&rows, 2);
    let mut directions = vec![0.0f32; n * 2];
    let mut explained = [0.0f32; 2];
    for (k, (direction, variance)) in plane.directions.iter().zip(&plane.variances).enumerate() {
        for (i, v) in direction.iter().enumerate() {
            directions[i * 2 + k] = *v as f32;
        }
        explained[k] = (variance / plane.total) as f32;
    }
    Ok(Reference {
        latents: Tensor::from_data(TensorData::new(values, [count, n]), device),
        labels: data.labels[..count].to_vec(),
        mean: row(&plane.mean, [n], device),
        directions: Tensor::from_data(TensorData::new(directions, [n, 2]), device),
        explained,
    })
}

/// Mean squared error of reconstructions of the first `count` images, values in [0, 1].
fn reconstruction(
    model: &LatentPrior,
    data: &Dataset,
    count: usize,
    device: &Device,
) -> Result<f64> {
    let order: Vec<usize> = (0..count.min(data.count)).collect();
    let mut sum = 0.0;
    for chunk in order.chunks(100) {
        let posterior = model.posterior(data::images(data, chunk, device));
        let (z, _) = pollster::block_on(posterior.descend(model.drift(), STEPS))?;
        let mse: Vec<f64> = pollster::block_on(read(posterior.terms(&z).mse))?;
        sum += mse.iter().sum::<f64>();
    }
    Ok(sum / order.len() as f64)
}

/// Evaluates the finished model and writes its card.
pub(super) fn export(
    name: &str,
    training: &Training,
    recipe: &Recipe,
    [train, test]: [&Dataset; 2],
    session: &Session<'_, '_, '_>,
    device: &Device,
) -> Result<(Card, Vec<u8>)> {
    let stage = &recipe.latent;
    let ratios = training.prior.learned();
    let architecture = Architecture {
        generator: stage.generator.clone(),
        sigma: stage.sigma,
        ratio: stage.prior.network(),
        stages: ratios.len(),
        posterior_step: stage.posterior.step_size,
        latents: LATENTS.min(train.count),
    };
    let weights = LatentPrior::new(
        training.generator().clone(),
        ratios,
        principal_components(train, 8, device),
        reference(training, stage, train, device)?,
        architecture.clone(),
    )
    .to_bytes()?;
    // Everything below uses the stored, rounded weights.
    let dict = Dict::open(&weights, name, device)?;
    let stored = Arc::new(LatentPrior::from_dict(&dict, &architecture)?);
    let model = into_model(stored.clone());
    let mse = reconstruction(&stored, test, 1000, device)?;
    let mut sir_ess = Vec::new();
    for k in 0..=architecture.stages {
        let drawn = pollster::block_on(sir::resample(
            &stored.ratios[..k],
            stage.generator.latent,
            &Rng::new(recipe.seed),
            [64, SIR_PROPOSALS],
            1.0,
            device,
        ))?;
        sir_ess.push(drawn.ess);
    }
    let (step_sizes, acceptance) = adapted_steps(&*model, recipe.seed, |space| {
        if space == "latent" { 0.3 } else { 0.02 }
    })?;
    let energies = pollster::block_on(start_energies(&*model, 0, 1.0, 4))?;
    let value = |v: f64| serde_json::json!(v);
    let book = &training.prior.book;
    let draft = Draft {
        name: name.into(),
        title: format!("{} (latent prior)", train.title),
        description: format!(
            "A generator of {} whose latent prior was learned in {} stage(s) by density-ratio \
             estimation (arXiv 2209.08739): p(z) ∝ N(z; 0, I) exp(f₁(z) + f₂(z) + …).",
            train.title, architecture.stages
        ),
        shape: stage.generator.shape,
        preprocessing: format!(
                "{}; the generator's output range is (−1, 1)",
                train.preparation(8)
        ),
        architecture,
        iterations: training.iteration,
        metrics: acceptance
            .into_iter()
            .map(|(name, v)| (name, value(v)))
            .chain([
                ("reconstruction_mse".into(), value(mse)),
                ("reconstruction_images".into(), serde_json::json!(1000.min(test.count))),
                ("reconstruction_steps".into(), serde_json::json!(STEPS)),
                ("stages".into(), serde_json::json!(book.stages)),
                ("sir_ess".into(), serde_json::json!(sir_ess)),
                ("sir_proposals".into(), serde_json::json!(SIR_PROPOSALS)),
                ("seed".into(), serde_json::json!(recipe.seed)),
            ])
            .collect(),
        step_sizes,
        energies,
        known_failures: vec![
            "Reconstructions are smoother than the images: the generator is small and σ is large.".into(),
            "The prior is trained and evaluated near the training images' latents; far from them its energy is an extrapolation.".into(),
            "In pixel space a state is an image together with its latent: the chain moves an image only as far as the noise σ allows.".into(),
        ],
    };
    Ok((session.card(recipe, train, draft)?, weights))
}

/// Proposals for the card's ESS of the importance weights.
const SIR_PROPOSALS: usize = 10_000;
