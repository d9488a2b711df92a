//! The replay buffer: last states of the chains, from which later chains continue.
//!
//! Du & Mordatch 2019; CLEL's settings (arXiv 2303.03023, authors' code): 10,000 images, initially
//! U(0, 1) noise. Each draw takes distinct images and resets each to noise with a small probability. The
//! buffer lives on the host: it is accessed once per sixty Langevin steps.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// Images `[size, D]` with values in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayBuffer {
    images: Vec<f32>,
    /// Visits of each slot since it was last reset to noise.
    ages: Vec<u32>,
    dim: usize,
}

/// Result of a draw from the buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Slots, all different.
    pub slots: Vec<usize>,
    /// Their images, `[n, D]`.
    pub images: Vec<f32>,
}

impl ReplayBuffer {
    /// `size` images of uniform noise.
    pub fn new(size: usize, dim: usize, rng: &Rng) -> Self {
        Self {
            images: rng.uniforms(Purpose::Start, 0, size, dim),
            ages: vec![0; size],
            dim,
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.ages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    /// Takes `n` distinct slots (all, if there are fewer) and resets each to noise with probability
    /// `reinit`. The slots depend on `rng` alone, so that a resumed run draws the same ones.
    pub fn take(&mut self, n: usize, reinit: f64, rng: &Rng) -> Taken {
        let (size, dim) = (self.len(), self.dim);
        let n = n.min(size);
        // The first n steps of a Fisher–Yates shuffle, on a sparse permutation.
        let words = rng.words(Purpose::Choice, 0, n, 1);
        let mut moved = std::collections::HashMap::new();
        let slots: Vec<usize> = words
            .iter()
            .enumerate()
            .map(|(i, &word)| {
                let j = i + ((u64::from(word) * (size - i) as u64) >> 32) as usize;
                let at = |k: usize, moved: &std::collections::HashMap<usize, usize>| {
                    moved.get(&k).copied().unwrap_or(k)
                };
                let (chosen, first) = (at(j, &moved), at(i, &moved));
                moved.insert(j, first);
                chosen
            })
            .collect();
        let renew = rng.uniforms(Purpose::Jump, 0, n, 1);
        for (i, &slot) in slots.iter().enumerate() {
            if f64::from(renew[i]) < reinit {
                let noise = rng.uniforms_from(Purpose::Proposed, 0, i as u32, 1, dim);
                self.images[slot * dim..(slot + 1) * dim].copy_from_slice(&noise);
                self.ages[slot] = 0;
            }
        }
        let images = slots
            .iter()
            .flat_map(|&s| self.images[s * dim..(s + 1) * dim].iter().copied())
            .collect();
        Taken { slots, images }
    }

    /// Writes images `[n, D]` back to their slots. Non-finite images are replaced by noise, so that a
    /// broken chain does not poison the buffer.
    pub fn put(&mut self, slots: &[usize], images: &[f32], rng: &Rng) {
        let dim = self.dim;
        for (i, (&slot, image)) in slots.iter().zip(images.chunks(dim)).enumerate() {
            let here = slot * dim..(slot + 1) * dim;
            if image.iter().all(|v| v.is_finite()) {
                self.images[here].copy_from_slice(image);
                self.ages[slot] += 1;
            } else {
                let noise = rng.uniforms_from(Purpose::Refresh, 0, i as u32, 1, dim);
                self.images[here].copy_from_slice(&noise);
                self.ages[slot] = 0;
            }
        }
    }

    /// Mean number of visits since the last reset to noise.
    pub fn mean_age(&self) -> f64 {
        self.ages.iter().map(|&a| f64::from(a)).sum::<f64>() / self.len().max(1) as f64
    }

    /// The buffer as a safetensors file, for checkpoints.
    ///
    /// # Errors
    /// [`Error::Model`] when it cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bug = |e| Error::model("replay buffer", e, "report this as a bug");
        let images: Vec<u8> = self.images.iter().flat_map(|v| v.to_le_bytes()).collect();
        let ages: Vec<u8> = self.ages.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (size, dim) = (self.len(), self.dim);
        let images = TensorView::new(Dtype::F32, vec![size, dim], &images).map_err(bug)?;
        let ages = TensorView::new(Dtype::U32, vec![size], &ages).map_err(bug)?;
        safetensors::serialize([("images", images), ("ages", ages)], None).map_err(bug)
    }

    /// Reads a buffer of `size` images of `dim` values, as written by [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::Model`] for a damaged file, [`Error::Invalid`] for a buffer of another size.
    pub fn from_bytes(bytes: &[u8], size: usize, dim: usize) -> Result<Self> {
        let bad = |e| {
            let fix = "start again: the checkpoint is damaged";
            Error::model("replay buffer", e, fix)
        };
        let file = SafeTensors::deserialize(bytes).map_err(bad)?;
        let (images, ages) = (
            file.tensor("images").map_err(bad)?,
            file.tensor("ages").map_err(bad)?,
        );
        if images.shape() != [size, dim] || ages.shape() != [size] {
            return Err(Error::invalid(
                "the checkpoint's replay buffer",
                format!("{size} images of {dim} values, as the recipe says"),
                format!("{:?}", images.shape()),
                "resume with the run's original buffer settings",
            ));
        }
        let words = |data: &[u8]| data.as_chunks::<4>().0.to_vec();
        Ok(Self {
            images: words(images.data())
                .into_iter()
                .map(f32::from_le_bytes)
                .collect(),
            ages: words(ages.data())
                .into_iter()
                .map(u32::from_le_bytes)
                .collect(),
            dim,
        })
    }

    /// The images, `[size, D]`.
    pub fn images(&self) -> &[f32] {
        &self.images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_distinct_uniform_and_reproducible() {
        let mut buffer = ReplayBuffer::new(50, 3, &Rng::new(1));
        let mut counts = [0u32; 50];
        for k in 0..2000 {
            let rng = Rng::new(2).derived(Purpose::Data, k);
            let taken = buffer.take(10, 0.0, &rng);
            assert_eq!(taken, buffer.clone().take(10, 0.0, &rng));
            let mut sorted = taken.slots.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 10);
            taken.slots.iter().for_each(|&s| counts[s] += 1);
        }
        // 2000 · 10/50 = 400 visits expected per slot; standard deviation 18.
        assert!(
            counts
                .iter()
                .all(|c| (400 - 90..400 + 90).contains(&(*c as i32))),
            "{counts:?}"
        );
    }

    #[test]
    fn images_are_stored_and_reset_with_the_given_probability() {
        let mut buffer = ReplayBuffer::new(1000, 4, &Rng::new(1));
        let rng = Rng::new(3);
        let taken = buffer.take(100, 0.0, &rng);
        buffer.put(&taken.slots, &[0.25; 400], &rng);
        assert_eq!(buffer.images.iter().filter(|&&v| v == 0.25).count(), 400);
        assert!((buffer.mean_age() - 0.1).abs() < 1e-12);
        let renewed = (0..100)
            .map(|k| {
                let before = buffer.clone();
                let taken = buffer.take(100, 0.1, &Rng::new(4).derived(Purpose::Data, k));
                let changed = |s: &&usize| {
                    before.images[**s * 4..**s * 4 + 4] != buffer.images[**s * 4..**s * 4 + 4]
                };
                taken.slots.iter().filter(changed).count()
            })
            .sum::<usize>();
        // 10,000 draws with probability 0.1: mean 1000, standard deviation 30.
        assert!((850..1150).contains(&renewed), "{renewed}");
    }

    #[test]
    fn buffer_round_trips_through_a_file_and_bad_files_are_refused() {
        let mut buffer = ReplayBuffer::new(6, 5, &Rng::new(1));
        let taken = buffer.take(3, 0.5, &Rng::new(2));
        buffer.put(&taken.slots, &[0.5; 15], &Rng::new(2));
        let bytes = buffer.to_bytes().unwrap();
        assert_eq!(ReplayBuffer::from_bytes(&bytes, 6, 5).unwrap(), buffer);
        let cut = ReplayBuffer::from_bytes(&bytes[..bytes.len() - 1], 6, 5).unwrap_err();
        assert!(cut.to_string().contains("damaged"), "{cut}");
        let other = ReplayBuffer::from_bytes(&bytes, 5, 6).unwrap_err();
        assert!(other.to_string().contains("5 images of 6"), "{other}");
    }

    #[test]
    fn non_finite_images_are_replaced_by_noise() {
        let rng = Rng::new(1);
        let mut buffer = ReplayBuffer::new(4, 2, &rng);
        let taken = buffer.take(4, 0.0, &rng);
        let mut images = vec![0.5; 8];
        images[3] = f32::NAN;
        buffer.put(&taken.slots, &images, &rng);
        assert!(buffer.images.iter().all(|v| (0.0..=1.0).contains(v)));
        assert_eq!(buffer.ages[taken.slots[1]], 0);
        assert_eq!(buffer.ages[taken.slots[0]], 1);
    }
}
