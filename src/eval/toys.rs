//! Two-dimensional toys with known divergences: how far one ratio can reach, and how far several can.
//!
//! The distribution of the latents is a ring of eight narrow modes at a given distance from N(0, I) in
//! nats. Every arm learns the prior from the same draws for the same number of iterations. The
//! divergence of the learned prior is a sum over a grid.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{
    device::read,
    energy::Energy,
    error::{Error, Result},
    nn::tilt::Tilt,
    rng::{Purpose, Rng},
    system::latent_prior::{
        PriorEnergy,
        ratio::{Arm, RatioConfig, RatioTraining, Rule, StageRecord},
    },
};

const MODES: usize = 8;
/// Standard deviation of a mode.
const SPREAD: f64 = 0.2;
/// Points of the grid along each axis.
const SIDE: usize = 512;

/// A ring of eight Gaussian modes.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    /// Radius of the ring.
    pub radius: f64,
}

impl Ring {
    /// The ring with divergence KL(q ‖ N(0, I)) = `nats`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a distance that no such ring has.
    pub fn at(nats: f64) -> Result<Self> {
        let (mut low, mut high) = (0.5, 20.0);
        let far = |radius: f64| Self { radius }.divergence(&|z| log_normal(z));
        if !(far(low)..far(high)).contains(&nats) {
            return Err(Error::invalid(
                "nats",
                format!("a distance from {:.1} to {:.0}", far(low), far(high)),
                nats,
                "choose a distance in that range",
            ));
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if far(middle) < nats {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(Self { radius: low })
    }

    fn centre(&self, mode: usize) -> [f64; 2] {
        let angle = std::f64::consts::TAU * mode as f64 / MODES as f64;
        [self.radius * angle.cos(), self.radius * angle.sin()]
    }

    /// The mode within four standard deviations of a point, if any.
    fn mode(&self, z: [f64; 2]) -> Option<usize> {
        (0..MODES).find(|&m| {
            let [a, b] = self.centre(m);
            (z[0] - a).hypot(z[1] - b) < 4.0 * SPREAD
        })
    }

    /// log q(z).
    pub fn log_density(&self, z: [f64; 2]) -> f64 {
        let terms: Vec<f64> = (0..MODES)
            .map(|m| {
                let [a, b] = self.centre(m);
                -((z[0] - a).powi(2) + (z[1] - b).powi(2)) / (2.0 * SPREAD * SPREAD)
            })
            .collect();
        let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = terms.iter().map(|t| (t - top).exp()).sum();
        top + sum.ln() - (MODES as f64 * std::f64::consts::TAU * SPREAD * SPREAD).ln()
    }

    /// Draws `[count, 2]`; a function of seed and step.
    pub fn draw(&self, rng: &Rng, step: u32, count: usize, device: &Device) -> Tensor<2> {
        let noise = rng.normals(Purpose::Data, step, count, 2);
        let modes = rng.words(Purpose::Choice, step, count, 1);
        let values: Vec<f32> = noise
            .chunks(2)
            .zip(modes)
            .flat_map(|(noise, word)| {
                let centre = self.centre(word as usize % MODES);
                [0, 1].map(|i| (centre[i] + SPREAD * f64::from(noise[i])) as f32)
            })
            .collect();
        Tensor::from_data(TensorData::new(values, [count, 2]), device)
    }

    /// Half the side length of the grid.
    fn reach(&self) -> f64 {
        (self.radius + 8.0 * SPREAD).max(6.0)
    }

    fn cells(&self) -> (Vec<[f64; 2]>, f64) {
        let step = 2.0 * self.reach() / SIDE as f64;
        let at = |i: usize| (i as f64 + 0.5) * step - self.reach();
        let cells = (0..SIDE * SIDE).map(|i| [at(i % SIDE), at(i / SIDE)]);
        (cells.collect(), step * step)
    }

    /// ∫ q (log q − log p) over the grid, for a normalised log p.
    fn divergence(&self, log_p: &dyn Fn([f64; 2]) -> f64) -> f64 {
        let (cells, area) = self.cells();
        cells
            .into_iter()
            .map(|z| {
                let log_q = self.log_density(z);
                if log_q < -700.0 {
                    return 0.0;
                }
                log_q.exp() * (log_q - log_p(z)) * area
            })
            .sum()
    }
}

fn log_normal([a, b]: [f64; 2]) -> f64 {
    -0.5 * (a * a + b * b) - std::f64::consts::TAU.ln()
}

/// One experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ToyPlan {
    /// KL(q ‖ N(0, I)).
    pub nats: f64,
    /// The arm.
    pub arm: Arm,
    /// Largest number of stages (adaptive arm), or number of bridges (telescoping arm); otherwise 1.
    pub stages: usize,
    /// Total iterations.
    pub iterations: u64,
    /// Batch size.
    pub batch: usize,
    /// Seed.
    pub seed: u64,
}

/// A divergence and its parts, which sum to it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Parts {
    /// KL(q ‖ p), on the grid.
    pub divergence: f64,
    /// −ln of p's mass within four standard deviations of the modes: due to mass between the modes.
    pub leakage: f64,
    /// KL between the modes' weights: equal ones against p's.
    pub weights: f64,
    /// The remainder: due to the shapes of the modes.
    pub shape: f64,
}

