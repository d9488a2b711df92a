//! Training of the ratios: steps, checks, and transitions between stages.

use std::sync::Arc;

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
};

use super::{
    super::{
        density::{PriorEnergy, tilt_of, vector},
        sir,
    },
    book::{Book, Check},
    config::{Arm, RatioConfig},
    loss::{held_out, logistic},
};
use crate::{
    device::read,
    energy::Energy,
    error::{Error, Result},
    nn::{ema::Ema, layers::Init, tilt::Tilt},
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
};

/// The networks in training.
#[derive(Module, Debug)]
pub struct Bank {
    /// U of each ratio.
    pub nets: Vec<Tilt>,
}

impl Bank {
    fn new(config: &RatioConfig, dim: usize, seed: u64, device: &Device) -> Self {
        let mut init = Init::new(seed, device);
        let count = match config.arm {
            Arm::Gaussian => 0,
            Arm::Bridges => config.bridges,
            _ => 1,
        };
        Self {
            nets: (0..count)
                .map(|_| Tilt::new(&config.network(), vector(dim), &mut init))
                .collect(),
        }
    }
}

/// Metrics of one iteration of the prior.
#[derive(Debug, Clone, Copy)]
pub struct RatioStep {
    /// The objective: logistic loss, or for maximum likelihood the difference of mean energies.
    pub loss: f64,
    /// Mean acceptance of the prior's chains; NaN if there were none.
    pub acceptance: f64,
}

impl RatioStep {
    /// Metrics of an iteration in which the prior is not trained.
    pub const NONE: Self = Self {
        loss: f64::NAN,
        acceptance: f64::NAN,
    };
}

/// Learns the prior from draws of the latents, `[B, n]` per iteration.
pub struct RatioTraining {
    pub(in crate::system::latent_prior) config: RatioConfig,
    dim: usize,
    seed: u64,
    device: Device,
    pub(in crate::system::latent_prior) frozen: Vec<Tilt>,
    pub(in crate::system::latent_prior) bank: Bank,
    pub(in crate::system::latent_prior) average: Ema<Bank>,
    pub(in crate::system::latent_prior) optimiser: ModuleOptimizer,
    /// Chains of the prior: for training, and for the checks.
    pub(in crate::system::latent_prior) chains: [Run; 2],
    /// Stages so far.
    pub book: Book,
}

/// Target acceptance of the chains (Roberts & Rosenthal 1998).
const ACCEPT: f64 = 0.574;

impl RatioTraining {
    /// A new training that starts from the prior N(0, I) in `dim` dimensions.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bad settings.
    pub fn new(config: &RatioConfig, dim: usize, seed: u64, device: &Device) -> Result<Self> {
        config.check()?;
        let tracked = device.clone().autodiff();
        let bank = Bank::new(config, dim, seed ^ 0x5a7e, &tracked);
        let start = |which: u32| -> Result<Run> {
            let rng = Rng::new(seed).derived(Purpose::Proposal, u64::from(which));
            let z = rng.normal_tensor(Purpose::Start, which, config.chains, dim, device);
            let settings = SamplerConfig {
                step_size: Some(config.step_size),
                warmup: 0,
                ..SamplerConfig::default()
            };
            Run::new(prior(dim, Vec::new()), &settings, rng, z)
        };
        Ok(Self {
            chains: [start(0)?, start(1)?],
            average: Ema::new(&bank, config.ema_decay),
            optimiser: optimiser(),
            bank,
            frozen: Vec::new(),
            book: Book::default(),
            config: config.clone(),
            dim,
            seed,
            device: device.clone(),
        })
    }

    /// Continues with the random numbers of another seed.
    pub fn reseed(&mut self, seed: u64) {
        self.seed = seed;
        for (which, chains) in self.chains.iter_mut().enumerate() {
            chains.reseed(Rng::new(seed).derived(Purpose::Proposal, which as u64));
        }
    }

    /// The prior under which posteriors are currently inferred.
    pub fn prior(&self) -> Vec<Tilt> {
        match self.config.arm {
            Arm::Adaptive => self.frozen.clone(),
            Arm::Lebm => self.bank.valid().nets,
            // Their ratios are learned from the latents under N(0, I).
            Arm::Gaussian | Arm::Nce | Arm::Bridges => Vec::new(),
        }
    }

