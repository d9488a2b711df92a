//! Summaries of quantities, and the convergence rule.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::autocorr::Autocovariance;
use super::ess::{effective, effective_below};
use super::rank::Order;
use super::rhat::Ranked;
use super::{Draws, MIN_DRAWS, TAIL};
use crate::error::{Error, Result};

/// The crate's convergence rule.
///
/// Chains count as converged if rank-normalised split R̂ ≤ [`Rule::max_rhat`], and bulk and tail ESS
/// are each ≥ [`Rule::min_ess_per_chain`] × number of chains. The defaults, 1.01 and 100, are from
/// Vehtari et al. (2021). An undefined or infinite statistic never passes.
///
/// No rule can detect a mode that every chain missed, and with a single chain R̂ compares only its
/// halves. Vehtari et al. recommend at least four chains from dispersed starts.
///
/// When read from a file, missing fields get their defaults and unknown fields are refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The largest R̂ accepted, inclusive.
    pub max_rhat: f64,
    /// The smallest bulk and tail ESS accepted, inclusive, in draws per chain.
    pub min_ess_per_chain: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            max_rhat: 1.01,
            min_ess_per_chain: 100.0,
        }
    }
}

impl Rule {
    /// Checks that the thresholds can be met and are meaningful.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `max_rhat` is not a number above 1, or `min_ess_per_chain` not a
    /// positive number.
    pub fn validate(&self) -> Result<()> {
        let check = |what, value: f64, bound: f64| {
            if value.is_finite() && value > bound {
                return Ok(());
            }
            Err(Error::invalid(
                format_args!("convergence rule, {what}"),
                format_args!("a number above {bound}"),
                value,
                "omit it for the default",
            ))
        };
        check("max_rhat", self.max_rhat, 1.0)?;
        check("min_ess_per_chain", self.min_ess_per_chain, 0.0)
    }

    /// The bulk and tail ESS required for a number of chains.
    pub fn min_ess(&self, chains: usize) -> f64 {
        self.min_ess_per_chain * chains as f64
    }

    /// Whether R̂ and the smaller of bulk and tail ESS pass; NaN does not.
    fn accepts(&self, rhat: f64, ess: [f64; 2], chains: usize) -> bool {
        rhat <= self.max_rhat && ess.iter().all(|&ess| ess >= self.min_ess(chains))
    }
}

/// Convergence status of the chains.
///
/// Only [`Status::Converged`] and [`Status::NotConverged`] are statements about mixing. The others say
/// why there is none; of several reasons the first of `NonFinite`, `TooShort`, `Constant` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub enum Status {
    /// The [`Rule`] holds.
    Converged,
    /// The [`Rule`] does not hold: the chains disagree or are too correlated for their length.
    NotConverged,
    /// Too few draws per chain for any statistic to be defined.
    TooShort {
        /// Draws per chain.
        draws: usize,
        /// Required draws per chain, [`MIN_DRAWS`].
        needed: usize,
    },
    /// All draws of all chains are equal: either the quantity is fixed, or nothing ever moved.
    Constant,
    /// A draw is NaN or infinite; the first one, counted from 0.
    NonFinite {
        /// Its chain.
        chain: usize,
        /// Its index in the chain.
        draw: usize,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Converged => f.write_str("converged"),
            Self::NotConverged => f.write_str("not converged"),
            Self::TooShort { draws, needed } => {
                write!(f, "too short: {draws} of at least {needed} draws per chain")
            }
            Self::Constant => f.write_str("constant: all draws are equal"),
            Self::NonFinite { chain, draw } => {
                write!(f, "not finite: chain {chain}, draw {draw}")
            }
        }
    }
}

/// Estimates of one quantity, their errors, and the status of the chains.
///
/// `None` (JSON `null`) means undefined or infinite. For non-finite draws nothing is defined; for chains
/// that are too short or constant, only the mean and the standard deviation are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Summary {
    /// Name of the quantity.
    pub name: String,
    /// The number of chains.
    pub chains: usize,
    /// The number of draws in each chain.
    pub draws: usize,
    /// The mean of all draws, in their unit.
    pub mean: Option<f64>,
    /// The standard deviation of all draws (divisor size − 1), in their unit; needs two draws.
    pub sd: Option<f64>,
    /// The Monte Carlo standard error of the mean, in the unit of the draws; see
    /// [`mcse_mean`](super::mcse_mean).
    pub mcse_mean: Option<f64>,
    /// R̂, see [`rhat_rank`](super::rhat_rank). Under [`Status::NotConverged`], `None` is ∞: every
    /// half chain is stuck, but not all at the same value.
    pub rhat: Option<f64>,
    /// The bulk ESS in draws, see [`ess_bulk`](super::ess_bulk).
    pub ess_bulk: Option<f64>,
    /// The tail ESS in draws, see [`ess_tail`](super::ess_tail).
    pub ess_tail: Option<f64>,
    /// Whether the chains converged, or why that is undefined.
    pub status: Status,
}

/// Summarises the draws of one quantity and applies the convergence rule.
///
/// The statistics equal those of the functions of the same name, with only one sort and one FFT plan.
pub fn summarise(name: impl Into<String>, draws: &Draws, rule: &Rule) -> Summary {
    let degenerate = if let Some((chain, draw)) = draws.first_non_finite() {
        Some(Status::NonFinite { chain, draw })
    } else if draws.draws() < MIN_DRAWS {
        Some(Status::TooShort {
            draws: draws.draws(),
            needed: MIN_DRAWS,
        })
    } else if draws.is_constant() {
        Some(Status::Constant)
    } else {
        None
    };
    let (mean, sd) = (draws.mean(), draws.sd());
    let undefined = Summary {
        name: name.into(),
        chains: draws.chains(),
        draws: draws.draws(),
        mean: defined(mean),
        sd: defined(sd),
        mcse_mean: None,
        rhat: None,
        ess_bulk: None,
        ess_tail: None,
        status: Status::NotConverged,
    };
    if let Some(status) = degenerate {
        return Summary {
            status,
            ..undefined
        };
    }

    let split = draws.split();
    let mut transform = Autocovariance::new(split.draws());
    let order = Order::new(draws);
    let [low, high] = TAIL.map(|p| effective_below(&mut transform, &split, order.quantile(p)));
    let tail = low.min(high);
    let ranked = Ranked::new(draws, order);
    let bulk = effective(&mut transform, &ranked.bulk(), |z| z);
    let rhat = ranked.rhat();
    let ess = effective(&mut transform, &split, |x| x);
    let converged = rule.accepts(rhat, [bulk, tail], draws.chains());
    Summary {
        mcse_mean: defined(sd / ess.sqrt()),
        rhat: defined(rhat),
        ess_bulk: defined(bulk),
        ess_tail: defined(tail),
        status: if converged {
            Status::Converged
        } else {
            Status::NotConverged
        },
        ..undefined
    }
}

/// The largest R̂ of several quantities; `None` if one of them is undefined or infinite.
pub fn largest_rhat(summaries: &[Summary]) -> Option<f64> {
    worst(summaries, |s| s.rhat, f64::max)
}

/// The smallest bulk ESS of several quantities; `None` if one of them is undefined.
pub fn smallest_ess(summaries: &[Summary]) -> Option<f64> {
    worst(summaries, |s| s.ess_bulk, f64::min)
}

fn worst(
    summaries: &[Summary],
    pick: fn(&Summary) -> Option<f64>,
    of: fn(f64, f64) -> f64,
) -> Option<f64> {
    let values: Option<Vec<f64>> = summaries.iter().map(pick).collect();
    values?.into_iter().reduce(of)
}

fn defined(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
