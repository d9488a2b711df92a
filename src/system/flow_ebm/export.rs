//! Export: store the finished model, evaluate the stored weights, and write the card.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{Architecture, FlowEbm, LatentEnergy, TiltTraining, into_model, recipe::Recipe};
use crate::{
    artifact::Card,
    data::Dataset,
    error::Result,
    nn::{dict::Dict, flow::Flow},
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    system::{model::start_energies, step_sizes::adapted_steps},
    train::{Draft, Session, dequantised},
};

/// Reads a scalar, blocking; NaN if the device cannot be read.
fn scalar(t: Tensor<1>) -> f64 {
    pollster::block_on(crate::device::scalar(t)).unwrap_or(f64::NAN)
}

/// Bits per dimension of the first `count` images: −log₂ q(x)/D + bits.
pub(super) fn bits_per_dimension(
    flow: &Flow,
    data: &Dataset,
    bits: u32,
    count: usize,
    seed: u64,
    device: &Device,
) -> f64 {
    let rng = Rng::new(seed);
    let dim = flow.config().dim() as f64;
    let n = count.min(data.count);
    let mut sum = 0.0;
    for (step, start) in (0..n).step_by(100).enumerate() {
        let indices: Vec<usize> = (start..(start + 100).min(n)).collect();
        let x = dequantised(data, &indices, bits, &rng, step as u32, device);
        sum += scalar(flow.log_prob(x).0.sum());
    }
    -sum / n as f64 / dim / std::f64::consts::LN_2 + f64::from(bits)
}

/// Evaluates the finished model and writes its card.
pub(super) fn export(
    name: &str,
    training: &TiltTraining,
    recipe: &Recipe,
    train_data: &Dataset,
    test_data: &Dataset,
    session: &Session<'_, '_, '_>,
    device: &Device,
) -> Result<(Card, Vec<u8>)> {
    let weights = training.model().to_bytes()?;
    let architecture = Architecture {
        flow: recipe.flow.architecture.clone(),
        tilt: recipe.tilt.architecture.clone(),
    };
    // Everything below uses the stored, rounded weights.
    let dict = Dict::open(&weights, name, device)?;
    let stored = Arc::new(FlowEbm::from_dict(&dict, &architecture)?);
    let model = into_model(stored.clone());
    let count = 10_000.min(test_data.count);
    let bpd = bits_per_dimension(
        &stored.flow,
        test_data,
        recipe.bits,
        count,
        recipe.seed,
        device,
    );
    let tilt = tilt_statistics(&stored, test_data, recipe, device);

    let (step_sizes, acceptance) = adapted_steps(&*model, recipe.seed, |space| {
        if space == "latent" { 0.15 } else { 0.01 }
    })?;
    let energies = pollster::block_on(start_energies(&*model, 0, 1.0, 4))?;
    let value = |v: f64| serde_json::json!(v);
    let draft = Draft {
        name: name.into(),
        title: train_data.title.clone(),
        description: format!(
            "A Glow-type flow of {}, tilted by a small energy network: p(x) ∝ exp(−U(x)) q(x), the \
             neural-transport EBM of \"MCMC Should Mix\" (arXiv 2006.06897).",
            train_data.title
        ),
        shape: recipe.flow.architecture.shape,
        preprocessing: train_data.preparation(recipe.bits),
        architecture,
        iterations: recipe.flow.iterations + training.iteration,
        metrics: acceptance
            .into_iter()
            .map(|(name, v)| (name, value(v)))
            .chain([
                ("flow_test_bits_per_dimension".into(), value(bpd)),
                ("flow_test_images".into(), serde_json::json!(count)),
                ("tilt_mean_on_test_data".into(), value(tilt.data)),
                ("tilt_mean_on_flow_samples".into(), value(tilt.flow)),
                ("tilt_mean_on_model_samples".into(), value(tilt.model)),
                ("tilt_sd_on_flow_samples".into(), value(tilt.flow_sd)),
                ("tilt_samples".into(), serde_json::json!(TILT_SAMPLES)),
                ("seed".into(), serde_json::json!(recipe.seed)),
            ])
            .collect(),
        step_sizes,
        energies,
        known_failures: vec![
            "Some samples are strokes that belong to no class: the flow is small.".into(),
            "Flat images have a very high density under the flow, so the energy does not detect them.".into(),
            "At T ≠ 1 the pixel and the latent chain sample different distributions.".into(),
        ],
    };
    Ok((session.card(recipe, train_data, draft)?, weights))
}

