//! Convergence diagnostics of MCMC draws: whether the chains have mixed, and how precise they are.
//!
//! Every function takes a [`Draws`] view, chains × draws of one scalar quantity (an energy, a pixel, a
//! summary of an image), and works in `f64` on the host, without threads, so that the command line and
//! the browser report the same numbers. [`summarise`] computes all statistics of a table in one pass;
//! the other functions compute one statistic each.
//!
//! # Sources
//!
//! * Rank-normalised split R̂, bulk and tail ESS, quantile MCSE: Vehtari, Gelman, Simpson, Carpenter
//!   and Bürkner (2021), "Rank-normalization, folding, and localization: an improved R̂",
//!   *Bayesian Analysis* 16(2).
//! * Truncation of the autocorrelation sum: Geyer (1992), "Practical Markov chain Monte Carlo",
//!   *Statistical Science* 7(4).
//! * E-BFMI: Betancourt (2016), "Diagnosing suboptimal cotangent disintegrations in Hamiltonian
//!   Monte Carlo", arXiv:1604.00695.
//!
//! # Conventions where well-known implementations disagree
//!
//! | Case | Here | Like |
//! |---|---|---|
//! | Folding, odd number of draws | fold after splitting | ArviZ |
//! | [`mcse_sd`] | ESS of the squared deviations | posterior |
//! | One chain | split statistics are defined | posterior |
//! | All draws equal | every statistic is NaN | posterior |
//! | Draws vary, but an indicator or the squared deviations do not | ESS = number of draws | ArviZ |
//! | Any draw NaN or ±∞ | every statistic is NaN | posterior, Stan |
//! | Fewer than 4 draws per sequence | every statistic is NaN | stricter than both |
//!
//! A *sequence* is a run of draws that a statistic treats as one chain: half a chain for split
//! statistics, which need [`MIN_DRAWS`] draws per chain, and a whole chain for [`rhat_identity`] and
//! [`ess_identity`], which need [`MIN_SEQUENCE`]. NaN always means "undefined", never "bad"; [`Status`]
//! gives the reason.

mod autocorr;
mod energy;
mod ess;
mod mcse;
mod nested;
mod rank;
mod rhat;
mod stein;
mod summary;

pub use autocorr::{autocorrelation, autocovariance};
pub use energy::e_bfmi;
pub use ess::{TAIL, ess_bulk, ess_identity, ess_mean, ess_median, ess_quantile, ess_sd, ess_tail};
pub use mcse::{mcse_mean, mcse_median, mcse_quantile, mcse_sd};
pub use nested::nested_rhat;
pub use rank::{rank_counts, rank_normalise};
pub use rhat::{rhat_bulk, rhat_folded, rhat_identity, rhat_rank, rhat_split};
pub use stein::ksd;
pub use summary::{Rule, Status, Summary, largest_rhat, smallest_ess, summarise};

use crate::error::{Error, Result};

/// The smallest number of draws of a sequence.
///
/// Geyer's sum starts with pairs of lags: with fewer draws there is nothing to sum, and the "ESS" would
/// depend on the shape alone.
pub const MIN_SEQUENCE: usize = 4;

/// The smallest number of draws per chain for statistics that split chains in halves.
pub const MIN_DRAWS: usize = 2 * MIN_SEQUENCE;

/// Draws of one scalar quantity: one or more chains of equal length, borrowed.
///
/// The order of the chains does not matter; the order of the draws within a chain does.
///
/// ```
/// use mixwell::diagnostics::{Draws, MIN_DRAWS};
///
/// let chains = vec![vec![0.0; MIN_DRAWS], vec![1.0; MIN_DRAWS]];
/// let draws = Draws::new(&chains)?;
/// assert_eq!((draws.chains(), draws.draws()), (2, MIN_DRAWS));
/// # Ok::<(), mixwell::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Draws<'a> {
    /// Never empty, and all of length `draws`.
    chains: Vec<&'a [f64]>,
    draws: usize,
}

impl<'a> Draws<'a> {
    /// Views separate chains, such as `&[Vec<f64>]` or `&[&[f64]]`.
    ///
    /// Chains without draws are accepted: a run that has just started is too short, not wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no chain or the chains differ in length.
    pub fn new<C: AsRef<[f64]>>(chains: &'a [C]) -> Result<Self> {
        let chains: Vec<&[f64]> = chains.iter().map(AsRef::as_ref).collect();
        let Some(draws) = chains.first().map(|chain| chain.len()) else {
            return Err(Error::invalid(
                "MCMC draws",
                "at least one chain",
                "none",
                "run at least one chain",
            ));
        };
        if let Some(ragged) = chains.iter().position(|chain| chain.len() != draws) {
            return Err(Error::invalid(
                "MCMC draws",
                format_args!("{draws} draws in every chain, as in chain 0"),
                format_args!("{} in chain {ragged}", chains[ragged].len()),
                "truncate all chains to the same length",
            ));
        }
        Ok(Self { chains, draws })
    }

