//! R̂, the potential scale reduction factor: whether the chains agree with each other.

use super::rank::{NormalScores, Order};
use super::{Draws, MIN_DRAWS, MIN_SEQUENCE, mean_of, variance_of};

/// Classic R̂ of whole chains, without splitting or ranks (Gelman and Rubin 1992).
///
/// Blind to a drift that all chains share, and to differences in scale; kept for comparison with
/// other tools. NaN when a draw is not finite, for fewer than two chains or [`MIN_SEQUENCE`] draws,
/// or when all draws are equal; ∞ when every chain is constant but not all at one value.
pub fn rhat_identity(draws: &Draws) -> f64 {
    if !draws.supports(MIN_SEQUENCE) {
        return f64::NAN;
    }
    scale_reduction(draws)
}

/// R̂ of the chains' halves, without ranks (Gelman et al. 2013).
///
/// NaN when a draw is not finite, for fewer than [`MIN_DRAWS`] draws per chain, or when all draws
/// are equal; ∞ when every half is constant but not all at one value. One chain is enough.
pub fn rhat_split(draws: &Draws) -> f64 {
    if !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    scale_reduction(&draws.split())
}

/// R̂ of the rank-normalised halves: do the chains agree in location? (Vehtari et al. 2021)
///
/// Undefined (NaN) and infinite as [`rhat_split`].
pub fn rhat_bulk(draws: &Draws) -> f64 {
    if !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    Ranked::new(draws, Order::new(draws)).rhat_bulk()
}

/// R̂ of the rank-normalised distances from the median: do the chains agree in scale and tails?
/// (Vehtari et al. 2021)
///
/// Folds after splitting, as ArviZ does. Undefined (NaN) and infinite as [`rhat_split`]; also NaN
/// when all draws are equally far from the median.
pub fn rhat_folded(draws: &Draws) -> f64 {
    if !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    Ranked::new(draws, Order::new(draws)).rhat_folded()
}

/// The recommended R̂: the larger of [`rhat_bulk`] and [`rhat_folded`] (Vehtari et al. 2021).
///
/// Near 1 when the chains agree; above 1.01 they should not be pooled. Undefined (NaN) and infinite as
/// [`rhat_bulk`]: if only the folded one is undefined, as for draws that take two values, there is no
/// scale to compare.
pub fn rhat_rank(draws: &Draws) -> f64 {
    if !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    Ranked::new(draws, Order::new(draws)).rhat()
}

/// Split draws in order, ready for the rank statistics.
pub(super) struct Ranked {
    order: Order,
    scores: NormalScores,
    /// Rank-normalised draws of the split chains, one chain after another.
    bulk: Vec<f64>,
    sequences: usize,
}

impl Ranked {
    /// From draws and their order.
    pub(super) fn new(draws: &Draws, order: Order) -> Self {
        let sequences = 2 * draws.chains();
        let order = order.into_split(draws.draws());
        let scores = NormalScores::new(sequences * (draws.draws() / 2));
        let bulk = order.normal_scores(&scores);
        Self {
            order,
            scores,
            bulk,
            sequences,
        }
    }

    /// The rank-normalised split chains.
    pub(super) fn bulk(&self) -> Draws<'_> {
        Draws::contiguous(&self.bulk, self.sequences)
    }

    fn rhat_bulk(&self) -> f64 {
        scale_reduction(&self.bulk())
    }

    fn rhat_folded(&self) -> f64 {
        let folded = self.order.folded().normal_scores(&self.scores);
        scale_reduction(&Draws::contiguous(&folded, self.sequences))
    }

    /// The larger of both R̂; `f64::max` ignores an undefined one.
    pub(super) fn rhat(&self) -> f64 {
        self.rhat_bulk().max(self.rhat_folded())
    }
}

/// √((B/W + n − 1) / n), with the variance B/n between and W within sequences of length n.
fn scale_reduction(sequences: &Draws) -> f64 {
    let n = sequences.draws() as f64;
    let means: Vec<f64> = sequences.iter().map(mean_of).collect();
    let variances: Vec<f64> = sequences.iter().map(variance_of).collect();
    let between = n * variance_of(&means);
    let within = mean_of(&variances);
    ((between / within + n - 1.0) / n).sqrt()
}