struct TiltStatistics {
    data: f64,
    flow: f64,
    flow_sd: f64,
    model: f64,
}

const TILT_SAMPLES: usize = 512;

/// Mean U on held-out data, on the flow's samples and on the model's (64 chains of MALA).
fn tilt_statistics(
    model: &Arc<FlowEbm>,
    test: &Dataset,
    recipe: &Recipe,
    device: &Device,
) -> TiltStatistics {
    let rng = Rng::new(recipe.seed);
    let host = |t: Tensor<1>| -> Vec<f64> { t.into_data().iter::<f64>().collect() };
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let indices: Vec<usize> = (0..TILT_SAMPLES.min(test.count)).collect();
    let data = host(
        model
            .tilt
            .forward(dequantised(test, &indices, recipe.bits, &rng, 0, device)),
    );
    let z = rng.normal_tensor(
        Purpose::Start,
        2,
        TILT_SAMPLES,
        model.flow.config().dim(),
        device,
    );
    let flow = host(model.tilt.forward(model.flow.inverse(z.clone())));
    let config = SamplerConfig {
        step_size: Some(0.15),
        warmup: 60,
        ..SamplerConfig::default()
    };
    let target = Arc::new(LatentEnergy(model.clone()));
    let samples = Run::new(target, &config, rng, z.narrow(0, 0, 64))
        .and_then(|mut run| pollster::block_on(run.advance(160)))
        .map(|draws| {
            // Every tenth draw, the last eight of them: 64 × 8 = 512 values of U.
            draws
                .iter()
                .rev()
                .step_by(10)
                .take(8)
                .flat_map(|d| d.observed[0].iter().map(|&v| f64::from(v)))
                .collect::<Vec<f64>>()
        })
        .unwrap_or_default();
    let flow_mean = mean(&flow);
    let var = flow.iter().map(|v| (v - flow_mean).powi(2)).sum::<f64>() / (flow.len() - 1) as f64;
    TiltStatistics {
        data: mean(&data),
        flow: flow_mean,
        flow_sd: var.sqrt(),
        model: mean(&samples),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::{
        data::Split,
        nn::{
            flow::{FlowConfig, LevelConfig, TrainableFlow, to_channels_last},
            layers::Init,
        },
    };

    /// A flow that standardises the first batch is a Gaussian at initialisation only approximately; its
    /// bits are recomputed here from log q of the same dequantised values. Uniform noise of 5 bits that a
    /// flow fits perfectly would cost 5 bits: a model of it costs at least that.
    #[test]
    fn bits_per_dimension_are_those_of_the_dequantised_values() {
        let device = Device::flex();
        let config = FlowConfig {
            shape: [1, 4, 4],
            levels: vec![LevelConfig {
                squeeze: 2,
                steps: 1,
                hidden: 4,
                kernel: 3,
            }],
            clamp: 2.0,
        };
        let bits = 5;
        let count = 230;
        let words = Rng::new(4).words(Purpose::Data, 0, count, 16);
        let data = Dataset {
            images: words.iter().map(|w| (w >> 24) as u8).collect(),
            labels: vec![0; count],
            count,
            height: 4,
            width: 4,
            channels: 1,
            ..Dataset::empty("test", Split::Test)
        };
        let x: Vec<f32> = data
            .images
            .iter()
            .map(|&v| (f32::from(v >> 3) + 0.5) / 32.0)
            .collect();
        let x = Tensor::<2>::from_data(TensorData::new(x, [count, 16]), &device);
        let flow = TrainableFlow::new(&config, &mut Init::new(1, &device)).unwrap();
        let flow = flow.initialised_from(to_channels_last(x.clone(), config.shape));
        let flow = pollster::block_on(flow.frozen(&config)).unwrap();
        let found = bits_per_dimension(&flow, &data, bits, 10_000, 7, &device);
        // At the middle of every bin instead of at a random place.
        let log_q: Vec<f64> = flow.log_prob(x).0.into_data().iter::<f64>().collect();
        let mean = log_q.iter().sum::<f64>() / count as f64;
        let expected = 5.0 - mean / 16.0 / std::f64::consts::LN_2;
        assert!((found - expected).abs() < 0.02, "{found} for {expected}");
        assert!((5.0..6.0).contains(&found), "{found}");
    }
}
