//! The record of a transition: one tensor on the device, one [`Draw`] on the host.

use burn::tensor::Tensor;

use super::transition::Transition;
use crate::{device::read, error::Result};

/// One transition as read to the host.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Energy-gradient evaluations per chain up to and including this draw; the mean over chains where
    /// they differ (NUTS).
    pub gradients: f64,
    /// Energy-gradient evaluations of this draw per chain, on average.
    pub cost: f64,
    /// Whether it belongs to the warm-up.
    pub warmup: bool,
    /// E of every chain.
    pub energy: Vec<f32>,
    /// Acceptance probability of every chain, or shadow acceptance (see [`Transition::accept`]); empty
    /// if the sampler has neither.
    pub accept: Vec<f32>,
    /// Hamiltonian of every chain; empty unless HMC or NUTS.
    pub hamiltonian: Vec<f32>,
    /// Divergent transitions among the chains.
    pub divergent: u32,
    /// Mean share of clipped gradient components; `None` without a clip.
    pub clipped: Option<f64>,
    /// Chains whose trajectory reached the largest allowed length; `None` unless NUTS.
    pub saturated: Option<u32>,
    /// Observables: K vectors of one value per chain.
    pub observed: Vec<Vec<f32>>,
}

/// Which optional parts a record holds, besides the energy and the observables.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts {
    accept: bool,
    hamiltonian: bool,
    gradients: bool,
    divergent: bool,
    clipped: bool,
    saturated: bool,
}

/// The record of a transition of `chains` chains, `[chains, 1 + parts + K]`: energy, the parts that the
/// sampler reports, observables. Rows at other temperatures are left out.
pub(super) fn columns(done: &Transition, chains: usize) -> (Tensor<2>, Parts) {
    let parts = Parts {
        accept: done.accept.is_some(),
        hamiltonian: done.hamiltonian.is_some(),
        gradients: done.gradients.is_some(),
        divergent: done.divergent.is_some(),
        clipped: done.clipped.is_some(),
        saturated: done.saturated.is_some(),
    };
    let column = |t: &Tensor<1>| t.clone().narrow(0, 0, chains).reshape([chains, 1]);
    let mut columns = vec![column(&done.point.energy)];
    let all = [
        &done.accept,
        &done.hamiltonian,
        &done.gradients,
        &done.divergent,
        &done.clipped,
        &done.saturated,
    ];
    columns.extend(all.into_iter().flatten().map(column));
    let observed = done.point.observed.clone();
    columns.extend(observed.map(|o| o.narrow(0, 0, chains)));
    (Tensor::cat(columns, 1), parts)
}

/// A run's counters before the transitions that are read.
pub(super) struct Clock {
    /// Transitions before the first of them.
    pub transitions: u64,
    /// Energy-gradient evaluations per chain before it.
    pub gradients: f64,
    /// Energy-gradient evaluations per transition, if they are the same for all.
    pub per_transition: f64,
    /// Transitions of the warm-up.
    pub warmup: usize,
}

/// Reads records of consecutive transitions of `chains` chains.
pub(super) async fn draws(
    records: Vec<Tensor<2>>,
    parts: Parts,
    chains: usize,
    mut clock: Clock,
) -> Result<Vec<Draw>> {
    let count = records.len();
    let values: Vec<f32> = read(Tensor::cat(records, 0)).await?;
    let width = values.len() / (count * chains);
    let mean = |v: Vec<f32>| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
    let total = |v: Vec<f32>| v.iter().filter(|&&v| v != 0.0).count() as u32;
    Ok((0..count)
        .map(|i| {
            let column = |k: usize| -> Vec<f32> {
                (0..chains)
                    .map(|c| values[(i * chains + c) * width + k])
                    .collect()
            };
            let mut next = 1;
            let mut part = |present: bool| {
                present.then(|| {
                    next += 1;
                    column(next - 1)
                })
            };
            let accept = part(parts.accept).unwrap_or_default();
            let hamiltonian = part(parts.hamiltonian).unwrap_or_default();
            let cost = part(parts.gradients).map_or(clock.per_transition, mean);
            let divergent = part(parts.divergent).map_or(0, total);
            let clipped = part(parts.clipped).map(mean);
            let saturated = part(parts.saturated).map(total);
            clock.gradients += cost;
            Draw {
                gradients: clock.gradients,
                cost,
                warmup: ((clock.transitions + i as u64) as usize) < clock.warmup,
                energy: column(0),
                accept,
                hamiltonian,
                divergent,
                clipped,
                saturated,
                observed: (next..width).map(column).collect(),
            }
        })
        .collect())
}
