//! Counter-based randomness: Philox4x32-10 keyed by the run's seed.
//!
//! Every random number is a pure function of (seed, purpose, step, chain, index): a run is reproducible
//! from its seed and config, a chain's numbers do not depend on the number of other chains, and the
//! integers are the same on every device. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
//! as easy as 1, 2, 3", SC 2011.

#[cfg(feature = "kernels")]
pub mod kernel;

use burn::tensor::{Device, Tensor, TensorData};

/// Purpose of a random number. Two purposes never share numbers, at any step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Start states of chains.
    Start = 0,
    /// Langevin noise or HMC momenta.
    Proposal = 1,
    /// Uniforms of the Metropolis test.
    Accept = 2,
    /// Jitter of the HMC step size.
    Jitter = 3,
    /// Order of the training data.
    Shuffle = 4,
    /// Uniform dequantisation noise.
    Dequantise = 5,
    /// Initial weights.
    Weights = 6,
    /// Proposals of independence jumps.
    Proposed = 7,
    /// Synthetic data sets.
    Data = 8,
    /// Uniforms of the Metropolis test of independence jumps.
    Jump = 9,
    /// Initial momenta of samplers with persistent momenta.
    Momentum = 10,
    /// Noise of the second half of their momentum refresh.
    Refresh = 11,
    /// Directions of NUTS's doublings.
    Direction = 12,
    /// Swaps of parallel tempering.
    Swap = 13,
    /// Normals of Gibbs draws.
    Gibbs = 14,
    /// Uniforms of Gibbs draws, for choices.
    GibbsChoice = 15,
    /// Seeds of derived generators.
    Derived = 22,
    /// Components of synthetic mixtures.
    Choice = 17,
    /// Choices among the leaves of a NUTS tree.
    Leaf = 16,
    /// Boxes of resized crops.
    AugmentCrop = 18,
    /// Factors of colour jitter and choices of grey images.
    AugmentColour = 19,
    /// Choices of flipped images.
    AugmentFlip = 20,
    /// Order of the colour adjustments.
    AugmentOrder = 21,
    /// Inference of latents.
    Posterior = 23,
    /// Seeds of a training run after an incident.
    Healed = 24,
    /// Chains of health checks.
    Health = 25,
}

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// The Philox4x32 block function with ten rounds: 128 random bits for a counter and a key.
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
        }
        let p0 = u64::from(M0) * u64::from(counter[0]);
        let p1 = u64::from(M1) * u64::from(counter[2]);
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
    }
    counter
}

/// The random generator of a run: a seed, without mutable state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
}

impl Rng {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// An independent generator for the `n`-th part of a run, for example the chains of an iteration.
    pub fn derived(&self, purpose: Purpose, n: u64) -> Self {
        let b = self.block(Purpose::Derived, (n >> 32) as u32, n as u32, purpose as u32);
        Self {
            seed: u64::from(b[0]) << 32 | u64::from(b[1]),
        }
    }

