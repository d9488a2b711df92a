//! The energy diagnostic of Hamiltonian Monte Carlo.

use super::{Draws, variance_of};

/// The estimated Bayesian fraction of missing information, one per chain (Betancourt 2016).
///
/// Chains × draws of the energy (the Hamiltonian, kinetic part included, after each transition) in;
/// per chain the mean squared change of the energy over its variance (divisor n − 1) out, without
/// unit. Small values mean that the momentum refresh reaches only a sliver of the energies that the
/// distribution spans; below 0.3 the chain is commonly held suspect. Independent energies give 2.
/// NaN for a chain that is constant, holds fewer than 2 draws, or a draw that is not finite.
pub fn e_bfmi(energies: &Draws) -> Vec<f64> {
    energies.iter().map(fraction).collect()
}

fn fraction(chain: &[f64]) -> f64 {
    let changes: f64 = chain
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).powi(2))
        .sum();
    changes / (chain.len() as f64 - 1.0) / variance_of(chain)
}
