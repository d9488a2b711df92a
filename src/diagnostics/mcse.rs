//! Monte Carlo standard errors of estimates, in the unit of the draws.

use statrs::distribution::{Beta, ContinuousCDF};

use super::autocorr::Autocovariance;
use super::ess::{effective_below, ess_mean, ess_of};
use super::rank::Order;
use super::{Draws, MIN_DRAWS};

/// The probabilities of a standard normal at ∓1, to the digits that ArviZ and posterior use.
const ONE_SD: [f64; 2] = [0.158_655_3, 0.841_344_7];

/// MCSE of the mean: the standard deviation of the draws over √[`ess_mean`].
///
/// NaN when a draw is not finite, for fewer than [`MIN_DRAWS`] draws per chain, or when all draws
/// are equal.
pub fn mcse_mean(draws: &Draws) -> f64 {
    draws.sd() / ess_mean(draws).sqrt()
}

/// MCSE of the standard deviation, by the delta method from that of the variance.
///
/// As in R's posterior, with the ESS of the squared deviations; ArviZ 0.8 uses the ESS of the draws,
/// which is wrong. Undefined (NaN) as [`mcse_mean`].
pub fn mcse_sd(draws: &Draws) -> f64 {
    let mean = draws.mean();
    let square = |x: f64| (x - mean).powi(2);
    let size = draws.size() as f64;
    let variance = draws.values().map(square).sum::<f64>() / size;
    // The difference of two moments would cancel when the squares barely vary.
    let spread = draws
        .values()
        .map(|x| (square(x) - variance).powi(2))
        .sum::<f64>()
        / size;
    (spread / ess_of(draws, square) / variance / 4.0).sqrt()
}

/// MCSE of the quantile at probability `p`: half the distance between the order statistics one standard
/// error below and above it, by the Beta distribution of its probability (Vehtari et al. 2021).
///
/// 0 if ties make both order statistics equal. Undefined (NaN) as [`mcse_mean`], and for `p`
/// outside [0, 1].
pub fn mcse_quantile(draws: &Draws, p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) || !draws.supports(MIN_DRAWS) {
        return f64::NAN;
    }
    let order = Order::new(draws);
    let mut transform = Autocovariance::new(draws.draws() / 2);
    let ess = effective_below(&mut transform, &draws.split(), order.quantile(p));
    let Ok(beta) = Beta::new(ess * p + 1.0, ess * (1.0 - p) + 1.0) else {
        return f64::NAN;
    };
    let size = draws.size() as f64;
    let [low, high] = ONE_SD.map(|one| quantile(&beta, one) * size - 1.0);
    let low = order.value(low.floor().max(0.0) as usize);
    let high = order.value(high.ceil().min(size - 1.0) as usize);
    (high - low) / 2.0
}

/// MCSE of the median; [`mcse_quantile`] at 0.5.
pub fn mcse_median(draws: &Draws) -> f64 {
    mcse_quantile(draws, 0.5)
}

/// The quantile of a Beta distribution, by bisection.
///
/// statrs' `inverse_cdf` is not used: its Newton iteration has no limit, and for an ESS of millions and
/// a quantile far in the tail it did not terminate (0.18.0). Its distribution function is sound.
fn quantile(beta: &Beta, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // 64 halvings resolve 1e-19, far less than one draw in any run.
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if beta.cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_quantiles_agree_with_scipy() {
        // statrs' own iteration does not terminate on the last two.
        let cases = [
            (0.158_655_3, 3.0, 12.0, 0.100_086_150_009_824_29),
            (
                0.841_344_7,
                5_928_831.540_700_716,
                350.373_387_336_229_9,
                0.999_944_062_332_859_3,
            ),
            (
                0.158_655_3,
                339.166_380_772_098_8,
                6_016_061.553_672_736_5,
                0.000_053_314_185_419_75,
            ),
        ];
        for (p, a, b, want) in cases {
            let got = quantile(&Beta::new(a, b).unwrap(), p);
            assert!(
                (got - want).abs() < 1e-8 * want,
                "Beta({a}, {b}) at {p}: {got} {want}"
            );
        }
    }
}