    fn block(&self, purpose: Purpose, step: u32, chain: u32, index: u32) -> [u32; 4] {
        philox4x32_10(
            [index, chain, step, purpose as u32],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// The raw words from which all other numbers are made, `[chains, dim]`, row-major: to check that
    /// devices agree.
    pub fn words(&self, purpose: Purpose, step: u32, chains: usize, dim: usize) -> Vec<u32> {
        (0..chains * dim)
            .map(|i| {
                let (chain, k) = (i / dim, i % dim);
                self.block(purpose, step, chain as u32, k as u32 / 4)[k % 4]
            })
            .collect()
    }

    /// Standard normals `[chains, dim]`, row-major.
    ///
    /// Box–Muller in f64 with the portable `libm`, then rounded to f32: the values are the same on every
    /// target, since neither the platform's `log` nor a GPU's `sin` is used.
    pub fn normals(&self, purpose: Purpose, step: u32, chains: usize, dim: usize) -> Vec<f32> {
        self.normals_from(purpose, step, 0, chains, dim)
    }

    /// Standard normals of the chains `first..first + chains`, `[chains, dim]`; see
    /// [`normals`](Self::normals).
    pub fn normals_from(
        &self,
        purpose: Purpose,
        step: u32,
        first: u32,
        chains: usize,
        dim: usize,
    ) -> Vec<f32> {
        let mut out = Vec::with_capacity(chains * dim);
        for chain in 0..chains {
            let end = out.len() + dim;
            let mut index = 0;
            while out.len() < end {
                let b = self.block(purpose, step, first + chain as u32, index);
                for (u, v) in [(b[0], b[1]), (b[2], b[3])] {
                    // (u + ½)/2³² lies strictly inside (0, 1): the logarithm is always finite.
                    let radius =
                        libm::sqrt(-2.0 * libm::log((f64::from(u) + 0.5) / 4_294_967_296.0));
                    let angle = std::f64::consts::TAU * f64::from(v) / 4_294_967_296.0;
                    for value in [radius * libm::cos(angle), radius * libm::sin(angle)] {
                        if out.len() < end {
                            out.push(value as f32);
                        }
                    }
                }
                index += 1;
            }
        }
        out
    }

    /// Uniforms in (0, 1), `[chains, dim]`, row-major.
    pub fn uniforms(&self, purpose: Purpose, step: u32, chains: usize, dim: usize) -> Vec<f32> {
        self.uniforms_from(purpose, step, 0, chains, dim)
    }

    /// Uniforms in (0, 1) of the chains `first..first + chains`, `[chains, dim]`.
    pub fn uniforms_from(
        &self,
        purpose: Purpose,
        step: u32,
        first: u32,
        chains: usize,
        dim: usize,
    ) -> Vec<f32> {
        let mut out = Vec::with_capacity(chains * dim);
        for chain in 0..chains {
            let end = out.len() + dim;
            let mut index = 0;
            while out.len() < end {
                for word in self.block(purpose, step, first + chain as u32, index) {
                    if out.len() < end {
                        // 24 bits; the half rounds to even, and the cap keeps the largest below 1.
                        let bits = ((word >> 8) as f32 + 0.5).min(16_777_215.0);
                        out.push(bits / 16_777_216.0);
                    }
                }
                index += 1;
            }
        }
        out
    }

    /// Standard normals as a tensor `[chains, dim]`.
    pub fn normal_tensor(
        &self,
        purpose: Purpose,
        step: u32,
        chains: usize,
        dim: usize,
        device: &Device,
    ) -> Tensor<2> {
        self.normal_rows(purpose, step, 0, chains, dim, device)
    }

    /// Standard normals of the chains `first..first + chains` as a tensor `[chains, dim]`.
    pub fn normal_rows(
        &self,
        purpose: Purpose,
        step: u32,
        first: u32,
        chains: usize,
        dim: usize,
        device: &Device,
    ) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(made) = {
            let draw = kernel::Draw::new(self, purpose, step).at_chain(first);
            kernel::normals(draw, [chains, dim], device)
        } {
            return made;
        }
        let values = self.normals_from(purpose, step, first, chains, dim);
        Tensor::from_data(TensorData::new(values, [chains, dim]), device)
    }

    /// Uniforms in (0, 1) of the chains `first..first + chains` as a tensor `[chains, dim]`.
    pub fn uniform_rows(
        &self,
        purpose: Purpose,
        step: u32,
        first: u32,
        chains: usize,
        dim: usize,
        device: &Device,
    ) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(made) = {
            let draw = kernel::Draw::new(self, purpose, step).at_chain(first);
            kernel::uniforms(draw, [chains, dim], device)
        } {
            return made;
        }
        let values = self.uniforms_from(purpose, step, first, chains, dim);
        Tensor::from_data(TensorData::new(values, [chains, dim]), device)
    }

    /// Uniforms in (0, 1) as a tensor `[chains]`.
    pub fn uniform_tensor(
        &self,
        purpose: Purpose,
        step: u32,
        chains: usize,
        device: &Device,
    ) -> Tensor<1> {
        self.uniform_rows(purpose, step, 0, chains, 1, device)
            .reshape([chains])
    }

