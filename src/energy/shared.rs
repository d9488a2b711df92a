//! One energy on several devices: every device evaluates its rows of the states.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{Conditionals, Energy, Evaluation, Point, Space};
use crate::{
    device::shards::{self, together},
    error::{Error, Result},
};

/// Copies of one energy, one a device. [Points](Energy::point), which are nearly all of a chain's work,
/// are computed on all of them, everything else on the first, where the chains live. For persistent
/// chains whose steps follow the acceptance of all of them; chains that only walk for a while go as a
/// whole (see [`shards::map`]), which moves no states between the steps.
pub struct Shared {
    home: (Device, Arc<dyn Energy>),
    away: Vec<(Device, Arc<dyn Energy>)>,
}

impl Shared {
    /// Of the energy where the chains live, and its copies on further devices.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the copies have another space.
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
        // Where a processor is named twice either copy will do.
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
        // The states are there already.
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

    /// A target with observables: MALA that adapts, and a jump, on one device and on three.
    #[test]
    fn shared_chains_are_those_of_one_device() {
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
        let walk = |target: Arc<dyn Energy>| {
            let x = Rng::new(1).normal_tensor(Purpose::Start, 0, 11, dim, &device);
            let mut run = Run::new(target, &config, Rng::new(2), x).unwrap();
            let draws = pollster::block_on(run.advance(40)).unwrap();
            let fresh = Rng::new(3).normal_tensor(Purpose::Start, 0, 11, dim, &device);
            run.jump(fresh, Tensor::zeros([11], &device), 0);
            let observed: Vec<_> = draws.iter().flat_map(|d| d.observed.concat()).collect();
            (values(run.states()), run.step_sizes().to_vec(), observed)
        };
        let alone = walk(target());
        let away = vec![(device.clone(), target()), (device.clone(), target())];
        let shared = Shared::new((device.clone(), target()), away).unwrap();
        assert_eq!(walk(Arc::new(shared)), alone);
        assert!(!alone.2.is_empty());
    }

    /// A batch that walks in two parts, each on its own: every chain goes where it would have gone among
    /// all of them, jumps included.
    #[test]
    fn a_part_of_a_batch_draws_its_own_numbers() {
        let device = Device::flex();
        let target: Arc<dyn Energy> = (energy::find("banana").unwrap().build)(&device);
        let config = SamplerConfig {
            sampler: "mala".into(),
            step_size: Some(0.3),
            warmup: 0,
            ..SamplerConfig::default()
        };
        let normals = |seed| Rng::new(seed).normal_tensor(Purpose::Start, 0, 11, 2, &device);
        let walk = |first: usize, count: usize| {
            let x = normals(1).narrow(0, first, count);
            let run = Run::new(target.clone(), &config, Rng::new(2), x).unwrap();
            let mut run = run.numbered_from(first as u32);
            pollster::block_on(run.advance(9)).unwrap();
            let fresh = normals(3).narrow(0, first, count);
            run.jump(fresh, Tensor::zeros([count], &device), 0);
            values(run.states())
        };
        let parts = [walk(0, 5), walk(5, 6)].concat();
        assert_eq!(parts, walk(0, 11));
        assert_ne!(walk(5, 6), walk(0, 11)[..12]);
    }

    #[test]
    fn copies_are_of_one_energy() {
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