    /// The prior learned so far: frozen ratios, or the averages of the networks in training.
    pub fn learned(&self) -> Vec<Tilt> {
        match self.config.arm {
            Arm::Adaptive => self.frozen.clone(),
            _ => self.average.average().nets.clone(),
        }
    }

    /// Number of the current stage, from 1.
    pub fn stage(&self) -> usize {
        self.book.stages.len()
    }

    /// Negatives: exact draws if the prior is N(0, I), else the persistent chains.
    async fn negatives(&mut self, which: usize, transitions: usize) -> Result<(Tensor<2>, f64)> {
        let fresh = match self.config.arm {
            Arm::Adaptive => self.frozen.is_empty(),
            Arm::Lebm => false,
            _ => true,
        };
        let (chains, dim) = (self.config.chains, self.dim);
        if fresh {
            let step = self.book.iteration as u32;
            let rng = Rng::new(self.seed).derived(Purpose::Proposed, which as u64);
            let z = rng.normal_tensor(Purpose::Proposed, step, chains, dim, &self.device);
            return Ok((z, f64::NAN));
        }
        if self.config.arm == Arm::Lebm {
            let target = prior(dim, self.bank.valid().nets);
            self.chains[which].retarget(target)?;
        }
        let acceptance = advance(&mut self.chains[which], transitions).await?;
        Ok((self.chains[which].states(), acceptance))
    }

    /// One step of Adam on latents `[B, n]`. Does nothing once the prior is finished.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is not finite, [`Error::Device`] when the device cannot be
    /// read.
    pub async fn step(&mut self, latents: Tensor<2>) -> Result<RatioStep> {
        if self.config.arm == Arm::Gaussian || self.book.finished {
            return Ok(RatioStep::NONE);
        }
        let (negatives, acceptance) = self.negatives(0, self.config.transitions).await?;
        let loss = self.loss(latents, negatives);
        let value = f64::from(read::<1, f32>(loss.clone().inner()).await?[0]);
        if !value.is_finite() {
            return Err(Error::Diverged {
                problem: format!(
                    "the prior's loss is {value} in stage {} after {} iterations",
                    self.stage(),
                    self.book.iteration
                ),
                fix: "resume with a lower prior.learning_rate".into(),
            });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &self.bank);
        let rate = self.rate();
        self.bank = self.optimiser.step(rate, self.bank.clone(), grads);
        self.average.update(&self.bank);
        self.book.iteration += 1;
        if let Some(stage) = self.book.stages.last_mut() {
            stage.iterations += 1;
        }
        Ok(RatioStep {
            loss: value,
            acceptance,
        })
    }

    /// The objective on latents and negatives, `[B, n]` each → `[1]`.
    pub(in crate::system::latent_prior) fn loss(
        &self,
        latents: Tensor<2>,
        negatives: Tensor<2>,
    ) -> Tensor<1> {
        match self.config.arm {
            Arm::Bridges => self.telescope(latents, negatives),
            Arm::Lebm => {
                let (below, above) = self.energies(latents, negatives);
                below.mean() - above.mean()
            }
            _ => {
                let (below, above) = self.energies(latents, negatives);
                logistic(below, above)
            }
        }
    }