/// Result of one experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToyResult {
    /// The plan.
    pub plan: ToyPlan,
    /// Training settings of the prior.
    pub settings: RatioConfig,
    /// KL(q ‖ p) of the learned prior, on the grid, and its parts.
    #[serde(flatten)]
    pub parts: Parts,
    /// Iterations used.
    pub iterations: u64,
    /// The stages with their held-out losses.
    pub stages: Vec<StageRecord>,
    /// Seconds.
    pub seconds: f64,
    /// Square root of the learned density on a coarse grid, [`PICTURE`]² values, scaled to a maximum of
    /// 1.
    #[serde(skip)]
    pub density: Vec<f32>,
}

/// Side of the picture of a density.
pub const PICTURE: usize = 64;

/// Settings of the prior for a toy.
pub fn settings(plan: &ToyPlan) -> RatioConfig {
    let stages = plan.stages.max(1);
    // Maximum likelihood depends on its chains: at the ratios' learning rate the energy outruns them.
    let likelihood = plan.arm == Arm::Lebm;
    RatioConfig {
        arm: plan.arm,
        hidden: 128,
        layers: if likelihood { 2 } else { 3 },
        learning_rate: if likelihood { 3e-4 } else { 2e-3 },
        ema_decay: 0.99,
        chains: plan.batch,
        transitions: 5,
        step_size: 0.3,
        burn_in: 300,
        anneal: !likelihood,
        bound: 5.0,
        resample: true,
        inherit: true,
        bridges: stages,
        rule: Rule {
            check_every: 50,
            tolerance: 0.003,
            // Stages of equal length, each with its full learning-rate decay.
            patience: u32::MAX,
            longest: match plan.arm {
                Arm::Adaptive => plan.iterations / stages as u64,
                _ => plan.iterations,
            },
            chance: 0.69,
            stages,
        },
    }
}

/// Learns one prior with such [`settings`](fn@settings), and computes its divergence.
///
/// # Errors
/// [`Error::Invalid`] for a bad plan, [`Error::Diverged`] when learning fails.
pub fn run(plan: &ToyPlan, settings: &RatioConfig, device: &Device) -> Result<ToyResult> {
    let began = std::time::Instant::now();
    let ring = Ring::at(plan.nats)?;
    let mut training = RatioTraining::new(settings, 2, plan.seed, device)?;
    let rng = Rng::new(plan.seed).derived(Purpose::Data, 1);
    let held_out = rng.derived(Purpose::Data, 2);
    let mut done = 0;
    while done < plan.iterations && !training.book.finished {
        let z = ring.draw(&rng, done as u32, plan.batch, device);
        pollster::block_on(training.step(z))?;
        done += 1;
        if training.check_due() {
            let z = ring.draw(&held_out, done as u32, plan.batch, device);
            pollster::block_on(training.check(z))?;
        }
    }
    pollster::block_on(training.finish())?;
    let (parts, density) = measure(&ring, training.learned(), device)?;
    Ok(ToyResult {
        plan: *plan,
        settings: settings.clone(),
        parts,
        iterations: training.book.iteration,
        stages: training.book.stages.clone(),
        seconds: began.elapsed().as_secs_f64(),
        density,
    })
}

