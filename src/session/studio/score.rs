//! Scores of one image, and gradient descent on the energy from it.

use super::{
    super::arrays::{Bytes, Floats},
    generation::Studio,
    info::{Descent, Percentiles, Score},
};
use crate::{
    artifact::scores::percentile,
    device::{read, scalar},
    error::{Error, Result},
    pixels,
    system::{clel::Clel, latent_prior},
};

impl Studio {
    /// Scores one image.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size, [`Error::Device`] when the device cannot be
    /// read.
    pub async fn score(&mut self, bytes: &[u8]) -> Result<Score> {
        let x = self.image(bytes)?;
        let loaded = self.loaded()?;
        let (energy, slope) = match latent_prior::of(&*loaded.model) {
            Some(model) => model.score(x.clone(), latent_prior::STEPS).await?,
            None => {
                let point = loaded.model.target("pixel")?.point(x.clone());
                (point.energy, point.gradient)
            }
        };
        let gradient: Vec<f32> = read(slope).await?;
        let energy = scalar(energy).await?;
        let clel = loaded.model.downcast_ref::<Clel>();
        let ood = match clel.and_then(|clel| clel.scores(x.clone()).1) {
            Some(ood) => Some(scalar(ood).await?),
            None => None,
        };
        let sets = loaded.scores.iter().flat_map(|s| &s.sets);
        let percentiles = sets
            .map(|set| Percentiles {
                energy: percentile(&set.energy, set.images, energy),
                ood: ood
                    .zip(set.ood.as_deref())
                    .map(|(v, q)| percentile(q, set.images, v)),
            })
            .collect();
        let class_cosines = match clel.filter(|clel| clel.has_latents()) {
            Some(clel) => {
                let cosines = clel
                    .latent(x.clone())?
                    .matmul(clel.class_latents()?.transpose());
                Some(Floats(read(cosines).await?))
            }
            None => None,
        };
        Ok(Score {
            energy,
            ood,
            percentiles,
            gradient: gradient.into(),
            class_cosines,
            verdict: loaded.verdict(x).await?,
        })
    }

    /// Follows −∇E without noise, from an image, or from the last state if `image` is `None`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size, a missing start, or a latent prior;
    /// [`Error::Device`] when the device cannot be read.
    pub async fn descend(&mut self, image: Option<&[u8]>, steps: usize) -> Result<Descent> {
        let (mut step, mut x) = match image {
            Some(bytes) => (0, self.image(bytes)?),
            None => self.descent.clone().ok_or_else(|| {
                Error::invalid(
                    "descent",
                    "an image to start from",
                    "none",
                    "score an image first",
                )
            })?,
        };
        Error::unless_within("steps", steps, 0, 1000)?;
        let loaded = self.loaded()?;
        if latent_prior::of(&*loaded.model).is_some() {
            return Err(Error::invalid(
                "descent",
                "a model whose energy depends on the image alone",
                "a generator with a latent prior",
                "reconstruct the image instead",
            ));
        }
        let target = loaded.model.target("pixel")?;
        // The drift of the model's own chains in pixel space.
        let epsilon = match loaded.space {
            "pixel" => loaded.sampler.step_size,
            _ => loaded.card.step_size("pixel", "mala"),
        };
        let drift = epsilon.map_or(1e-3, |e| e * e / 2.0);
        let mut point = target.point(x.clone());
        for _ in 0..steps {
            x = (x - point.gradient * drift).clamp(0.0, 1.0);
            point = target.point(x.clone());
            step += 1;
        }
        let bytes: Vec<f32> = read(x.clone()).await?;
        let gradient = point.gradient.powi_scalar(2).mean().sqrt();
        let descent = Descent {
            step,
            image: Bytes(bytes.into_iter().map(pixels::byte).collect()),
            energy: scalar(point.energy).await?,
            gradient: scalar(gradient).await?,
        };
        self.descent = Some((step, x));
        Ok(descent)
    }
}