    /// A permutation of 0..n (Fisher–Yates) for an `epoch`.
    pub fn permutation(&self, epoch: u32, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let b = self.block(Purpose::Shuffle, epoch, (i >> 1) as u32, (i & 1) as u32);
            let word = u64::from(b[0]) << 32 | u64::from(b[1]);
            // Multiply-shift maps 64 random bits to 0..=i; the bias is below 2⁻⁴⁰ here.
            let j = ((u128::from(word) * (i as u128 + 1)) >> 64) as usize;
            order.swap(i, j);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers from the authors' Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normals_have_unit_moments_and_do_not_depend_on_the_batch() {
        let rng = Rng::new(7);
        let many = rng.normals(Purpose::Start, 3, 64, 785);
        let n = many.len() as f64;
        let mean = many.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let var = many.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        // Five standard errors of the mean and of the variance.
        assert!(mean.abs() < 5.0 / n.sqrt(), "mean {mean}");
        assert!((var - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "variance {var}");
        let few = rng.normals(Purpose::Start, 3, 2, 785);
        assert_eq!(few[..], many[..2 * 785]);
        assert_ne!(few, rng.normals(Purpose::Start, 4, 2, 785));
        assert_ne!(few, rng.normals(Purpose::Proposal, 3, 2, 785));
    }

    #[test]
    fn largest_word_maps_below_one() {
        // Search for a chain whose first word is 0xFFFFFFxx.
        let rng = Rng::new(0);
        let found = (0..1 << 25).find(|&i| rng.block(Purpose::Accept, 0, i, 0)[0] >= 0xFFFF_FF00);
        let chain = found.expect("one of 2²⁴ words on average");
        let u = rng.uniforms_from(Purpose::Accept, 0, chain, 1, 1);
        assert!(u[0] < 1.0, "{}", u[0]);
    }

    #[test]
    fn uniforms_stay_inside_the_open_interval() {
        let u = Rng::new(1).uniforms(Purpose::Accept, 0, 100, 33);
        assert!(u.iter().all(|&v| v > 0.0 && v < 1.0));
        let mean = u.iter().sum::<f32>() / u.len() as f32;
        assert!((mean - 0.5).abs() < 5.0 * (1.0f32 / 12.0 / u.len() as f32).sqrt());
    }

    #[test]
    fn permutation_is_a_permutation_and_changes_with_the_epoch() {
        let rng = Rng::new(5);
        let p = rng.permutation(0, 1000);
        let mut sorted = p.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, &v)| i == v));
        assert_ne!(p, rng.permutation(1, 1000));
    }

    /// Numbers of another implementation, in Python from the paper (as tests/fixtures/philox.py): a seed
    /// gives the same run in every version.
    #[test]
    fn numbers_match_another_implementation() {
        let rng = Rng::new(5);
        let derived = |n| rng.derived(Purpose::Proposal, n).seed();
        assert_eq!(derived(3), 0x0829_6a5a_2f19_70ee);
        // All 64 bits of n count.
        assert_eq!(derived((1 << 32) + 3), 0xe331_1042_da5e_3fa1);
        let words = [
            0x2fb2_0011,
            0xede6_c53b,
            0x3318_8bfd,
            0x510a_7fed,
            0xb222_7366,
            0xa03a_6834,
            0xd125_795f,
            0x924d_2172,
            0x72bd_bd9c,
            0x9bf7_9750,
            0xde7b_6f48,
            0x5b23_fd11,
        ];
        assert_eq!(rng.words(Purpose::Accept, 2, 2, 6), words);
        assert_eq!(
            rng.permutation(2, 12),
            [4, 2, 11, 5, 0, 1, 7, 9, 8, 6, 10, 3]
        );
    }

    /// A chain whose first word is 63, where half a unit is visible in the normal.
    #[test]
    fn normals_of_small_words_are_exact() {
        let rng = Rng::new(0);
        let chain = 22_978_087;
        let block = rng.block(Purpose::Start, 0, chain, 0);
        assert_eq!(block[..2], [63, 3_274_736_670]);
        let radius = (-2.0 * (63.5f64 / 4_294_967_296.0).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(block[1]) / 4_294_967_296.0;
        let found = rng.normals_from(Purpose::Start, 0, chain, 1, 2);
        for (found, expected) in found.iter().zip([angle.cos(), angle.sin()]) {
            let expected = radius * expected;
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{found}, {expected}"
            );
        }
    }
}
