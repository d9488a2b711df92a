//! The random numbers of a transition, made on the device where it has kernels, else on the host.

use burn::tensor::{Device, Tensor, TensorData};

use super::tuning::Tuning;
#[cfg(feature = "kernels")]
use crate::rng::kernel;
use crate::rng::{Purpose, Rng};

/// The random numbers of one transition. Each row of the state has a stream of its own.
pub struct Noise<'a> {
    /// The run's source.
    pub rng: &'a Rng,
    /// Transition number since the start of the run.
    pub step: u32,
    /// Where tensors are to live.
    pub device: &'a Device,
    /// Number of the first chain: one chain of many can be made again alone.
    pub first_chain: u32,
    /// Rows come in so many blocks, one for each temperature; see [`rows_per_chain`](super::Sampler::rows_per_chain).
    pub blocks: usize,
}

/// Streams of one temperature are so far from those of the next.
const BLOCK_STRIDE: u32 = 1 << 24;

impl Noise<'_> {
    /// Host numbers of every block, one after another.
    fn rows(&self, rows: usize, dim: usize, make: impl Fn(u32, usize) -> Vec<f32>) -> Tensor<2> {
        let chains = rows / self.blocks;
        let values: Vec<f32> = (0..self.blocks as u32)
            .flat_map(|block| make(self.first_chain + block * BLOCK_STRIDE, chains))
            .collect();
        Tensor::from_data(TensorData::new(values, [rows, dim]), self.device)
    }

    #[cfg(feature = "kernels")]
    fn draw(&self, purpose: Purpose, rows: usize) -> kernel::Draw<'_> {
        kernel::Draw {
            first: self.first_chain,
            block: rows / self.blocks,
            stride: BLOCK_STRIDE,
            ..kernel::Draw::new(self.rng, purpose, self.step)
        }
    }

    /// Standard normals `[rows, dim]`: made on the device where it has a kernel, else on the host.
    pub fn normals(&self, purpose: Purpose, rows: usize, dim: usize) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(made) = kernel::normals(self.draw(purpose, rows), [rows, dim], self.device) {
            return made;
        }
        self.rows(rows, dim, |first, n| {
            self.rng.normals_from(purpose, self.step, first, n, dim)
        })
    }

    /// Uniforms in (0, 1), `[rows, dim]`, likewise.
    pub fn uniforms(&self, purpose: Purpose, rows: usize, dim: usize) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(made) = kernel::uniforms(self.draw(purpose, rows), [rows, dim], self.device) {
            return made;
        }
        self.rows(rows, dim, |first, n| {
            self.rng.uniforms_from(purpose, self.step, first, n, dim)
        })
    }

    /// x − a·s²·∇E + σ·s·ξ and ξ: one fused kernel where the device has it.
    pub(super) fn langevin(
        &self,
        x: Tensor<2>,
        gradient: Tensor<2>,
        (drift, sigma): (Tensor<2>, Tensor<2>),
        tuning: &Tuning,
    ) -> (Tensor<2>, Tensor<2>) {
        let [rows, dim] = x.dims();
        #[cfg(feature = "kernels")]
        {
            let step = kernel::LangevinStep {
                x: x.clone(),
                gradient: gradient.clone(),
                drift: drift.clone(),
                sigma: sigma.clone(),
                scale: tuning.scale.clone(),
            };
            let draw = self.draw(Purpose::Proposal, rows);
            if let Some(done) = kernel::langevin(draw, step) {
                return done;
            }
        }
        let xi = self.normals(Purpose::Proposal, rows, dim);
        let step = xi.clone() * sigma - tuning.scaled(gradient) * drift;
        (x + tuning.scaled(step), xi)
    }

    /// The uniforms of this transition's Metropolis test, `[rows]`.
    pub(super) fn accept(&self, rows: usize) -> Tensor<1> {
        self.uniforms(Purpose::Accept, rows, 1).reshape([rows])
    }
}
