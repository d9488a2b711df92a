//! The energy diagnostic of Hamiltonian Monte Carlo.

use super::{Draws, variance_of};

/// The estimated Bayesian fraction of missing information, one per chain (Betancourt 2016).
///
/// Takes chains × draws of the energy (the Hamiltonian, including its kinetic part, after each
/// transition). Returns, per chain, the mean squared change of the energy divided by its variance
/// (divisor n − 1), dimensionless. Small values mean that the momentum refresh covers only a small part
/// of the energies of the distribution; values below 0.3 are commonly considered a warning. Independent
/// energies give 2. NaN for a chain that is constant, has fewer than 2 draws, or a non-finite draw.
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
