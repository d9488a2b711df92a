//! Training data as batches on a device.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Instant,
};

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    data::Dataset,
    rng::{Purpose, Rng},
};

/// Batches of dequantised images: a pure function of seed and iteration, prefetched by a background
/// thread.
pub struct Batches {
    plan: Arc<Plan>,
    device: Device,
    feed: Option<Feed>,
    waited: f64,
}

/// Everything needed to make a batch.
struct Plan {
    data: Arc<Dataset>,
    rng: Rng,
    batch: usize,
    bits: u32,
}

/// The thread's batches, from iteration `next` on.
struct Feed {
    next: u64,
    made: Receiver<Batch>,
}

/// Indices of the images, and their values, `[B, D]`.
type Batch = (Vec<usize>, Vec<f32>);

/// Batches prefetched into host memory.
const AHEAD: usize = 3;

impl Batches {
    /// Batches of `batch` images reduced to `bits` bits; `seed` determines their order and noise.
    pub fn new(data: &Arc<Dataset>, seed: u64, batch: usize, bits: u32, device: &Device) -> Self {
        Self {
            plan: Arc::new(Plan {
                data: data.clone(),
                rng: Rng::new(seed),
                batch,
                bits,
            }),
            device: device.clone(),
            feed: None,
            waited: 0.0,
        }
    }

    /// The batch of an iteration, `[B, D]`.
    pub fn get(&mut self, iteration: u64) -> Tensor<2> {
        self.get_labelled(iteration).1
    }

    /// The indices of an iteration's images, and their values, `[B, D]`.
    pub fn get_labelled(&mut self, iteration: u64) -> (Vec<usize>, Tensor<2>) {
        let began = Instant::now();
        let (indices, values) = self.batch(iteration);
        self.waited += began.elapsed().as_secs_f64();
        let shape = [indices.len(), self.plan.data.shape().iter().product()];
        let x = Tensor::from_data(TensorData::new(values, shape), &self.device);
        (indices, x)
    }

    /// Seconds for which training has waited for batches.
    pub fn waited(&self) -> f64 {
        self.waited
    }

    fn batch(&mut self, iteration: u64) -> Batch {
        if self.feed.as_ref().is_none_or(|f| f.next != iteration) {
            self.feed = self.plan.clone().feed(iteration);
        }
        if let Some(feed) = &mut self.feed {
            feed.next += 1;
            if let Ok(batch) = feed.made.recv() {
                return batch;
            }
        }
        // Without a thread, make the same batch here.
        self.feed = None;
        self.plan.make(iteration, &mut None)
    }
}

impl Plan {
    /// Starts a thread that makes batches from an iteration on, until the receiver is dropped; none if
    /// no thread can be started.
    fn feed(self: Arc<Self>, from: u64) -> Option<Feed> {
        let (give, made) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new().name("batches".into());
        thread
            .spawn(move || {
                let mut order = None;
                for iteration in from.. {
                    if give.send(self.make(iteration, &mut order)).is_err() {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Feed { next: from, made })
    }

    /// Makes one batch. `order` caches the permutation of the last epoch, which consecutive batches
    /// share.
    fn make(&self, iteration: u64, order: &mut Option<(u32, Vec<usize>)>) -> Batch {
        let per_epoch = (self.data.count / self.batch).max(1) as u64;
        let epoch = (iteration / per_epoch) as u32;
        let order = match order {
            Some(order) if order.0 == epoch => order,
            other => other.insert((epoch, self.rng.permutation(epoch, self.data.count))),
        };
        let start = (iteration % per_epoch) as usize * self.batch;
        let indices: Vec<usize> = order.1[start..].iter().copied().take(self.batch).collect();
        let values =
            dequantised_values(&self.data, &indices, self.bits, &self.rng, iteration as u32);
        (indices, values)
    }
}

/// (v >> (8 − bits) + u)/2^bits with u ~ U(0, 1): `[n, D]`.
pub fn dequantised(
    data: &Dataset,
    indices: &[usize],
    bits: u32,
    rng: &Rng,
    step: u32,
    device: &Device,
) -> Tensor<2> {
    let values = dequantised_values(data, indices, bits, rng, step);
    let shape = [indices.len(), data.shape().iter().product()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn dequantised_values(
    data: &Dataset,
    indices: &[usize],
    bits: u32,
    rng: &Rng,
    step: u32,
) -> Vec<f32> {
    let dim: usize = data.shape().iter().product();
    let noise = rng.uniforms(Purpose::Dequantise, step, indices.len(), dim);
    let scale = 1.0 / f64::from(1u32 << bits) as f32;
    indices
        .iter()
        .flat_map(|&i| &data.images[i * dim..(i + 1) * dim])
        .zip(noise)
        .map(|(&v, u)| (f32::from(v >> (8 - bits)) + u) * scale)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;

    #[test]
    fn prefetched_batches_depend_only_on_the_iteration() {
        let data = Arc::new(Dataset {
            images: (0..10 * 4).map(|v| v as u8 * 6).collect(),
            labels: vec![0; 10],
            count: 10,
            height: 2,
            width: 2,
            channels: 1,
            ..Dataset::empty("test", Split::Train)
        });
        let device = Device::flex();
        let mut batches = Batches::new(&data, 7, 3, 8, &device);
        let mut get = |i| {
            let (indices, x) = batches.get_labelled(i);
            (indices, x.into_data().iter::<f32>().collect::<Vec<f32>>())
        };
        let straight: Vec<_> = (0..9).map(&mut get).collect();
        for i in [5, 6, 2, 8, 0, 1] {
            assert_eq!(get(i), straight[i as usize]);
        }
        let plan = Plan {
            data: data.clone(),
            rng: Rng::new(7),
            batch: 3,
            bits: 8,
        };
        for (i, expected) in straight.iter().enumerate() {
            assert_eq!(&plan.make(i as u64, &mut None), expected);
        }
        // An epoch holds every image at most once.
        let mut seen: Vec<usize> = straight[..3].iter().flat_map(|b| b.0.clone()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn dequantised_values_fall_into_their_bins() {
        let device = Device::flex();
        let data = Dataset {
            images: (0..=255).collect(),
            labels: vec![0],
            count: 1,
            height: 16,
            width: 16,
            channels: 1,
            ..Dataset::empty("test", Split::Train)
        };
        for bits in [1, 4, 8] {
            let x = dequantised(&data, &[0], bits, &Rng::new(1), 0, &device);
            for (v, x) in (0u32..).zip(x.into_data().iter::<f32>()) {
                let bin = (x * (1u32 << bits) as f32).floor() as u32;
                assert_eq!(bin, v >> (8 - bits), "value {v} at {bits} bits became {x}");
            }
        }
    }
}
