//! The effective sample size: the number of independent draws with the same precision.

use super::autocorr::Autocovariance;
use super::rank::Order;
use super::rhat::Ranked;
use super::{Draws, MIN_DRAWS, MIN_SEQUENCE, variance_of};

/// The probabilities of the quantiles used by [`ess_tail`].
pub const TAIL: [f64; 2] = [0.05, 0.95];

/// ESS of whole chains, without splitting or ranks; kept for comparison with other tools.
///
/// In draws. NaN when a draw is not finite, for fewer than [`MIN_SEQUENCE`] draws per chain, or when
/// all draws are equal.
pub fn ess_identity(draws: &Draws) -> f64 {
    if !draws.supports(MIN_SEQUENCE) {
        return f64::NAN;
    }
    effective(&mut Autocovariance::new(draws.draws()), draws, |x| x)
}

/// ESS for the mean, of the split chains (Vehtari et al. 2021; Geyer 1992).
///
/// In draws: S / τ, with τ the integrated autocorrelation time. Antithetic chains can exceed their S
/// draws, up to S log₁₀ S. NaN when a draw is not finite, for fewer than [`MIN_DRAWS`]
/// draws per chain, or when all draws are equal.
pub fn ess_mean(draws: &Draws) -> f64 {
    ess_of(draws, |x| x)
}

/// ESS for the standard deviation: that of the squared deviations from the mean.
///
/// Units and undefined cases as [`ess_mean`]; the number of draws when all draws are equally far
/// from the mean.
pub fn ess_sd(draws: &Draws) -> f64 {
    let mean = draws.mean();
    ess_of(draws, |x| (x - mean).powi(2))
}

/// ESS of the rank-normalised split chains, for the bulk of the distribution (Vehtari et al. 2021).
///
/// Defined even where the mean or variance of the distribution is not. Units and undefined cases as
/// [`ess_mean`].
pub fn ess_bulk(draws: &Draws) -> f64 {
    if !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    let ranked = Ranked::new(draws, Order::new(draws));
    effective(
        &mut Autocovariance::new(draws.draws() / 2),
        &ranked.bulk(),
        |z| z,
    )
}

/// ESS for the quantile at probability `p`: that of the indicator "draw ≤ quantile"
/// (Vehtari et al. 2021).
///
/// Units and undefined cases as [`ess_mean`]; NaN too for `p` outside [0, 1]. The number of draws
/// when no draw lies above the quantile, as happens for discrete draws.
pub fn ess_quantile(draws: &Draws, p: f64) -> f64 {
    let [ess] = ess_quantiles(draws, [p]);
    ess
}

/// ESS for the median; [`ess_quantile`] at 0.5.
pub fn ess_median(draws: &Draws) -> f64 {
    ess_quantile(draws, 0.5)
}

/// The smaller ESS of the 5 % and the 95 % quantile, for the tails of the distribution (Vehtari et al.
/// 2021).
///
/// Units and undefined cases as [`ess_quantile`].
pub fn ess_tail(draws: &Draws) -> f64 {
    let [low, high] = ess_quantiles(draws, TAIL);
    low.min(high)
}

/// The ESS of several quantiles, with one sort and one FFT plan.
fn ess_quantiles<const N: usize>(draws: &Draws, p: [f64; N]) -> [f64; N] {
    let probabilities = p.iter().all(|p| (0.0..=1.0).contains(p));
    if !probabilities || !draws.supports(MIN_DRAWS) {
        return [f64::NAN; N];
    }
    let mut transform = Autocovariance::new(draws.draws() / 2);
    let order = Order::new(draws);
    p.map(|p| effective_below(&mut transform, &draws.split(), order.quantile(p)))
}

/// The ESS of the split chains, of `map` of the draws.
pub(super) fn ess_of(draws: &Draws, map: impl Fn(f64) -> f64) -> f64 {
    if !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    effective(
        &mut Autocovariance::new(draws.draws() / 2),
        &draws.split(),
        map,
    )
}

/// The ESS of the indicator "draw ≤ limit".
pub(super) fn effective_below(
    transform: &mut Autocovariance,
    sequences: &Draws,
    limit: f64,
) -> f64 {
    effective(transform, sequences, |x| f64::from(u8::from(x <= limit)))
}

/// The ESS of `map` of the draws, with each sequence as a separate chain.
///
/// The sequences must be finite and have at least [`MIN_SEQUENCE`] draws.
pub(super) fn effective(
    transform: &mut Autocovariance,
    sequences: &Draws,
    map: impl Fn(f64) -> f64,
) -> f64 {
    let size = sequences.size() as f64;
    let moments = transform.mean(sequences, map);
    if moments.constant {
        // The draws vary but `map` of them does not: nothing is lost to autocorrelation.
        return size;
    }
    let n = sequences.draws() as f64;
    let biased = moments.autocovariance[0];
    let within = biased * n / (n - 1.0);
    let between = if sequences.chains() > 1 {
        variance_of(&moments.means)
    } else {
        0.0
    };
    let total = biased + between;
    let time = correlation_time(sequences.draws(), |lag| {
        1.0 - (within - moments.autocovariance[lag]) / total
    });
    if time.is_nan() {
        return f64::NAN;
    }
    // For strongly antithetic chains the sum is mostly noise and may even be negative; the bound
    // keeps the estimate within S log₁₀ S (Vehtari et al. 2021).
    size / time.max(1.0 / size.log10())
}

/// The integrated autocorrelation time −1 + 2 Σ ρ, cut off where noise takes over.
///
/// Geyer (1992): for a reversible chain the sums of ρ over pairs of lags (0, 1), (2, 3), … are positive
/// and decreasing. The sum therefore ends at the first non-positive pair, and a pair above its
/// predecessor is lowered to it. The details follow Stan, posterior and ArviZ.
fn correlation_time(draws: usize, correlation: impl Fn(usize) -> f64) -> f64 {
    // The correlation at lag 0 is 1 by definition; the estimate would be slightly less.
    let mut pair = (1.0, correlation(1));
    let (mut sum, mut lowest) = (0.0, f64::INFINITY);
    let mut lag = 2;
    while lag + 2 < draws && pair.0 + pair.1 > 0.0 {
        lowest = lowest.min(pair.0 + pair.1);
        sum += lowest;
        pair = (correlation(lag), correlation(lag + 1));
        lag += 2;
    }
    if (pair.0 + pair.1).is_nan() {
        return f64::NAN;
    }
    // Of the pair that ended the sequence, the even lag counts once if it is positive, which improves
    // the estimate for antithetic chains. If the draws ran out instead, the pair is valid and its even
    // lag counts regardless of sign.
    let even = if pair.0 > 0.0 || pair.0 + pair.1 >= 0.0 {
        pair.0
    } else {
        0.0
    };
    -1.0 + 2.0 * sum + even
}
