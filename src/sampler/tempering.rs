//! Parallel tempering: every chain has replicas at higher temperatures, where barriers are low, and
//! swaps states with them.
//!
//! Geyer 1991 ("Markov chain Monte Carlo maximum likelihood"); Swendsen & Wang 1986. Temperatures
//! T·h^{k/(R−1)}, k = 0 … R−1, form a geometric ladder from T to h·T. Each transition is one MALA move
//! of every replica, followed by swaps of neighbours, alternately even and odd pairs (non-reversible
//! deterministic scheduling: Okabe et al. 2001; Syed et al. 2022), each accepted with probability
//! min(1, exp((1/Tₖ − 1/Tₖ₊₁)(Eₖ − Eₖ₊₁))). Only the first rung is recorded; the cost counts all R.

use burn::tensor::Tensor;

use super::{
    dynamics::metropolis,
    mala::Mala,
    noise::Noise,
    settings::{STEP_SIZE, Settings, TEMPERATURE},
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::{
    energy::{Energy, Point},
    rng::Purpose,
    setting::{Kind, Setting},
};

/// Number of temperatures.
pub(super) const RUNGS: Setting = Setting {
    name: "rungs",
    title: "rungs",
    help: "Parallel tempering: number of temperatures.",
    kind: Kind::count(2, 16, 4),
};

/// The hottest temperature divided by T.
pub(super) const HOTTEST: Setting = Setting {
    name: "hottest",
    title: "hottest temperature",
    help: "Parallel tempering: the hottest temperature, as a multiple of T.",
    kind: Kind::number(1.0, 1e6, Some(10.0)),
};

pub const REGISTRATION: Registration = Registration {
    name: "tempering",
    title: "parallel tempering",
    description: "Each chain swaps states with replicas at higher temperatures: it crosses between modes, at the cost of running every replica.",
    tested: true,
    target_accept: Some(0.574),
    relative: Some("mala"),
    settings: &[&STEP_SIZE, &TEMPERATURE, &RUNGS, &HOTTEST],
    build: |settings: &Settings| {
        Box::new(Tempering {
            rungs: settings.count(&RUNGS),
            hottest: settings.number(&HOTTEST).unwrap_or(1.0),
        })
    },
};

struct Tempering {
    rungs: usize,
    hottest: f64,
}

/// Rows `start..start + count` of a point.
fn rows(point: &Point, start: usize, count: usize) -> Point {
    Point {
        x: point.x.clone().narrow(0, start, count),
        energy: point.energy.clone().narrow(0, start, count),
        gradient: point.gradient.clone().narrow(0, start, count),
        observed: point.observed.clone().map(|o| o.narrow(0, start, count)),
    }
}

fn stacked(parts: Vec<Point>) -> Point {
    let observed = parts
        .iter()
        .map(|p| p.observed.clone())
        .collect::<Option<Vec<_>>>();
    Point {
        energy: Tensor::cat(parts.iter().map(|p| p.energy.clone()).collect(), 0),
        gradient: Tensor::cat(parts.iter().map(|p| p.gradient.clone()).collect(), 0),
        observed: observed.map(|o| Tensor::cat(o, 0)),
        x: Tensor::cat(parts.into_iter().map(|p| p.x).collect(), 0),
    }
}

impl Sampler for Tempering {
    fn gradients_per_transition(&self) -> usize {
        self.rungs
    }

    fn rows_per_chain(&self) -> usize {
        self.rungs
    }

    fn ladder(&self) -> Vec<f64> {
        (0..self.rungs)
            .map(|k| self.hottest.powf(k as f64 / (self.rungs - 1) as f64))
            .collect()
    }

    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        _memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let moved = Mala.transition(target, point, None, tuning, noise);
        let [all, _] = moved.point.x.dims();
        let chains = all / self.rungs;
        let mut rungs: Vec<Point> = (0..self.rungs)
            .map(|k| rows(&moved.point, k * chains, chains))
            .collect();
        let inverse = tuning.temperatures().recip();
        let beta = |k: usize| inverse.clone().narrow(0, k * chains, chains);
        let u = noise.uniforms(Purpose::Swap, all, 1).reshape([all]);
        for k in ((noise.step as usize % 2)..self.rungs - 1).step_by(2) {
            let (cold, hot) = (rungs[k].clone(), rungs[k + 1].clone());
            let log_alpha = (beta(k) - beta(k + 1)) * (cold.energy.clone() - hot.energy.clone());
            let (_, swap) = metropolis(log_alpha, u.clone().narrow(0, k * chains, chains));
            rungs[k] = cold.clone().select(hot.clone(), swap.clone());
            rungs[k + 1] = hot.select(cold, swap);
        }
        // The warm-up adapts one step size, to the mean acceptance over a chain's rungs.
        let accept = moved.accept.map(|a| {
            a.reshape([self.rungs, chains])
                .mean_dim(0)
                .expand([self.rungs, chains])
                .reshape([all])
        });
        Transition {
            accept,
            ..stacked(rungs).into()
        }
    }
}
