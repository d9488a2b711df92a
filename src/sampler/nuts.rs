//! The No-U-Turn Sampler: HMC whose trajectories end when they begin to turn back.
//!
//! Hoffman & Gelman 2014; the state of a trajectory is drawn with multinomial weights exp(−H/T),
//! biased towards its later half (Betancourt 2017, "A conceptual introduction to Hamiltonian Monte
//! Carlo", §A.3.2), and the trajectory ends by the generalised criterion of §A.4.2: with ρ the sum
//! of the momenta of a (sub)trajectory and r± those at its ends, it goes on while r₋·ρ′ > 0 and
//! r₊·ρ′ > 0, where ρ′ = ρ − (r₋ + r₊)/2 (NumPyro's symmetric form).
//!
//! For a batch of chains the recursion is unrolled (Phan, Pradhan & Jankowiak 2019, "Composable
//! effects for flexible and accelerated probabilistic programming in NumPyro", Algorithm 2): all
//! chains double in lockstep, each in its own direction, with log₂ of the tree kept as checkpoints, and
//! finished chains are masked. On a GPU nothing is read back, so all chains pay for the largest tree; on
//! the CPU, where a read is free, the loop ends with the last chain. The gradient counter counts the
//! leapfrog steps that each chain needed.

use burn::tensor::{Bool, Tensor};