    /// The learning rate of the current iteration.
    fn rate(&self) -> f64 {
        let peak = self.config.learning_rate;
        if !self.config.anneal {
            return peak;
        }
        let done = self.book.stages.last().map_or(0, |s| s.iterations) as f64;
        let t = (done / self.config.rule.longest as f64).min(1.0);
        peak * (0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * t).cos()))
    }

    /// U of the single network at latents and negatives, in one pass.
    fn energies(&self, latents: Tensor<2>, negatives: Tensor<2>) -> (Tensor<1>, Tensor<1>) {
        let (b, n) = (latents.dims()[0], negatives.dims()[0]);
        let u = self.bank.nets[0].forward(Tensor::cat(vec![latents, negatives], 0));
        (u.clone().narrow(0, 0, b), u.narrow(0, b, n))
    }

    /// Mean logistic loss of every ratio between neighbouring bridges.
    fn telescope(&self, latents: Tensor<2>, noise: Tensor<2>) -> Tensor<1> {
        let m = self.bank.nets.len();
        let b = latents.dims()[0].min(noise.dims()[0]);
        let (latents, noise) = (latents.narrow(0, 0, b), noise.narrow(0, 0, b));
        let bridge = |k: usize| {
            let alpha = k as f64 / m as f64;
            noise.clone() * (1.0 - alpha * alpha).sqrt() + latents.clone() * alpha
        };
        let mut loss = Tensor::zeros([1], &self.device.clone().autodiff());
        for (k, net) in self.bank.nets.iter().enumerate() {
            let u = net.forward(Tensor::cat(vec![bridge(k + 1), bridge(k)], 0));
            loss = loss + logistic(u.clone().narrow(0, 0, b), u.narrow(0, b, b));
        }
        loss / m as f64
    }

    /// Whether a check is due after the last step.
    pub fn check_due(&self) -> bool {
        let present = self.book.stages.last().map_or(0, |s| s.iterations);
        matches!(self.config.arm, Arm::Adaptive | Arm::Nce)
            && !self.book.finished
            && present > 0
            && present.is_multiple_of(self.config.rule.check_every)
    }

    /// Computes the held-out loss of the moving average on latents `[B, n]` of held-out images, against
    /// separate chains, and ends the stage if the rule says so. Returns the check, and why the stage
    /// ended. One-shot estimation is checked too, but never ended.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is not finite; [`Error::Device`] when the device cannot be
    /// read.
    pub async fn check(&mut self, latents: Tensor<2>) -> Result<(Check, Option<&'static str>)> {
        let transitions = self.config.transitions * 4;
        let (negatives, _) = self.negatives(1, transitions).await?;
        let net = &self.average.average().nets[0];
        let below: Vec<f64> = read(net.forward(latents)).await?;
        let above: Vec<f64> = read(net.forward(negatives)).await?;
        let (loss, accuracy) = held_out(&below, &above);
        if !loss.is_finite() {
            return Err(Error::Diverged {
                problem: format!(
                    "the prior's held-out loss is {loss} in stage {}",
                    self.stage()
                ),
                fix: "start again with a lower prior.learning_rate".into(),
            });
        }
        let check = Check {
            iteration: self.book.stages.last().map_or(0, |s| s.iterations),
            loss,
            accuracy,
        };
        let rule = self.config.rule.clone();
        let why = self.book.enter(check, &rule);
        match why {
            Some(why) if self.config.arm == Arm::Adaptive => {
                self.end(why).await?;
                Ok((check, Some(why)))
            }
            _ => Ok((check, None)),
        }
    }

    /// Ends the current stage: freezes its ratio and adds it to the prior, unless it is at chance.
    pub(in crate::system::latent_prior) async fn end(&mut self, why: &'static str) -> Result<()> {
        let rule = self.config.rule.clone();
        self.book.end(why, &rule);
        if why == "at chance" {
            return Ok(());
        }
        let ratios = self.average.average().nets.clone();
        let mut ess = None;
        for (which, chains) in self.chains.iter_mut().enumerate() {
            if self.config.resample {
                let rng = Rng::new(self.seed).derived(Purpose::Choice, which as u64);
                let uniform = rng.uniforms(Purpose::Choice, self.frozen.len() as u32, 1, 1)[0];
                let found = resample_chains(chains, &ratios, uniform).await?;
                ess = ess.or(Some(found));
            }
            let all = [self.frozen.clone(), ratios.clone()].concat();
            chains.retarget(prior(self.dim, all))?;
            advance(chains, self.config.burn_in).await?;
        }
        self.frozen.extend(ratios);
        let ended = self.book.stages.iter_mut().rev().find(|s| s.kept);
        if let Some(stage) = ended {
            stage.resampled_ess = ess;
        }
        self.renew();
        Ok(())
    }

    /// Makes a new network for the next stage.
    fn renew(&mut self) {
        let tracked = self.device.clone().autodiff();
        let seed = Rng::new(self.seed)
            .derived(Purpose::Weights, self.frozen.len() as u64)
            .seed();
        let mut bank = Bank::new(&self.config, self.dim, seed, &tracked);
        if self.config.inherit {
            let nets = bank.nets.into_iter().zip(&self.bank.nets);
            bank.nets = nets.map(|(new, old)| new.with_features_of(old)).collect();
        }
        self.bank = bank;
        self.average = Ema::new(&self.bank, self.config.ema_decay);
        self.optimiser = optimiser();
    }

    /// Ends the training: the current stage is kept if its held-out loss is below chance level.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn finish(&mut self) -> Result<()> {
        if self.config.arm == Arm::Adaptive && !self.book.finished {
            let useful = self.book.best.is_some_and(|b| b < self.config.rule.chance);
            let why = if useful {
                "end of training"
            } else {
                "at chance"
            };
            self.end(why).await?;
            if self.book.stages.last().is_some_and(|s| s.ended.is_empty()) {
                self.book.stages.pop();
            }
        }
        self.book.finished = true;
        Ok(())
    }

    /// Restores the frozen ratios and the record of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the number of ratios differs from the record's.
    #[cfg(feature = "native")]
    pub(in crate::system::latent_prior) fn restored(
        &mut self,
        frozen: Vec<Tilt>,
        book: Book,
    ) -> Result<()> {
        let kept = match self.config.arm {
            Arm::Adaptive => book.kept(),
            _ => 0,
        };
        if kept != frozen.len() {
            return Err(Error::invalid(
                "checkpoint",
                format!("{kept} frozen ratios, as in stages.json"),
                frozen.len(),
                "start the run again",
            ));
        }
        for chains in &mut self.chains {
            chains.retarget(prior(self.dim, frozen.clone()))?;
        }
        (self.frozen, self.book) = (frozen, book);
        Ok(())
    }

    /// A network of the current architecture, to be filled from a checkpoint.
    #[cfg(feature = "native")]
    pub(in crate::system::latent_prior) fn blank(&self) -> Bank {
        Bank::new(&self.config, self.dim, 0, &self.device)
    }
}

