//! Settings of the prior's learning: the arm, its networks and chains, and the rule of the stages.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    nn::tilt::TiltConfig,
};

/// How the prior is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Not at all: N(0, I).
    Gaussian,
    /// One energy by maximum likelihood with persistent chains (LEBM; Pang et al., NeurIPS 2020).
    Lebm,
    /// One ratio between N(0, I) and the latents: noise-contrastive estimation in one shot.
    Nce,
    /// Ratios between fixed bridges, learned side by side: telescoping density-ratio estimation
    /// (Rhodes, Xu, Gutmann, NeurIPS 2020) with the linear bridges √(1 − α²) z₀ + α z₊.
    Bridges,
    /// Ratios one after another, each between the prior so far and the latents under it.
    Adaptive,
}

impl Arm {
    /// The arm as settings write it.
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

/// When a stage ends and when stages end. Ours: the paper's stages have fixed lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Iterations between checks of the held-out loss.
    pub check_every: u64,
    /// A stage ends when its smallest held-out loss was not undercut by this much …
    pub tolerance: f64,
    /// … for so many checks, …
    pub patience: u32,
    /// … or after so many iterations.
    pub longest: u64,
    /// A stage that ends at a held-out loss of this or more (ln 2 = 0.693 is chance) has nothing to
    /// add: it is thrown away, and the prior is finished.
    pub chance: f64,
    /// Stages at most.
    pub stages: usize,
}

/// Settings of the prior's learning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatioConfig {
    /// How.
    pub arm: Arm,
    /// Units of a hidden layer of each ratio.
    pub hidden: usize,
    /// Hidden layers.
    pub layers: usize,
    /// Learning rate of Adam (β₁ = 0.5, β₂ = 0.999).
    pub learning_rate: f64,
    /// Decay of the ratios' moving averages, which are what is frozen.
    pub ema_decay: f64,
    /// Persistent prior chains, and as many for the checks.
    pub chains: usize,
    /// MALA transitions of each chain per iteration.
    pub transitions: usize,
    /// Their first step size; it follows the acceptance (0.574) from then on.
    pub step_size: f64,
    /// Transitions that carry the chains to the next stage's prior when one ends.
    pub burn_in: usize,
    /// Whether the learning rate falls to 2 % along a cosine over a stage's longest time (`rule.longest`):
    /// what is frozen is then free of the last steps' noise, if no plateau ended the stage long before.
    #[serde(default)]
    pub anneal: bool,
    /// Largest |log ratio| of one adaptive stage, in nats; 0: none. A stage between distributions that
    /// hardly overlap is told apart without a mistake, and its ratio then says nothing but "far": with a
    /// bound it moves the prior a limited way, and the next stage sees more. Ours.
    #[serde(default)]
    pub bound: f64,
    /// Whether the chains are drawn again by the weights of a stage's ratio when it is multiplied in, as
    /// in sequential Monte Carlo (Del Moral, Doucet, Jasra 2006): local moves alone carry no weight
    /// between modes.
    #[serde(default)]
    pub resample: bool,
    /// Whether a stage begins with the hidden layers of the last one, under a blank last layer: what is
    /// left to tell apart lies where the last stage looked. Ours.
    #[serde(default)]
    pub inherit: bool,
    /// Ratios between bridges.
    pub bridges: usize,
    /// When stages end.
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
                // One ratio, or one energy, has to reach as far as it must.
                _ => 0.0,
            },
        }
    }

    /// # Errors
    /// [`Error::Invalid`] naming the first number out of its domain.
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
