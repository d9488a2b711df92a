//! Conditioning on known coordinates: the chain samples only the others.
//!
//! With x = (known, free), p(free | known) ∝ exp(−E(known, free)/T): the same energy as a function of
//! the free coordinates. Any sampler can sample it, exactly, and known pixels cannot move.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Energy, Evaluation, Point, Space};
use crate::error::{Error, Result};

/// A target given some of its coordinates.
pub struct Inpainting {
    target: Arc<dyn Energy>,
    /// Indices of the free coordinates, `[F]`.
    free: Tensor<1, Int>,
    /// Index of each coordinate among the free ones, `[D]`; 0 for known ones, which `mask` hides.
    place: Tensor<1, Int>,
    /// 1 where free, `[1, D]`.
    mask: Tensor<2>,
    /// The known values, 0 where free, `[1, D]`.
    known: Tensor<2>,
    dim: usize,
}

impl Inpainting {
    /// `known`: one entry per coordinate, `Some` if its value is known.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless there is one entry per coordinate of the target, at least one is free,
    /// and every value is finite.
    pub fn new(target: Arc<dyn Energy>, known: &[Option<f32>], device: &Device) -> Result<Self> {
        let dim = target.space().dim;
        let free: Vec<i32> = (0..known.len())
            .filter(|&i| known[i].is_none())
            .map(|i| i as i32)
            .collect();
        if known.len() != dim || free.is_empty() || known.iter().flatten().any(|v| !v.is_finite()) {
            return Err(Error::invalid(
                "known coordinates",
                format!("{dim} entries with finite values, at least one of them free"),
                format!("{} entries, {} free", known.len(), free.len()),
                "leave at least one coordinate free",
            ));
        }
        let mut place = vec![0i32; dim];
        for (k, &i) in free.iter().enumerate() {
            place[i as usize] = k as i32;
        }
        let row = |value: fn(&Option<f32>) -> f32| {
            let values: Vec<f32> = known.iter().map(value).collect();
            Tensor::from_data(TensorData::new(values, [1, dim]), device)
        };
        Ok(Self {
            dim: free.len(),
            free: Tensor::from_ints(&free[..], device),
            place: Tensor::from_ints(&place[..], device),
            mask: row(|v| f32::from(u8::from(v.is_none()))),
            known: row(|v| v.unwrap_or(0.0)),
            target,
        })
    }

    /// All coordinates from the free ones, `[B, F]` → `[B, D]`.
    pub fn complete(&self, y: Tensor<2>) -> Tensor<2> {
        y.select(1, self.place.clone()) * self.mask.clone() + self.known.clone()
    }

    /// The free coordinates of all, `[B, D]` → `[B, F]`.
    pub fn free(&self, x: Tensor<2>) -> Tensor<2> {
        x.select(1, self.free.clone())
    }
}

impl Energy for Inpainting {
    fn space(&self) -> Space {
        Space {
            dim: self.dim,
            ..self.target.space()
        }
    }

    fn observables(&self) -> Vec<String> {
        self.target.observables()
    }

    fn evaluate(&self, y: Tensor<2>) -> Evaluation {
        self.target.evaluate(self.complete(y))
    }

    fn point(&self, y: Tensor<2>) -> Point {
        let whole = self.target.point(self.complete(y.clone()));
        Point {
            x: y,
            gradient: self.free(whole.gradient),
            ..whole
        }
    }

    fn to_image(&self, y: Tensor<2>) -> Option<Tensor<4>> {
        self.target.to_image(self.complete(y))
    }
}