    /// Views one buffer that holds `chains` chains, one after another.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `chains` is 0 or does not divide the buffer's length.
    pub fn from_flat(values: &'a [f64], chains: usize) -> Result<Self> {
        if chains == 0 || !values.len().is_multiple_of(chains) {
            return Err(Error::invalid(
                "MCMC draws",
                "one or more chains of equal length",
                format_args!("{} values for {chains} chains", values.len()),
                "pass the number of chains in the buffer",
            ));
        }
        Ok(Self::contiguous(values, chains))
    }

    /// The number of chains, at least 1.
    pub fn chains(&self) -> usize {
        self.chains.len()
    }

    /// The number of draws in each chain.
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// The number of draws in all chains together.
    pub fn size(&self) -> usize {
        self.chains.len() * self.draws
    }

    /// The chains, each a slice of [`Draws::draws`] values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [f64]> {
        self.chains.iter().copied()
    }

    /// The halves of every chain, as twice as many chains; the middle draw of an odd number is left out.
    ///
    /// After splitting, a drift within a chain shows as a difference between chains.
    pub fn split(&self) -> Self {
        let half = self.draws / 2;
        let halves = self
            .iter()
            .flat_map(|chain| [&chain[..half], &chain[self.draws - half..]]);
        Self {
            chains: halves.collect(),
            draws: half,
        }
    }

    /// As [`Draws::from_flat`], for a shape known to match; a remainder would be ignored.
    fn contiguous(values: &'a [f64], chains: usize) -> Self {
        let draws = values.len() / chains;
        let chains = (0..chains)
            .map(|chain| &values[chain * draws..][..draws])
            .collect();
        Self { chains, draws }
    }

    /// All draws, chain by chain.
    fn values(&self) -> impl Iterator<Item = f64> {
        self.iter().flatten().copied()
    }

    /// Chain and draw of the first NaN or infinity.
    fn first_non_finite(&self) -> Option<(usize, usize)> {
        self.iter().enumerate().find_map(|(index, chain)| {
            chain
                .iter()
                .position(|x| !x.is_finite())
                .map(|draw| (index, draw))
        })
    }

    /// Whether all draws are the same up to rounding.
    fn is_constant(&self) -> bool {
        let mut range = Range::default();
        self.values().for_each(|x| range.include(x));
        range.is_point()
    }

    /// Whether statistics that need `min_draws` draws per chain are defined.
    fn supports(&self, min_draws: usize) -> bool {
        self.draws >= min_draws && self.first_non_finite().is_none() && !self.is_constant()
    }

    /// The mean of all draws.
    fn mean(&self) -> f64 {
        mean(self.iter().map(mean_of), self.chains())
    }

    /// The standard deviation of all draws, with divisor `size − 1`; NaN for fewer than two.
    fn sd(&self) -> f64 {
        if self.size() < 2 {
            return f64::NAN;
        }
        let mean = self.mean();
        let squares: f64 = self.values().map(|x| (x - mean).powi(2)).sum();
        (squares / (self.size() as f64 - 1.0)).sqrt()
    }
}

/// The smallest interval that holds the values seen.
struct Range {
    min: f64,
    max: f64,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Range {
    fn include(&mut self, x: f64) {
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    /// Whether the values differ by no more than rounding.
    ///
    /// The tolerance is relative, unlike ArviZ's absolute 1e-15, so that the answer does not depend on
    /// the unit. Exact equality would miss the squared deviations of draws that take two values.
    fn is_point(&self) -> bool {
        let size = self.min.abs().max(self.max.abs());
        let spread = self.max - self.min;
        spread.is_finite() && spread <= 16.0 * f64::EPSILON * size
    }
}

/// The mean of `count` values; NaN if there are none.
fn mean(mut values: impl Iterator<Item = f64>, count: usize) -> f64 {
    // Relative to the first value, so that equal values have exactly that mean. Otherwise rounding would
    // give stuck chains a tiny variance, and R̂ a huge number instead of ∞.
    let Some(first) = values.next() else {
        return f64::NAN;
    };
    first + values.map(|x| x - first).sum::<f64>() / count as f64
}

/// The mean of a slice; NaN for an empty one.
fn mean_of(values: &[f64]) -> f64 {
    mean(values.iter().copied(), values.len())
}

/// The variance of a slice with divisor `len − 1`; NaN for fewer than two values.
fn variance_of(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return f64::NAN;
    }
    let mean = mean_of(values);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    squares / (values.len() as f64 - 1.0)
}
