//! Training data as batches on a device.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    data::Dataset,
    rng::{Purpose, Rng},
};

/// Batches of dequantised images: a pure function of seed and iteration.
pub struct Batches<'a> {
    data: &'a Dataset,
    rng: Rng,
    batch: usize,
    bits: u32,
    device: Device,
    /// The last epoch's order, since consecutive batches share it.
    order: (u32, Vec<usize>),
}

impl<'a> Batches<'a> {
    /// Batches of `batch` images reduced to `bits` bits, in an order and with noise of `seed`.
    pub fn new(data: &'a Dataset, seed: u64, batch: usize, bits: u32, device: &Device) -> Self {
        let rng = Rng::new(seed);
        Self {
            order: (0, rng.permutation(0, data.count)),
            data,
            rng,
            batch,
            bits,
            device: device.clone(),
        }
    }

    /// Iteration's batch, `[B, D]`.
    pub fn get(&mut self, iteration: u64) -> Tensor<2> {
        self.get_labelled(iteration).1
    }

    /// Iteration's batch, `[B, D]`, and which images are in it.
    pub fn get_labelled(&mut self, iteration: u64) -> (Vec<usize>, Tensor<2>) {
        let per_epoch = (self.data.count / self.batch).max(1) as u64;
        let epoch = (iteration / per_epoch) as u32;
        if self.order.0 != epoch {
            self.order = (epoch, self.rng.permutation(epoch, self.data.count));
        }
        let start = (iteration % per_epoch) as usize * self.batch;
        let indices: Vec<usize> = self.order.1[start..]
            .iter()
            .copied()
            .take(self.batch)
            .collect();
        let x = dequantised(
            self.data,
            &indices,
            self.bits,
            &self.rng,
            iteration as u32,
            &self.device,
        );
        (indices, x)
    }
}

/// (v >> (8 − bits) + u)/2^bits with u ~ U(0, 1): `[n, D]`.
pub fn dequantised(
    data: &Dataset,
    indices: &[usize],
    bits: u32,
    rng: &Rng,
    step: u32,
    device: &Device,
) -> Tensor<2> {
    let dim = data.height * data.width * data.channels;
    let noise = rng.uniforms(Purpose::Dequantise, step, indices.len(), dim);
    let scale = 1.0 / f64::from(1u32 << bits) as f32;
    let values: Vec<f32> = indices
        .iter()
        .flat_map(|&i| &data.images[i * dim..(i + 1) * dim])
        .zip(noise)
        .map(|(&v, u)| (f32::from(v >> (8 - bits)) + u) * scale)
        .collect();
    Tensor::from_data(TensorData::new(values, [indices.len(), dim]), device)
}