fn prior(latent: usize, ratios: Vec<Tilt>) -> Arc<dyn Energy> {
    Arc::new(PriorEnergy { latent, ratios })
}

fn optimiser() -> ModuleOptimizer {
    AdamConfig::new().with_beta_1(0.5).with_beta_2(0.999).init()
}

/// Resamples the chains' states systematically with the weights exp(−Σ U) of `ratios`; returns the
/// weights' ESS.
async fn resample_chains(chains: &mut Run, ratios: &[Tilt], uniform: f32) -> Result<f64> {
    let tilt: Vec<f64> = read(tilt_of(ratios, &chains.states())).await?;
    let log_weights: Vec<f64> = tilt.into_iter().map(|u| sir::log_weight(u, 1.0)).collect();
    if !log_weights.iter().any(|w| w.is_finite()) {
        return Err(Error::Diverged {
            problem: "no chain of the prior has a finite weight under the new ratio".into(),
            fix: "start again with a lower prior.learning_rate".into(),
        });
    }
    let count = log_weights.len();
    let (indices, ess) = sir::systematic(&log_weights, count, f64::from(uniform));
    let mut saved = chains.save().await?;
    let dim = saved.x.len() / count;
    saved.x = rows(&saved.x, &indices, dim);
    saved.memory = saved.memory.map(|memory| rows(&memory, &indices, dim));
    chains.restore(saved)?;
    Ok(ess)
}

/// Rows of `dim` values, by index.
fn rows(values: &[f32], indices: &[usize], dim: usize) -> Vec<f32> {
    let rows = indices.iter().map(|&i| &values[i * dim..(i + 1) * dim]);
    rows.flatten().copied().collect()
}

/// Advances the chains and adapts the step size to the acceptance, 2 % up or down.
async fn advance(chains: &mut Run, transitions: usize) -> Result<f64> {
    if transitions == 0 {
        return Ok(f64::NAN);
    }
    let draws = chains.advance(transitions).await?;
    let values = draws.iter().flat_map(|d| &d.accept).map(|&a| f64::from(a));
    let count = draws.iter().map(|d| d.accept.len()).sum::<usize>() as f64;
    let acceptance = values.sum::<f64>() / count;
    chains.scale_steps(if acceptance > ACCEPT {
        1.02
    } else {
        1.0 / 1.02
    });
    Ok(acceptance)
}

#[cfg(test)]
mod tests {
    use super::{super::config::Rule, *};
    use crate::{nn::tilt::TiltConfig, test_support::values};

    #[test]
    fn bounded_ratio_stays_within_its_bound() {
        let device = Device::flex();
        let config = |bound| TiltConfig::Mlp {
            hidden: 16,
            layers: 2,
            bound,
        };
        let net = |bound| Tilt::new(&config(bound), vector(2), &mut Init::new(3, &device));
        let z = Rng::new(1).normal_tensor(Purpose::Data, 0, 64, 2, &device) * 1e4;
        let host = |net: Tilt| {
            net.forward(z.clone())
                .into_data()
                .iter::<f64>()
                .collect::<Vec<_>>()
        };
        let (free, bound) = (host(net(0.0)), host(net(2.0)));
        assert!(free.iter().any(|u| u.abs() > 20.0));
        for (u, b) in free.iter().zip(&bound) {
            assert!((b - 2.0 * (u / 2.0).tanh()).abs() < 1e-5 && b.abs() <= 2.0);
        }
    }

