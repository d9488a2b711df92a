//! One energy on several devices: each device evaluates part of the rows.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{Conditionals, Energy, Evaluation, Point, Space};
use crate::{
    device::shards::{self, together},
    error::{Error, Result},
};

/// Copies of one energy, one per device. [Points](Energy::point), which are nearly all of a chain's
/// work, are computed on all devices; everything else on the first, where the chains live. For
/// persistent chains whose step size depends on the acceptance of all of them. Short-run chains are
/// better split as whole runs (see `shards::map`), which moves no states between steps.
pub struct Shared {
    home: (Device, Arc<dyn Energy>),
    away: Vec<(Device, Arc<dyn Energy>)>,
}

impl Shared {
    /// From the energy on the chains' device, and its copies on other devices.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a copy has another space.
    pub fn new(
        home: (Device, Arc<dyn Energy>),
        away: Vec<(Device, Arc<dyn Energy>)>,
    ) -> Result<Self> {
        let space = home.1.space();
        if let Some((_, other)) = away.iter().find(|(_, other)| other.space() != space) {
            return Err(Error::invalid(
                "the copy of an energy on another device",
                format!("{space:?}"),
                format!("{:?}", other.space()),
                "share copies of one energy",
            ));
        }
        Ok(Self { home, away })
    }

    fn on(&self, device: &Device) -> &Arc<dyn Energy> {
        // If the CPU is named twice, either copy will do.
        let mut copies = std::iter::once(&self.home).chain(&self.away);
        copies
            .find(|(there, _)| there == device)
            .map_or(&self.home.1, |(_, energy)| energy)
    }
}

impl Energy for Shared {
    fn space(&self) -> Space {
        self.home.1.space()
    }

    fn observables(&self) -> Vec<String> {
        self.home.1.observables()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        self.home.1.evaluate(x)
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let home = x.device();
        let devices: Vec<Device> = self.away.iter().map(|(device, _)| device.clone()).collect();
        // `shards::map` has already moved the rows to the part's device.
        let part = async |_: usize, mut rows: Vec<Tensor<2>>| {
            let x = rows.remove(0);
            let point = self.on(&x.device()).point(x);
            (
                point.energy.to_device(&home),
                point.gradient.to_device(&home),
                point.observed.map(|t| t.to_device(&home)),
            )
        };
        let parts = pollster::block_on(shards::map(vec![x.clone()], &devices, part));
        let (energies, gradients, observed): (Vec<_>, Vec<_>, Vec<_>) = parts.into_iter().collect();
        Point {
            energy: Tensor::cat(energies, 0),
            gradient: together(gradients),
            observed: observed.into_iter().collect::<Option<_>>().map(together),
            x,
        }
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        self.home.1.conditionals()
    }

    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        self.home.1.to_image(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::read,
        energy::{self, Gaussian},
        rng::{Purpose, Rng},
        sampler::{Run, SamplerConfig},
    };

    fn values(x: Tensor<2>) -> Vec<f32> {
        pollster::block_on(read(x)).unwrap()
    }

    /// Adaptive MALA and a jump on a target with observables: one device against three copies.
    #[test]
    fn shared_chains_match_one_device() {
        let device = Device::flex();
        let target =
            || -> Arc<dyn Energy> { (energy::find("eight-schools").unwrap().build)(&device) };
        let dim = target().space().dim;
        let config = SamplerConfig {
            sampler: "mala".into(),
            step_size: Some(0.3),
            warmup: 20,
            ..SamplerConfig::default()
        };
        let run_chains = |target: Arc<dyn Energy>| {
            let x = Rng::new(1).normal_tensor(Purpose::Start, 0, 11, dim, &device);
            let mut run = Run::new(target, &config, Rng::new(2), x).unwrap();
            let draws = pollster::block_on(run.advance(40)).unwrap();
            let fresh = Rng::new(3).normal_tensor(Purpose::Start, 0, 11, dim, &device);
            run.jump(fresh, Tensor::zeros([11], &device), 0);
            let observed: Vec<_> = draws.iter().flat_map(|d| d.observed.concat()).collect();
            (values(run.states()), run.step_sizes().to_vec(), observed)
        };
        let alone = run_chains(target());
        let away = vec![(device.clone(), target()), (device.clone(), target())];
        let shared = Shared::new((device.clone(), target()), away).unwrap();
        assert_eq!(run_chains(Arc::new(shared)), alone);
        assert!(!alone.2.is_empty());
    }

    /// A batch that runs in two separate parts: every chain moves as in the whole batch, jumps included.
    #[test]
    fn part_of_a_batch_uses_its_own_random_numbers() {
        let device = Device::flex();
        let target: Arc<dyn Energy> = (energy::find("banana").unwrap().build)(&device);
        let config = SamplerConfig {
            sampler: "mala".into(),
            step_size: Some(0.3),
            warmup: 0,
            ..SamplerConfig::default()
        };
        let normals = |seed| Rng::new(seed).normal_tensor(Purpose::Start, 0, 11, 2, &device);
        let run_chains = |first: usize, count: usize| {
            let x = normals(1).narrow(0, first, count);
            let run = Run::new(target.clone(), &config, Rng::new(2), x).unwrap();
            let mut run = run.numbered_from(first as u32);
            pollster::block_on(run.advance(9)).unwrap();
            let fresh = normals(3).narrow(0, first, count);
            run.jump(fresh, Tensor::zeros([count], &device), 0);
            values(run.states())
        };
        let parts = [run_chains(0, 5), run_chains(5, 6)].concat();
        assert_eq!(parts, run_chains(0, 11));
        assert_ne!(run_chains(5, 6), run_chains(0, 11)[..12]);
    }

    #[test]
    fn copies_of_another_space_are_refused() {
        let device = Device::flex();
        let normal = |dim: usize| -> Arc<dyn Energy> {
            Arc::new(Gaussian::new(&vec![0.0; dim], &vec![1.0; dim], &device))
        };
        let wrong = vec![(device.clone(), normal(3))];
        let error = Shared::new((device.clone(), normal(2)), wrong)
            .err()
            .unwrap();
        assert!(error.to_string().contains("copy of an energy"), "{error}");
    }
}
