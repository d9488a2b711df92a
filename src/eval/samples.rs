//! Samples of a model for its evaluation, and the file that stores them.

use std::path::Path;

use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{features::CHUNK, report::Plan};
use crate::{
    artifact::{self, Card},
    error::{Error, Result},
    rng::{Purpose, Rng},
    session::studio::{Studio, StudioConfig},
};

/// Everything stored samples depend on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MadeBy {
    model: String,
    known_answer: String,
    samples: usize,
    seed: u64,
    rounds: Option<usize>,
    steps: Option<usize>,
    #[serde(default)]
    gradients: usize,
}

impl MadeBy {
    pub(super) fn new(plan: &Plan, card: &Card) -> Self {
        Self {
            model: card.name.clone(),
            // Identifies the weights: another training has other energies.
            known_answer: format!("{:?}", card.known_answer.energies),
            samples: plan.samples,
            seed: plan.seed,
            rounds: plan.rounds,
            steps: plan.steps,
            gradients: 0,
        }
    }

    /// Reads the samples of a file and the number of gradients per sample; `None` if there is no file.
    /// Fails if they were made differently.
    pub(super) fn read(&self, path: &Path, dim: usize) -> Result<Option<(Vec<u8>, usize)>> {
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let problem = |problem: String| Error::Data {
            path: path.into(),
            problem,
            fix: "name another file, or remove this one".into(),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| problem(format!("expected stored samples, found another file ({e})")))?;
        let made_by = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(MADE_BY))
            .and_then(|text| serde_json::from_str::<Self>(text).ok());
        let file = SafeTensors::deserialize(&bytes).map_err(|e| problem(e.to_string()))?;
        let images = file.tensor("samples").map_err(|e| problem(e.to_string()))?;
        let Some(mut made_by) = made_by else {
            return Err(problem(
                "expected samples with a record of how they were made".into(),
            ));
        };
        let gradients = std::mem::take(&mut made_by.gradients);
        if made_by != *self {
            return Err(problem(format!(
                "expected samples of {self:?}, found {made_by:?}"
            )));
        }
        match images.data().len() == self.samples * dim {
            true => Ok(Some((images.data().to_vec(), gradients))),
            false => Err(problem("its samples are incomplete".into())),
        }
    }

    /// Writes the samples, `[N, C, H, W]` bytes.
    pub(super) fn write(
        mut self,
        path: &Path,
        samples: &[u8],
        gradients: usize,
        [c, h, w]: [usize; 3],
    ) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| Error::model("samples", e, "report this as a bug");
        self.gradients = gradients;
        let shape = vec![self.samples, c, h, w];
        let view = TensorView::new(Dtype::U8, shape, samples).map_err(|e| fail(&e))?;
        let made_by = serde_json::to_string(&self).map_err(|e| fail(&e))?;
        let metadata = std::collections::HashMap::from([(MADE_BY.to_owned(), made_by)]);
        let bytes =
            safetensors::serialize([("samples", view)], Some(metadata)).map_err(|e| fail(&e))?;
        artifact::write_atomically(path, &bytes)
    }
}

const MADE_BY: &str = "made_by";

/// Samples N images; returns them as bytes, with the number of gradients per image.
pub(super) fn sample(
    plan: &Plan,
    card: &Card,
    weights: &[u8],
    device: &Device,
    note: &mut dyn FnMut(&str),
) -> Result<(Vec<u8>, usize)> {
    pollster::block_on(async {
        let mut studio = Studio::new(device.clone());
        let defaults = studio
            .load(card.clone(), weights, None, None)
            .await?
            .defaults;
        let (mut images, mut gradients) = (Vec::new(), 0);
        for (batch, first) in (0..plan.samples).step_by(CHUNK).enumerate() {
            let config = StudioConfig {
                seed: Rng::new(plan.seed)
                    .derived(Purpose::Start, batch as u64)
                    .seed(),
                count: CHUNK.min(plan.samples - first),
                rounds: plan.rounds.unwrap_or(defaults.rounds),
                steps: plan.steps.unwrap_or(defaults.steps),
                ..defaults.clone()
            };
            gradients = config.rounds * config.steps;
            studio.begin(config).await?;
            let frame = studio.advance(usize::MAX).await?;
            images.extend(frame.images.0);
            note(&format!(
                "{} of {} samples",
                first + frame.energies.0.len(),
                plan.samples
            ));
        }
        Ok((images, gradients))
    })
}
