//! Maths shared by samplers: the Metropolis test, kinetic energy, and one Langevin move.

use burn::tensor::{Bool, Tensor};

use super::{noise::Noise, transition::DIVERGENCE, tuning::Tuning};
use crate::energy::{Energy, Point};

/// Metropolis test: `exp(min(0, log α))` and whether each row's uniform `u` (`[B]`) falls below it. A
/// NaN log ratio counts as −∞: a proposal without an energy is never accepted.
pub(super) fn metropolis(log_alpha: Tensor<1>, u: Tensor<1>) -> (Tensor<1>, Tensor<1, Bool>) {
    let log_alpha = capped(log_alpha);
    let accepted = u.log().lower(log_alpha.clone());
    (log_alpha.exp(), accepted)
}

/// min(0, log α), with −1e30 in place of NaN and −∞.
pub(super) fn capped(log_alpha: Tensor<1>) -> Tensor<1> {
    let broken = log_alpha.clone().is_nan();
    log_alpha.mask_fill(broken, -1e30).clamp(-1e30, 0.0)
}

/// ‖r‖²/2 of every row, `[B, D]` → `[B]`.
pub(super) fn kinetic(r: Tensor<2>) -> Tensor<1> {
    let [rows, _] = r.dims();
    r.powi_scalar(2).sum_dim(1).reshape([rows]) * 0.5
}

/// 1 where a change of the Hamiltonian (`[B]`, in units of T) is a divergence.
pub(super) fn diverged(change: Tensor<1>) -> Tensor<1> {
    let broken = change.clone().is_nan();
    change
        .mask_fill(broken, f64::INFINITY)
        .greater_elem(DIVERGENCE)
        .float()
}

/// One Langevin move with its Metropolis ratio, shared by ULA, SGLD and MALA.
pub(super) struct Langevin {
    /// The proposed point.
    pub(super) proposal: Point,
    /// Log of the move's Metropolis ratio, `[B]`.
    pub(super) log_alpha: Tensor<1>,
}

/// x′ = c(x − a·s²·f(∇E) + σ·s·ξ) for a drift a and noise σ (`[B, 1]`), with f a clip of the gradient and
/// c a clamp of the state, or both the identity. The Metropolis ratio is for p ∝ exp(−E/T) with
/// T = σ²/(2a); it ignores the clamp.
pub(super) fn langevin(
    target: &dyn Energy,
    point: &Point,
    tuning: &Tuning,
    (drift, sigma): (Tensor<2>, Tensor<2>),
    noise: &Noise<'_>,
    clip: impl Fn(Tensor<2>) -> Tensor<2>,
    clamp: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Langevin {
    let [rows, _] = point.x.dims();
    let gradient = clip(point.gradient.clone());
    let pair = (drift.clone(), sigma.clone());
    let (x, xi) = noise.langevin(point.x.clone(), gradient.clone(), pair, tuning);
    let proposal = target.point(clamp(x));
    // In units of σ the reverse noise is ξ′ = (a∇E(x) + a∇E(x′))/σ − ξ. This form never takes the
    // small difference of two large states.
    let forces = tuning.scaled(gradient + clip(proposal.gradient.clone()));
    let back = forces * (drift.clone() / sigma.clone()) - xi.clone();
    let log_ratio = (xi.powi_scalar(2) - back.powi_scalar(2))
        .sum_dim(1)
        .reshape([rows])
        * 0.5;
    let temperature = (sigma.powi_scalar(2) / (drift * 2.0)).reshape([rows]);
    Langevin {
        log_alpha: (point.energy.clone() - proposal.energy.clone()) / temperature + log_ratio,
        proposal,
    }
}

/// Drift a = ε²/2 and noise σ = ε√T of every row, `[B, 1]`.
pub(super) fn drift_and_noise(tuning: &Tuning) -> (Tensor<2>, Tensor<2>) {
    (
        tuning.step.clone().powi_scalar(2) * 0.5,
        tuning.step.clone() * tuning.root_temperature(),
    )
}
