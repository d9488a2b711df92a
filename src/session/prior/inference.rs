//! Inference of images under a latent prior: reconstructions, scores, and paths between two latents.

use burn::tensor::{Tensor, TensorData};

use super::{
    super::arrays::Bytes,
    info::{Interpolation, Reconstruction, ScoreTerms},
    sampling::Prior,
};
use crate::{
    artifact::scores::percentile,
    device::read,
    energy::Energy as _,
    error::{Error, Result},
    pixels,
    system::latent_prior::StageEnergy,
};

impl Prior {
    fn image(&self, bytes: &[u8]) -> Result<Tensor<2>> {
        let shape @ [c, h, w] = self.loaded()?.model.architecture().generator.shape;
        if bytes.len() != c * h * w {
            return Err(Error::invalid(
                "image",
                format!("{} bytes, for shape {shape:?}", c * h * w),
                bytes.len(),
                "scale the image to the model's size",
            ));
        }
        Ok(pixels::tensor(bytes, c * h * w, &self.device))
    }

    /// Infers z of an image by `steps` gradient steps from z = 0 on its posterior energy, and scores it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size, or steps outside 1 to 2000.
    pub async fn reconstruct(&self, image: &[u8], steps: usize) -> Result<Reconstruction> {
        Error::unless_within("steps", steps, 1, 2000)?;
        let loaded = self.loaded()?;
        let model = &loaded.model;
        let posterior = model.posterior(self.image(image)?);
        let (z, trace) = posterior.descend(model.drift(), steps).await?;
        let terms = posterior.terms(&z);
        let one = |t: Tensor<1>| async move { crate::device::scalar(t).await };
        let mut ratios = Vec::new();
        for ratio in &model.ratios {
            ratios.push(one(ratio.forward(z.clone()).neg()).await?);
        }
        let reconstruction = one(terms.reconstruction).await?;
        let gaussian = one(terms.gaussian).await?;
        let score = reconstruction + gaussian - ratios.iter().sum::<f64>();
        let shown: Vec<f32> = read(model.decode(z.clone())).await?;
        let plane: Vec<f32> = read(model.reference.project(z.clone())).await?;
        let latent: Vec<f32> = read(z).await?;
        Ok(Reconstruction {
            latent: latent.into(),
            plane: [plane[0], plane[1]],
            image: Bytes(shown.into_iter().map(pixels::byte).collect()),
            mse: one(terms.mse).await?,
            score,
            terms: ScoreTerms {
                reconstruction,
                gaussian,
                ratios: ratios.into(),
            },
            percentiles: loaded
                .scores
                .iter()
                .flat_map(|s| &s.sets)
                .map(|set| percentile(&set.energy, set.images, score))
                .collect(),
            trace: trace.into(),
        })
    }

    /// Decodes `frames` points between two latents: on the straight line, or on a great-circle arc with
    /// interpolated norms.
    ///
    /// # Errors
    /// [`Error::Invalid`] for latents of another dimension, or frames outside 2 to 64.
    pub async fn interpolate(
        &self,
        from: &[f32],
        to: &[f32],
        frames: usize,
        sphere: bool,
    ) -> Result<Interpolation> {
        Error::unless_within("frames", frames, 2, 64)?;
        let model = &self.loaded()?.model;
        let n = model.architecture().generator.latent;
        if from.len() != n || to.len() != n {
            return Err(Error::invalid(
                "latents",
                format!("two of {n} numbers"),
                format!("{} and {}", from.len(), to.len()),
                "reconstruct two images with this model first",
            ));
        }
        let values = path_between(from, to, frames, sphere);
        let z = Tensor::<2>::from_data(TensorData::new(values, [frames, n]), &self.device);
        let stages = model.architecture().stages;
        let target = StageEnergy::new(model.clone(), stages, false)?;
        let energies: Vec<f32> = read(target.evaluate(z.clone()).energy).await?;
        let images: Vec<f32> = read(model.decode(z.clone())).await?;
        let plane: Vec<f32> = read(model.reference.project(z)).await?;
        Ok(Interpolation {
            images: Bytes(images.into_iter().map(pixels::byte).collect()),
            energies: energies.into(),
            plane: plane.into(),
        })
    }
}

/// Points of the path between two vectors, both ends included.
fn path_between(from: &[f32], to: &[f32], frames: usize, sphere: bool) -> Vec<f32> {
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let (a, b) = (norm(from), norm(to));
    let dot: f64 = from
        .iter()
        .zip(to)
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum();
    let angle = (dot / (a * b).max(1e-12)).clamp(-1.0, 1.0).acos();
    // Equal or opposite directions have no unique arc.
    let arc = sphere && angle.sin() > 1e-6;
    (0..frames)
        .flat_map(|k| {
            let t = k as f64 / (frames - 1) as f64;
            let (u, v) = if arc {
                let length = a + (b - a) * t;
                (
                    length / a * ((1.0 - t) * angle).sin() / angle.sin(),
                    length / b * (t * angle).sin() / angle.sin(),
                )
            } else {
                (1.0 - t, t)
            };
            from.iter()
                .zip(to)
                .map(move |(&x, &y)| (u * f64::from(x) + v * f64::from(y)) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_both_ends_and_arcs_interpolate_norms() {
        let (from, to) = ([1.0f32, 0.0, 0.0], [0.0f32, 2.0, 0.0]);
        for sphere in [false, true] {
            let path = path_between(&from, &to, 5, sphere);
            assert_eq!((&path[..3], path.len()), (&from[..], 15));
            assert!(
                path[12..]
                    .iter()
                    .zip(&to)
                    .all(|(a, b)| (a - b).abs() < 1e-6)
            );
            let middle = (path[6].powi(2) + path[7].powi(2) + path[8].powi(2)).sqrt();
            let expected = if sphere { 1.5 } else { 1.25f32.sqrt() };
            assert!((middle - expected).abs() < 1e-6, "{middle}");
        }
        // Between a vector and its opposite there is no unique arc: the straight line.
        let path = path_between(&from, &[-1.0, 0.0, 0.0], 3, true);
        assert_eq!(&path[3..6], &[0.0; 3]);
    }
}
