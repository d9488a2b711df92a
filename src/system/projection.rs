//! Test functions of images with the same meaning in every space of a model.

use burn::tensor::Tensor;

use crate::{
    error::Result,
    nn::dict::{Dict, DictBuilder},
};

/// Number of principal components that a model stores as test functions.
pub const COMPONENTS: usize = 4;

/// A linear map of images to a few standardised coordinates: the leading principal components of the
/// training data. They serve as test functions for R-hat with the same meaning in pixel and latent
/// space.
#[derive(Debug, Clone)]
pub struct Projection {
    pub(super) mean: Tensor<1>,
    /// `[D, K]`, each column divided by the data's standard deviation along it.
    directions: Tensor<2>,
}

impl Projection {
    /// `mean`: `[D]`; `directions`: `[D, K]`.
    pub fn new(mean: Tensor<1>, directions: Tensor<2>) -> Self {
        Self { mean, directions }
    }

    /// Adds it to `to` under `projection.…`. Reads from the device: native only.
    pub fn save(&self, to: &mut DictBuilder) {
        to.full("projection.mean", self.mean.clone());
        to.half("projection.directions", self.directions.clone());
    }

    /// Reads one for images of `dim` values.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) for missing or misshapen tensors.
    pub fn load(from: &Dict<'_>, dim: usize) -> Result<Self> {
        Ok(Self {
            mean: from.tensor("projection.mean", [dim])?,
            directions: from.tensor("projection.directions", [dim, COMPONENTS])?,
        })
    }

    /// A copy on another device.
    #[cfg(feature = "native")]
    pub(super) fn to_device(&self, device: &burn::tensor::Device) -> Self {
        Self {
            mean: self.mean.clone().to_device(device),
            directions: self.directions.clone().to_device(device),
        }
    }

    /// Number of components K.
    pub fn count(&self) -> usize {
        self.directions.dims()[1]
    }

    /// Images `[B, D]` → their coordinates, `[B, K]`.
    pub fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let [_, d] = x.dims();
        (x - self.mean.clone().reshape([1, d])).matmul(self.directions.clone())
    }
}
