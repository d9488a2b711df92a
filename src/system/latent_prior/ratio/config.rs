//! Training settings of the prior: the arm, its networks and chains, and the rule for stages.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    nn::tilt::TiltConfig,
};

/// Method of learning the prior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// No learning: N(0, I).
    Gaussian,
    /// One energy by maximum likelihood with persistent chains (LEBM; Pang et al., NeurIPS 2020).
    Lebm,
    /// One ratio between N(0, I) and the latents: noise-contrastive estimation in one shot.
    Nce,
    /// Ratios between fixed bridges, learned in parallel: telescoping density-ratio estimation
    /// (Rhodes, Xu, Gutmann, NeurIPS 2020) with the linear bridges √(1 − α²) z₀ + α z₊.
    Bridges,
    /// Ratios learned in sequence, each between the current prior and the posterior latents under it.
    Adaptive,
}

impl Arm {
    /// The arm's name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Lebm => "lebm",
            Self::Nce => "nce",
            Self::Bridges => "bridges",
            Self::Adaptive => "adaptive",
        }
    }
}

impl std::str::FromStr for Arm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        serde_json::from_value(name.into()).map_err(|_| {
            let known = "gaussian, lebm, nce, bridges, adaptive";
            Error::invalid("arm", known, name, "choose one of these")
        })
    }
}

/// Rule for ending a stage, and for ending the prior. Our addition: the paper's stages have fixed
/// lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Iterations between checks of the held-out loss.
    pub check_every: u64,
    /// A check counts as progress if it lowers the stage's smallest held-out loss by more than this.
    pub tolerance: f64,
    /// A stage ends after this many consecutive checks without progress.
    pub patience: u32,
    /// A stage ends after this many iterations at the latest.
    pub longest: u64,
    /// If a stage's smallest held-out loss is at least this (ln 2 = 0.693 is chance), its ratio is
    /// discarded and the prior is finished.
    pub chance: f64,
    /// Largest number of stages.
    pub stages: usize,
}

/// Training settings of the prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatioConfig {
    /// Method.
    pub arm: Arm,
    /// Units per hidden layer of each ratio.
    pub hidden: usize,
    /// Hidden layers.
    pub layers: usize,
    /// Learning rate of Adam (β₁ = 0.5, β₂ = 0.999).
    pub learning_rate: f64,
    /// Decay of the ratios' moving averages, which are the weights that are frozen.
    pub ema_decay: f64,
    /// Number of persistent prior chains; the checks use as many again.
    pub chains: usize,
    /// MALA transitions of each chain per iteration.
    pub transitions: usize,
    /// Initial step size; it then adapts to an acceptance of 0.574.
    pub step_size: f64,
    /// Warm-up transitions of the chains under the new prior when a stage ends.
    pub burn_in: usize,
    /// Whether the learning rate decays to 2 % along a cosine over `rule.longest` iterations of a stage.
    /// This removes the noise of the last steps from the frozen ratio, unless a plateau ends the stage
    /// long before.
    #[serde(default)]
    pub anneal: bool,
    /// Largest |log ratio| of one adaptive stage, in nats (`bound·tanh(U/bound)`); 0 disables it.
    /// Without overlap between its two distributions the classifier saturates and its ratio is
    /// extrapolation; the bound limits how far one stage moves the prior, and the next stage starts
    /// closer. Our addition.
    #[serde(default)]
    pub bound: f64,
    /// Whether the chains are resampled with the weights of a stage's ratio when it is added to the
    /// prior, as in sequential Monte Carlo (Del Moral, Doucet, Jasra 2006): local moves alone move no
    /// mass between modes.
    #[serde(default)]
    pub resample: bool,
    /// Whether a stage starts with the hidden layers of the previous one and a new last layer: the
    /// remaining differences need similar features. Our addition.
    #[serde(default)]
    pub inherit: bool,
    /// Number of ratios between bridges.
    pub bridges: usize,
    /// Rule for ending stages.
    pub rule: Rule,
}

impl RatioConfig {
    /// Architecture of a ratio.
    pub fn network(&self) -> TiltConfig {
        TiltConfig::Mlp {
            hidden: self.hidden,
            layers: self.layers,
            bound: match self.arm {
                Arm::Adaptive => self.bound,
                // A single ratio or energy must not be bounded.
                _ => 0.0,
            },
        }
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first number outside its domain.
    pub fn check(&self) -> Result<()> {
        Error::unless_positive(&[
            ("prior.hidden", self.hidden as f64),
            ("prior.layers", self.layers as f64),
            ("prior.learning_rate", self.learning_rate),
            ("prior.chains", self.chains as f64),
            ("prior.transitions", self.transitions as f64),
            ("prior.step_size", self.step_size),
            ("prior.bridges", self.bridges as f64),
            ("prior.rule.check_every", self.rule.check_every as f64),
            ("prior.rule.patience", f64::from(self.rule.patience)),
            ("prior.rule.longest", self.rule.longest as f64),
            ("prior.rule.stages", self.rule.stages as f64),
            ("prior.rule.chance", self.rule.chance),
        ])?;
        let fine = (0.0..1.0).contains(&self.ema_decay)
            && self.rule.tolerance.is_finite()
            && (0.0..1e3).contains(&self.bound);
        if !fine {
            return Err(Error::invalid(
                "prior",
                "an ema_decay in [0, 1), a finite rule.tolerance, and a bound in [0, 1000)",
                format!(
                    "{}, {} and {}",
                    self.ema_decay, self.rule.tolerance, self.bound
                ),
                "change the recipe",
            ));
        }
        Ok(())
    }
}