    fn small() -> RatioConfig {
        RatioConfig {
            arm: Arm::Adaptive,
            hidden: 16,
            layers: 1,
            learning_rate: 1e-3,
            ema_decay: 0.9,
            chains: 4000,
            transitions: 1,
            step_size: 0.3,
            burn_in: 0,
            anneal: false,
            bound: 0.0,
            resample: false,
            inherit: false,
            bridges: 1,
            rule: Rule {
                check_every: 10,
                tolerance: 0.01,
                patience: 2,
                longest: 100,
                chance: 0.69,
                stages: 3,
            },
        }
    }

    #[test]
    fn stage_inherits_the_features_of_the_previous_one() {
        let device = Device::flex();
        for inherit in [false, true] {
            let config = RatioConfig { inherit, ..small() };
            let mut training = RatioTraining::new(&config, 2, 1, &device).unwrap();
            let before = values(&training.bank);
            pollster::block_on(training.end("longest")).unwrap();
            let after = values(&training.bank);
            let same: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a == b).collect();
            // Weights and biases of the hidden layer, then of the last layer, whose bias starts at 0.
            assert_eq!(same, [inherit, inherit, false, true]);
        }
    }

    #[test]
    fn resampled_chains_follow_the_weighted_distribution() {
        let device = Device::flex();
        let config = RatioConfig {
            resample: true,
            ..small()
        };
        let mut training = RatioTraining::new(&config, 2, 1, &device).unwrap();
        // A new ratio is nearly 0: sum 60 copies, so that the weights differ.
        let ratio = training.bank.valid().nets.remove(0);
        let ratios = vec![ratio; 60];
        let host = |z: Tensor<2>| z.into_data().iter::<f64>().collect::<Vec<_>>();
        let before = host(training.chains[0].states());
        let tilt = crate::system::latent_prior::tilt_of(&ratios, &training.chains[0].states());
        let weights: Vec<f64> = tilt.into_data().iter::<f64>().map(|u| (-u).exp()).collect();
        let total: f64 = weights.iter().sum();
        let ess =
            pollster::block_on(resample_chains(&mut training.chains[0], &ratios, 0.5)).unwrap();
        assert!(ess > 500.0 && ess < 3900.0, "{ess}");
        let after = host(training.chains[0].states());
        let mut moved = 0.0f64;
        for axis in 0..2 {
            let of = |power: i32| {
                let weighted: f64 = before
                    .iter()
                    .skip(axis)
                    .step_by(2)
                    .zip(&weights)
                    .map(|(z, w)| z.powi(power) * w)
                    .sum();
                let drawn: f64 = after
                    .iter()
                    .skip(axis)
                    .step_by(2)
                    .map(|z| z.powi(power))
                    .sum();
                let plain: f64 = before
                    .iter()
                    .skip(axis)
                    .step_by(2)
                    .map(|z| z.powi(power))
                    .sum();
                (weighted / total, drawn / 4000.0, plain / 4000.0)
            };
            for power in [1, 2] {
                let (weighted, drawn, plain) = of(power);
                assert!((weighted - drawn).abs() < 0.03, "{weighted} {drawn}");
                moved = moved.max((weighted - plain).abs());
            }
        }
        assert!(
            moved > 0.1,
            "the weights change none of the moments: {moved}"
        );
    }

    /// Only the adaptive arm has stages, and a finished prior stays as it is.
    #[test]
    fn finishing_ends_only_an_unfinished_stage() {
        let device = Device::flex();
        for arm in [Arm::Nce, Arm::Adaptive] {
            let config = RatioConfig { arm, ..small() };
            let mut training = RatioTraining::new(&config, 2, 1, &device).unwrap();
            pollster::block_on(training.finish()).unwrap();
            assert!(training.book.finished);
            let ended = training.book.stages.iter().filter(|s| !s.ended.is_empty());
            assert_eq!(ended.count(), usize::from(arm == Arm::Adaptive));
            training.book.best = Some(0.1);
            let before = training.book.clone();
            pollster::block_on(training.finish()).unwrap();
            assert_eq!(training.book, before);
        }
    }
}
