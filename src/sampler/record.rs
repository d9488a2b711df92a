//! What is kept of a transition: one tensor on the device, one [`Draw`] on the host.

use burn::tensor::Tensor;

use super::transition::Transition;
use crate::{device::read, error::Result};

/// One transition as the host sees it.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Energy-gradient evaluations of each chain up to and with this draw; their mean, where chains
    /// differ (NUTS).
    pub gradients: f64,
    /// Energy-gradient evaluations that this draw cost each chain, on average.
    pub cost: f64,
    /// Whether it belongs to the warm-up.
    pub warmup: bool,
    /// E of every chain.
    pub energy: Vec<f32>,
    /// Acceptance probability of every chain, or its shadow (see [`Transition::accept`]); empty
    /// where the sampler has neither.
    pub accept: Vec<f32>,
    /// Hamiltonian of every chain; empty unless HMC or NUTS.
    pub hamiltonian: Vec<f32>,
    /// Divergent transitions among the chains.
    pub divergent: u32,
    /// Mean share of the gradient components that a clip cut; `None` without a clip.
    pub clipped: Option<f64>,
    /// Chains whose trajectory reached the largest allowed length; `None` unless NUTS.
    pub saturated: Option<u32>,
    /// Observables: K vectors of one value per chain.
    pub observed: Vec<Vec<f32>>,
}

/// What a record holds of a transition, besides the energy and the observables.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts {
    accept: bool,
    hamiltonian: bool,
    gradients: bool,
    divergent: bool,
    clipped: bool,
    saturated: bool,
}

/// The record of a transition of `chains` chains, `[B, 1 + parts + K]`: energy, the parts that the sampler
/// reports, observables. Rows beyond the chains are companions at other temperatures.
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

/// Where a run stands before the transitions that are read.
pub(super) struct Clock {
    /// Transitions before the first of them.
    pub transitions: u64,
    /// Energy-gradient evaluations of each chain before it.
    pub gradients: f64,
    /// Energy-gradient evaluations of a transition, where they are the same for all.
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
            let mut part = |there: bool| {
                there.then(|| {
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