use super::{
    dynamics::kinetic,
    noise::Noise,
    settings::{ADAPT_MASS, STEP_SIZE, Settings, TEMPERATURE},
    transition::{DIVERGENCE, Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::{
    device::all_false_if_free,
    energy::{Energy, Point},
    rng::Purpose,
    setting::{Kind, Setting},
};

/// Largest number of doublings of a trajectory.
pub(super) const MAX_TREE_DEPTH: Setting = Setting {
    name: "max_tree_depth",
    title: "largest tree depth",
    help: "NUTS: largest number of doublings of a trajectory, i.e. at most 2^depth − 1 leapfrog steps. On \
           a GPU all chains pay for the largest tree.",
    kind: Kind::count(1, 10, 7),
};

pub const REGISTRATION: Registration = Registration {
    name: "nuts",
    title: "NUTS",
    description: "HMC that ends each trajectory when it begins to turn back.",
    tested: true,
    // Stan's default.
    target_accept: Some(0.8),
    relative: Some("hmc"),
    settings: &[&STEP_SIZE, &TEMPERATURE, &MAX_TREE_DEPTH, &ADAPT_MASS],
    build: |settings: &Settings| {
        Box::new(Nuts {
            max_depth: settings.count(&MAX_TREE_DEPTH),
        })
    },
};

struct Nuts {
    max_depth: usize,
}

/// A phase-space point: state with energy and gradient, and momentum r.
#[derive(Clone)]
struct Phase {
    point: Point,
    r: Tensor<2>,
}

impl Phase {
    fn select(self, other: Self, mask: &Tensor<1, Bool>) -> Self {
        Self {
            r: pick(self.r, other.r, mask),
            point: self.point.select(other.point, mask.clone()),
        }
    }

    /// H = E + ‖r‖²/2, `[B]`.
    fn hamiltonian(&self) -> Tensor<1> {
        self.point.energy.clone() + kinetic(self.r.clone())
    }
}

/// `other` where `mask` (`[B]`) is true.
fn pick(this: Tensor<2>, other: Tensor<2>, mask: &Tensor<1, Bool>) -> Tensor<2> {
    let [rows, dim] = this.dims();
    let wide = mask.clone().reshape([rows, 1]).expand([rows, dim]);
    this.mask_where(wide, other)
}

fn dot(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let [rows, _] = a.dims();
    (a * b).sum_dim(1).reshape([rows])
}

/// Whether a trajectory with end momenta a and b and momentum sum `rho` has turned, `[B]`.
fn turning(a: Tensor<2>, b: Tensor<2>, rho: Tensor<2>) -> Tensor<1, Bool> {
    let rho = rho - (a.clone() + b.clone()) * 0.5;
    let back = |r: Tensor<2>| dot(r, rho.clone()).lower_equal_elem(0.0);
    back(a).bool_or(back(b))
}

/// log(eᵃ + eᵇ); −1e30 stands for −∞, to avoid ∞ − ∞.
fn log_add(a: Tensor<1>, b: Tensor<1>) -> Tensor<1> {
    let top = a.clone().max_pair(b.clone());
    ((a - top.clone()).exp() + (b - top.clone()).exp()).log() + top
}

const LOG_ZERO: f64 = -1e30;

/// Checkpoints `lowest..=highest` that an odd leaf `n` of a subtree closes, or `highest`, which an even
/// one opens: NumPyro's `_leaf_idx_to_ckpt_idxs`.
fn checkpoints(n: usize) -> (usize, usize) {
    let highest = (n >> 1).count_ones() as usize;
    let closed = n.trailing_ones() as usize;
    ((highest + 1).saturating_sub(closed), highest)
}

impl Sampler for Nuts {
    fn cost_varies(&self) -> bool {
        true
    }

    fn gradients_per_transition(&self) -> usize {
        (1 << self.max_depth) - 1
    }

    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        _memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let [rows, dim] = point.x.dims();
        let r = noise.normals(Purpose::Proposal, rows, dim) * tuning.root_temperature();
        let start = Phase { point, r };
        let temperature = tuning.temperatures();
        let initial = start.hamiltonian();
        let column = |t: &Tensor<2>, i: usize| t.clone().narrow(1, i, 1).reshape([rows]);
        let directions = noise
            .uniforms(Purpose::Direction, rows, self.max_depth)
            .lower_elem(0.5);
        let merges = noise.uniforms(Purpose::Accept, rows, self.max_depth);
        // Leaf n of doubling d has the number 2^d + n.
        let choices = noise.uniforms(Purpose::Leaf, rows, 1 << self.max_depth);
        let zero = initial.zeros_like();
        let no = zero.clone().greater_elem(1.0);

        let (mut left, mut right) = (start.clone(), start.clone());
        let mut proposal = start.clone();
        let mut log_weight = zero.clone();
        let mut rho = start.r.clone();
        let mut active = no.clone().bool_not();
        let (mut accept_sum, mut leaves) = (zero.clone(), zero.clone());
        let mut divergent = no.clone();

        for depth in 0..self.max_depth {
            let size: usize = 1 << depth;
            let forward = directions.clone().narrow(1, depth, 1).reshape([rows]);
            let sign = forward.clone().float().reshape([rows, 1]) * 2.0 - 1.0;
            let step = tuning.step.clone() * sign;
            let half = step.clone() * 0.5;
            let mut edge = left.clone().select(right.clone(), &forward);
            let mut alive = active.clone();
            let mut sub_proposal = edge.clone();
            let mut sub_weight = zero.clone() + LOG_ZERO;
            let mut sub_rho = rho.zeros_like();
            let mut saved: Vec<(Tensor<2>, Tensor<2>)> = Vec::new();
            for n in 0..size {
                let kicked =
                    edge.r.clone() - tuning.scaled(edge.point.gradient.clone()) * half.clone();
                let end = target
                    .point(edge.point.x.clone() + tuning.scaled(kicked.clone() * step.clone()));
                let r = kicked - tuning.scaled(end.gradient.clone()) * half.clone();
                let next = Phase { point: end, r };
                let change = (next.hamiltonian() - initial.clone()) / temperature.clone();
                let broken = change.clone().is_nan();
                let change = change.mask_fill(broken, f64::INFINITY).clamp(-1e30, 1e30);
                let diverged = change.clone().greater_elem(DIVERGENCE);
                let weight = change.neg();

                let counted = alive.clone().float();
                accept_sum =
                    accept_sum + weight.clone().clamp(LOG_ZERO, 0.0).exp() * counted.clone();
                leaves = leaves + counted.clone();
                let sum = log_add(sub_weight.clone(), weight.clone());
                let take = column(&choices, size + n)
                    .log()
                    .lower(weight - sum.clone())
                    .bool_and(alive.clone());
                sub_proposal = sub_proposal.select(next.clone(), &take);
                sub_weight = sub_weight.mask_where(alive.clone(), sum);
                sub_rho = sub_rho + next.r.clone() * counted.reshape([rows, 1]);
                divergent = divergent.bool_or(diverged.clone().bool_and(alive.clone()));
                edge = edge.select(next, &alive);

                let (lowest, highest) = checkpoints(n);
                let mut turned = diverged;
                if n % 2 == 0 {
                    saved.truncate(highest);
                    saved.push((edge.r.clone(), sub_rho.clone()));
                } else {
                    for (r, sum) in saved[lowest..=highest].iter().rev() {
                        // The checkpoint's sum already includes its own momentum.
                        let part = sub_rho.clone() - sum.clone() + r.clone();
                        turned = turned.bool_or(turning(r.clone(), edge.r.clone(), part));
                    }
                }
                alive = alive.bool_and(turned.bool_not());
                if all_false_if_free(&alive) {
                    break;
                }
            }

            // Only a complete subtree without a U-turn or divergence joins the trajectory.
            let joined = alive;
            let take = column(&merges, depth)
                .log()
                .lower(sub_weight.clone() - log_weight.clone())
                .bool_and(joined.clone());
            proposal = proposal.select(sub_proposal, &take);
            log_weight = log_weight
                .clone()
                .mask_where(joined.clone(), log_add(log_weight, sub_weight));
            rho = pick(rho.clone(), rho + sub_rho, &joined);
            right = right.select(edge.clone(), &joined.clone().bool_and(forward.clone()));
            left = left.select(edge, &joined.clone().bool_and(forward.bool_not()));
            let turned = turning(left.r.clone(), right.r.clone(), rho.clone());
            active = joined.bool_and(turned.bool_not());
            if all_false_if_free(&active) {
                break;
            }
        }
        let accept = accept_sum / leaves.clone().clamp_min(1.0);
        Transition {
            accept: Some(accept),
            hamiltonian: Some(proposal.hamiltonian()),
            gradients: Some(leaves),
            divergent: Some(divergent.float()),
            saturated: Some(active.float()),
            ..proposal.point.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::checkpoints;

    /// Examples from the comments of NumPyro's implementation, and the leaves 1, 3 and 5.
    #[test]
    fn checkpoints_match_numpyro() {
        assert_eq!(checkpoints(6).1, 2);
        assert_eq!(checkpoints(7), (0, 2));
        assert_eq!(checkpoints(13), (2, 2));
        let all: Vec<_> = [1, 3, 5].map(checkpoints).to_vec();
        assert_eq!(all, [(0, 0), (0, 1), (1, 1)]);
    }
}