/// KL(q ‖ p) with p's normaliser from the same grid, and the picture of the density.
fn measure(ring: &Ring, ratios: Vec<Tilt>, device: &Device) -> Result<(Parts, Vec<f32>)> {
    let prior: Arc<dyn Energy> = Arc::new(PriorEnergy { latent: 2, ratios });
    let (cells, area) = ring.cells();
    let mut log_p = Vec::with_capacity(cells.len());
    for chunk in cells.chunks(16_384) {
        let values: Vec<f32> = chunk.iter().flatten().map(|&v| v as f32).collect();
        let z = Tensor::from_data(TensorData::new(values, [chunk.len(), 2]), device);
        let energy: Vec<f64> = pollster::block_on(read(prior.evaluate(z).energy))?;
        log_p.extend(energy.into_iter().map(|e| -e));
    }
    let top = log_p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let density: Vec<f64> = log_p.iter().map(|v| (v - top).exp()).collect();
    let total = density.iter().sum::<f64>();
    let log_z = top + (total * area).ln();
    let mut divergence = 0.0;
    let mut mass = [0.0; MODES];
    for ((&z, &p), &d) in cells.iter().zip(&log_p).zip(&density) {
        let log_q = ring.log_density(z);
        divergence += log_q.exp() * (log_q - (p - log_z)) * area;
        if let Some(mode) = ring.mode(z) {
            mass[mode] += d / total;
        }
    }
    let leakage = -mass.iter().sum::<f64>().ln();
    let equal = 1.0 / MODES as f64;
    let weights = mass.iter().map(|m| equal * (equal / m).ln()).sum::<f64>() - leakage;
    let parts = Parts {
        divergence,
        leakage,
        weights,
        shape: divergence - leakage - weights,
    };
    Ok((parts, picture(&density)))
}

/// The picture of the target's density, as [`ToyResult::density`].
pub fn target_picture(ring: &Ring) -> Vec<f32> {
    let (cells, _) = ring.cells();
    picture(
        &cells
            .into_iter()
            .map(|z| ring.log_density(z).exp())
            .collect::<Vec<_>>(),
    )
}

/// Square roots of sums over blocks of the fine grid, scaled to a maximum of 1. The root makes the mass
/// between modes visible.
fn picture(density: &[f64]) -> Vec<f32> {
    let block = SIDE / PICTURE;
    let sums: Vec<f64> = (0..PICTURE * PICTURE)
        .map(|i| {
            let (row, column) = (i / PICTURE * block, i % PICTURE * block);
            (0..block * block)
                .map(|k| density[(row + k / block) * SIDE + column + k % block])
                .sum()
        })
        .collect();
    let top = sums.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    sums.into_iter().map(|v| (v / top).sqrt() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_have_the_requested_divergence() {
        // For modes without overlap: KL = R²/2 + s² − 1 − ln(8 s²), in nats.
        for nats in [5.0, 10.0, 20.0] {
            let radius = Ring::at(nats).unwrap().radius;
            let s2 = SPREAD * SPREAD;
            let exact = radius * radius / 2.0 + s2 - 1.0 - (MODES as f64 * s2).ln();
            assert!((exact - nats).abs() < 1e-3, "{nats}: {exact}");
        }
        assert!(Ring::at(0.1).is_err() && Ring::at(f64::NAN).is_err());
    }

    #[test]
    fn untrained_prior_has_the_full_divergence() {
        let device = Device::flex();
        let ring = Ring::at(5.0).unwrap();
        let (parts, _) = measure(&ring, Vec::new(), &device).unwrap();
        assert!((parts.divergence - 5.0).abs() < 1e-3, "{parts:?}");
        // N(0, I) has equal mass in every mode, and nearly all of its mass between them.
        assert!(
            parts.weights.abs() < 1e-3 && parts.leakage > 0.5,
            "{parts:?}"
        );
        // A narrow mode differs from N(0, I) restricted to the same place. (The sum of the parts would
        // prove nothing, since the shape is defined as the remainder.)
        assert!(parts.shape > 0.0, "{parts:?}");
        let far = ring.draw(&Rng::new(1), 0, 4000, &device);
        let radius: Vec<f64> = far
            .powi_scalar(2)
            .sum_dim(1)
            .sqrt()
            .into_data()
            .iter()
            .collect();
        let mean = radius.iter().sum::<f64>() / 4000.0;
        assert!((mean - ring.radius).abs() < 0.02, "{mean}");
    }
}
