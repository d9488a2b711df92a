//! Nested R̂: convergence of many short chains that start in groups.

use super::{Draws, mean_of, variance_of};
use crate::error::{Error, Result};

/// Nested R̂ (Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari and Gelman 2024, "Nested R̂:
/// assessing the convergence of Markov chain Monte Carlo when running many short chains", eqs. 5–9).
///
/// The chains, in order, form `superchains` groups of equal size; all chains of a group start at the
/// same point. The value is √(1 + B/W), with B the variance of the groups' means (divisor K − 1) and W
/// the mean over groups of the variance within a group: between its chains (divisor M − 1; 0 for M = 1)
/// plus the mean of the variances within its chains (divisor N − 1; 0 for N = 1). One draw per chain is
/// enough: the spread between a group's chains shows how far they have forgotten their start. NaN when
/// a draw is not finite, when groups have no inner variance (one draw of one chain per group), or when
/// all draws are equal; ∞ when the groups differ but the draws within each group do not.
///
/// # Errors
///
/// [`Error::Invalid`] for fewer than two groups, or a number that does not divide the chains.
pub fn nested_rhat(draws: &Draws, superchains: usize) -> Result<f64> {
    let chains = draws.chains();
    if superchains < 2 || !chains.is_multiple_of(superchains) {
        return Err(Error::invalid(
            "superchains",
            format_args!("a divisor of the {chains} chains, at least 2"),
            superchains,
            "choose groups of equal size",
        ));
    }
    let size = chains / superchains;
    if draws.draws() == 0
        || (size == 1 && draws.draws() == 1)
        || draws.first_non_finite().is_some()
        || draws.is_constant()
    {
        return Ok(f64::NAN);
    }
    let zero_if_single = |v: f64, n: usize| if n == 1 { 0.0 } else { v };
    let means: Vec<f64> = draws.iter().map(mean_of).collect();
    let variances: Vec<f64> = draws
        .iter()
        .map(|c| zero_if_single(variance_of(c), draws.draws()))
        .collect();
    let (mut group_means, mut within) = (Vec::new(), Vec::new());
    for (means, variances) in means.chunks(size).zip(variances.chunks(size)) {
        group_means.push(mean_of(means));
        within.push(zero_if_single(variance_of(means), size) + mean_of(variances));
    }
    Ok((1.0 + variance_of(&group_means) / mean_of(&within)).sqrt())
}
