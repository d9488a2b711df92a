//! A diagonal mass estimated from warm-up draws: one length scale per coordinate.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{device::read, error::Result};

/// Running mean and sum of squared deviations of every coordinate, over chains and draws, on the
/// device (Chan, Golub & LeVeque 1983, for merging batches).
#[derive(Debug, Clone)]
pub(super) struct Moments {
    count: f64,
    /// `[1, D]`
    mean: Tensor<2>,
    /// `[1, D]`
    squares: Tensor<2>,
}

/// [`Moments`] on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedMoments {
    count: f64,
    mean: Vec<f32>,
    squares: Vec<f32>,
}

impl Moments {
    pub(super) fn new(dim: usize, device: &Device) -> Self {
        Self {
            count: 0.0,
            mean: Tensor::zeros([1, dim], device),
            squares: Tensor::zeros([1, dim], device),
        }
    }

    /// Adds one draw of every chain, `[B, D]`.
    pub(super) fn update(&mut self, x: Tensor<2>) {
        let n = x.dims()[0] as f64;
        let mean = x.clone().mean_dim(0);
        let squares = (x - mean.clone()).powi_scalar(2).sum_dim(0);
        let total = self.count + n;
        let delta = mean - self.mean.clone();
        self.squares = self.squares.clone()
            + squares
            + delta.clone().powi_scalar(2) * (self.count * n / total);
        self.mean = self.mean.clone() + delta * (n / total);
        self.count = total;
    }

    /// √(variance/T), `[1, D]`, shrunk towards a small value as Stan does: (n·v + 5·10⁻³)/(n + 5).
    pub(super) fn scale(&self, temperature: f64) -> Tensor<2> {
        let n = self.count;
        let variance = self.squares.clone() / (n - 1.0).max(1.0);
        let scale = ((variance * (n / (n + 5.0)) + 5e-3 / (n + 5.0)) / temperature).sqrt();
        // One non-finite chain must not break the scale of all others.
        let broken = scale.clone().is_finite().bool_not();
        scale.mask_fill(broken, 1.0)
    }

    pub(super) async fn save(&self) -> Result<SavedMoments> {
        Ok(SavedMoments {
            count: self.count,
            mean: read(self.mean.clone()).await?,
            squares: read(self.squares.clone()).await?,
        })
    }

    pub(super) fn restore(saved: &SavedMoments, device: &Device) -> Self {
        Self {
            count: saved.count,
            mean: row(saved.mean.clone(), device),
            squares: row(saved.squares.clone(), device),
        }
    }
}

/// `[1, D]`
pub(super) fn row(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let dim = values.len();
    Tensor::from_data(TensorData::new(values, [1, dim]), device)
}

/// The shortest warm-up in which a mass is learned.
pub(super) const SHORTEST: usize = 50;

/// The windows of a warm-up of `total` transitions whose draws a mass is learned from: 15–40 % and
/// 40–90 %. The step size adapts throughout. Stan uses a similar scheme with doubling windows.
pub(super) fn windows(total: usize) -> [std::ops::Range<usize>; 2] {
    let at = |percent: usize| total * percent / 100;
    [at(15)..at(40), at(40)..at(90)]
}
