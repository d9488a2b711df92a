//! The objectives of CLEL, as functions of features and latents.
//!
//! Lee, Jeong, Park, Shin, "Guiding Energy-based Models via Contrastive Latent Variables", ICLR 2023
//! (arXiv 2303.03023), eqs. 5–9; settings from the authors' code.

use burn::tensor::{Tensor, TensorData, activation::log_softmax};

use crate::nn::resnet::{energy_of, unit_rows};

/// cos(a, b) of every row, `[B, D]` → `[B]`.
pub fn cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let [batch, _] = a.dims();
    (unit_rows(a) * unit_rows(b)).sum_dim(1).reshape([batch])
}

/// Weights of the energy's objective.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Weight α of the squared energies.
    pub alpha: f64,
    /// Weight β of the guidance; 0 in the unguided arm.
    pub beta: f64,
}

/// The parts of the energy's objective, scalars `[1]`.
pub struct EnergyLoss {
    /// The objective.
    pub total: Tensor<1>,
    /// Mean E of the data.
    pub data: Tensor<1>,
    /// Mean E of the samples.
    pub samples: Tensor<1>,
    /// Mean cos(g(f(x⁺)), z); 0 unguided.
    pub guidance: Tensor<1>,
}

/// mean(E⁺ − E⁻) + α mean(E⁺² + E⁻²) − β mean cos(g(f(x⁺)), z).
///
/// `data` and `samples` are features f of equally many images, `[B, D]`; `guidance` holds the
/// projections g(f(x⁺)) and the encoder's latents z of augmented data (not differentiated).
pub fn energy_loss(
    data: Tensor<2>,
    samples: Tensor<2>,
    guidance: Option<(Tensor<2>, Tensor<2>)>,
    weights: Weights,
) -> EnergyLoss {
    let (data, samples) = (energy_of(data), energy_of(samples));
    let squares = data.clone().powi_scalar(2).mean() + samples.clone().powi_scalar(2).mean();
    let (data, samples) = (data.mean(), samples.mean());
    let base = data.clone() - samples.clone() + squares * weights.alpha;
    let guidance = guidance.map(|(g, z)| cosine(g, z).mean());
    EnergyLoss {
        total: match &guidance {
            Some(cos) => base - cos.clone() * weights.beta,
            None => base,
        },
        guidance: guidance.unwrap_or_else(|| data.zeros_like()),
        data,
        samples,
    }
}

/// SimCLR's loss (NT-Xent, Chen et al. 2020, eq. 1) with generated latents as additional negatives.
///
/// `first` and `second` are latents of two views of the same images, `[N, D]` each. Each of the 2N
/// views is an anchor: its positive is the other view of its image, its negatives are the other 2N − 2
/// views and the M latents `negatives` (`[M, D]`, not differentiated). Logits are cosine similarities
/// divided by `temperature`. Returns the mean cross-entropy in nats and the share of anchors whose
/// positive is nearest, `[1]` each.
pub fn contrastive_loss(
    first: Tensor<2>,
    second: Tensor<2>,
    negatives: Option<Tensor<2>>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    let [n, _] = first.dims();
    let z = unit_rows(Tensor::cat(vec![first, second], 0));
    let device = z.device().inner();
    // Mask each view's similarity to itself.
    let masked = |i: usize, j: usize| if i == j { -1e9f32 } else { 0.0 };
    let mask: Vec<f32> = (0..4 * n * n)
        .map(|k| masked(k / (2 * n), k % (2 * n)))
        .collect();
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [2 * n, 2 * n]), &device);
    let mut logits = z.clone().matmul(z.clone().transpose()) / temperature + mask;
    if let Some(negatives) = negatives {
        let further = z.matmul(unit_rows(negatives).transpose()) / temperature;
        logits = Tensor::cat(vec![logits, further], 1);
    }
    let [_, columns] = logits.dims();
    let positive: Vec<f32> = (0..2 * n * columns)
        .map(|k| {
            let (row, column) = (k / columns, k % columns);
            f32::from(u8::from(column == (row + n) % (2 * n)))
        })
        .collect();
    let positive = Tensor::<2>::from_data(TensorData::new(positive, [2 * n, columns]), &device);
    let top = logits.clone().max_dim(1);
    let chosen = (logits.clone() * positive.clone()).sum_dim(1);
    let nearest = chosen.greater_equal(top).float().mean();
    let loss = -(log_softmax(logits, 1) * positive).sum() / (2 * n) as f64;
    (loss, nearest)
}
