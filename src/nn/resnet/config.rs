//! The architecture of the energy network, with the authors' presets.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Architecture of f and g.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyNetConfig {
    /// `[channels, height, width]` of x.
    pub shape: [usize; 3],
    /// (channels, residual blocks) of each stage; the stem outputs the first stage's channels. Before
    /// every stage but the first, 2×2 average pooling halves the image. An odd size is rounded down:
    /// its last row or column is dropped, as in torch (28 → 14 → 7 → 3).
    pub stages: Vec<(usize, usize)>,
    /// Number of independent trunks: the input of trunk i is x after 2ⁱ×2ⁱ average pooling.
    pub scales: usize,
    /// Hidden units of the head and of the projector.
    pub hidden: usize,
    /// Dimension of f(x) and of g(f(x)).
    pub features: usize,
    /// Mean of each channel, subtracted from x.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, by which x is then divided.
    pub std: Vec<f64>,
}

impl EnergyNetConfig {
    fn preset(
        shape: [usize; 3],
        mean: &[f64],
        std: &[f64],
        stages: [(usize, usize); 4],
        scales: usize,
    ) -> Self {
        Self {
            shape,
            stages: stages.into(),
            scales,
            hidden: 2048,
            features: 128,
            mean: mean.into(),
            std: std.into(),
        }
    }

    /// Our own, for 28×28 grey images: 1.09 M parameters.
    pub fn tiny(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(32, 1), (32, 1), (64, 1), (64, 1)];
        Self::preset(shape, mean, std, stages, 1)
    }

    /// The authors' `resnet_small`: 1.73 M parameters.
    pub fn small(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(64, 1), (64, 1), (128, 1), (128, 1)];
        Self::preset(shape, mean, std, stages, 1)
    }

    /// CLEL-Base, the authors' `resnet`: 6.96 M parameters.
    pub fn base(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(128, 2), (128, 2), (256, 2), (256, 2)];
        Self::preset(shape, mean, std, stages, 1)
    }

    /// CLEL-Large, the authors' `resnet_large`: three trunks, 30.7 M parameters.
    pub fn large(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(256, 2), (256, 2), (256, 2), (256, 2)];
        Self::preset(shape, mean, std, stages, 3)
    }

    /// Dimension of x.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that every number is usable and that pooling leaves pixels for the last stage.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first invalid part.
    pub fn check(&self) -> Result<()> {
        check_stages("energy net", &self.stages)?;
        check_normalisation("energy net", self.shape, &self.mean, &self.std)?;
        let [_, h, w] = self.shape;
        // Averaging by 2ⁱ and then n times by 2, each rounded down, is ⌊side/2ⁱ⁺ⁿ⌋.
        let halvings = (self.scales + self.stages.len()).saturating_sub(2) as u32;
        let needed = 1_usize.checked_shl(halvings).unwrap_or(usize::MAX);
        if self.scales == 0 || h.min(w) < needed || self.hidden == 0 || self.features == 0 {
            return Err(Error::invalid(
                "energy net",
                format!(
                    "at least one scale, hidden unit and feature, and images of at least {needed} \
                     pixels per side"
                ),
                format!(
                    "{} scales, {} hidden units, {} features, {h}×{w} pixels",
                    self.scales, self.hidden, self.features
                ),
                "use fewer stages or scales, or larger images",
            ));
        }
        Ok(())
    }
}

/// Checks that there are stages and that each has channels and blocks.
pub(in crate::nn) fn check_stages(what: &str, stages: &[(usize, usize)]) -> Result<()> {
    if stages.is_empty() || stages.iter().any(|&(c, n)| c == 0 || n == 0) {
        return Err(Error::invalid(
            format!("stages of the {what}"),
            "at least one stage, each of at least one channel and one block",
            format!("{stages:?}"),
            "change the stages",
        ));
    }
    Ok(())
}

/// Checks that mean and standard deviation match the channels of `shape`.
pub(in crate::nn) fn check_normalisation(
    what: &str,
    shape: [usize; 3],
    mean: &[f64],
    std: &[f64],
) -> Result<()> {
    let [c, h, w] = shape;
    let fits = c * h * w > 0
        && mean.len() == c
        && std.len() == c
        && mean.iter().all(|m| m.is_finite())
        && std.iter().all(|s| s.is_finite() && *s > 0.0);
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        format!("input of the {what}"),
        "an image shape, and a finite mean and a positive standard deviation for each channel",
        format!("shape {shape:?}, mean {mean:?}, std {std:?}"),
        "change shape, mean or std",
    ))
}
