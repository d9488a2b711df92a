//! Replays one chain's last transition and records every evaluated state.

use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;

use super::{noise::Noise, run::Run, transition::Transition, tuning::Tuning};
use crate::{
    device::read,
    energy::{Conditionals, Energy, Evaluation, Point, Space},
    error::{Error, Result},
};

/// The replayed last transition of one chain, with every evaluated state.
pub struct Path {
    /// Evaluated states in order, `[n, D]`; the first is the state before the transition.
    pub states: Tensor<2>,
    /// Their energies, `[n]`.
    pub energies: Tensor<1>,
    /// Result of the transition, for this chain alone.
    pub outcome: Transition,
    /// Number of the transition, from 0.
    pub transition: u32,
}

/// A target that records every state it evaluates.
struct Recorder {
    target: Arc<dyn Energy>,
    seen: Mutex<Vec<(Tensor<2>, Tensor<1>)>>,
}

impl Recorder {
    fn note(&self, x: Tensor<2>, energy: Tensor<1>) {
        // A poisoned lock means a panic elsewhere; the path is then useless.
        if let Ok(mut seen) = self.seen.lock() {
            seen.push((x, energy));
        }
    }
}

impl Energy for Recorder {
    fn space(&self) -> Space {
        self.target.space()
    }

    fn observables(&self) -> Vec<String> {
        self.target.observables()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let done = self.target.evaluate(x.clone());
        self.note(x, done.energy.clone());
        done
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let done = self.target.point(x);
        self.note(done.x.clone(), done.energy.clone());
        done
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        self.target.conditionals()
    }
}

impl Run {
    /// Replays the last transition of one chain alone, which is possible because each chain has its own
    /// random numbers. `None` before the first transition.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown chain, [`Error::Device`] when the device cannot be read.
    pub async fn path(&self, chain: usize) -> Result<Option<Path>> {
        if chain >= self.chains {
            return Err(Error::invalid(
                "chain",
                format!("0 to {}", self.chains - 1),
                chain,
                "choose one of the chains",
            ));
        }
        let Some(before) = &self.before else {
            return Ok(None);
        };
        let rungs = self.sampler.rows_per_chain();
        // This chain's rows, one per temperature.
        let rows = |t: Tensor<2>| {
            let all = (0..rungs).map(|k| t.clone().narrow(0, k * self.chains + chain, 1));
            Tensor::cat(all.collect(), 0)
        };
        let values = |t: Tensor<1>| {
            let n = t.dims()[0];
            rows(t.reshape([n, 1])).reshape([rungs])
        };
        let point = Point {
            x: rows(before.point.x.clone()),
            energy: values(before.point.energy.clone()),
            gradient: rows(before.point.gradient.clone()),
            observed: before.point.observed.clone().map(rows),
        };
        let recorder = Recorder {
            target: self.target.clone(),
            seen: Mutex::new(vec![(point.x.clone(), point.energy.clone())]),
        };
        let tuning = Tuning {
            step: rows(before.tuning.step.clone()),
            temperature: rows(before.tuning.temperature.clone()),
            scale: before.tuning.scale.clone(),
        };
        let noise = Noise {
            rng: &self.rng,
            step: before.transition,
            device: &self.device,
            first_chain: self.first + chain as u32,
            blocks: rungs,
        };
        let memory = before.memory.clone().map(rows);
        let outcome = self
            .sampler
            .transition(&recorder, point, memory, &tuning, &noise);
        let seen = recorder.seen.into_inner().unwrap_or_default();
        // On a GPU, NUTS computes every trajectory to its largest length; the states that this chain
        // needed come first.
        let needed = match &outcome.gradients {
            Some(gradients) => {
                let count: Vec<f32> = read(gradients.clone()).await?;
                1 + count.first().map_or(0, |&c| c as usize)
            }
            None => seen.len(),
        };
        let seen = &seen[..needed.min(seen.len())];
        // The chain itself is the first row; replicas at other temperatures are left out.
        let states = seen.iter().map(|(x, _)| x.clone().narrow(0, 0, 1));
        let energies = seen.iter().map(|(_, e)| e.clone().narrow(0, 0, 1));
        Ok(Some(Path {
            states: Tensor::cat(states.collect(), 0),
            energies: Tensor::cat(energies.collect(), 0),
            outcome,
            transition: before.transition,
        }))
    }
}
