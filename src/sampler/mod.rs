//! Samplers: one transition for a batch of chains.
//!
//! A sampler knows no target beyond the [`Energy`] trait, no backend, no command line and no page.
//! To add one: write its file with a `REGISTRATION`, and add a line to [`REGISTRY`].

mod adapt;
mod gibbs;
mod hmc;
mod mala;
mod mass;
mod nuts;
mod run;
mod rwm;
mod sgld;
mod tempering;
mod trace;
mod ula;
mod underdamped;

pub use adapt::DualAveraging;
pub use run::{Draw, Run, SavedRun, walk};
pub use trace::{Counters, Trace};

use burn::tensor::{Bool, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{
    energy::{Energy, Point},
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// Every sampler there is, in the order in which they are offered.
pub const REGISTRY: &[Registration] = &[
    rwm::REGISTRATION,
    ula::REGISTRATION,
    sgld::REGISTRATION,
    mala::REGISTRATION,
    hmc::REGISTRATION,
    nuts::REGISTRATION,
    underdamped::REGISTRATION,
    tempering::REGISTRATION,
    gibbs::REGISTRATION,
];

/// What the rest of the crate knows of a sampler.
pub struct Registration {
    /// Name in configs, URLs and the command line.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// What it does, in one sentence for people.
    pub description: &'static str,
    /// Whether it accepts and rejects (or, as NUTS, draws states by weight), so that its law is
    /// exact; without, the acceptance that is reported is the one it *would* have had.
    pub tested: bool,
    /// The acceptance that warm-up aims at unless told; `None`: no adaptation.
    pub target_accept: Option<f64>,
    /// The settings of [`SamplerConfig`] that it listens to.
    pub settings: &'static [&'static str],
    /// Makes the sampler, or says what is wrong with the config.
    pub build: fn(&SamplerConfig) -> Box<dyn Sampler>,
}

/// Settings of a sampler: the same struct for the command line, TOML, the page and model cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// Sampler; `mixwell samplers` describes each.
    #[cfg_attr(feature = "native", arg(long, default_value = "mala",
        value_parser = clap::builder::PossibleValuesParser::new(REGISTRY.iter().map(|r| r.name))))]
    pub sampler: String,
    /// Step size ε: Langevin drifts by a = ε²/2 and adds noise σ = ε√T; HMC leaps by ε. Left out:
    /// the recommendation of the model or target for this sampler and space.
    #[cfg_attr(feature = "native", arg(long))]
    pub step_size: Option<f64>,
    /// Temperature T of the target p ∝ exp(−E/T).
    #[cfg_attr(feature = "native", arg(long, default_value_t = 1.0))]
    pub temperature: f64,
    /// HMC: leapfrog steps of a transition.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 5))]
    pub leapfrog_steps: usize,
    /// NUTS: doublings of a trajectory at most, so at most 2^depth − 1 leapfrog steps. On a GPU all
    /// chains pay for the largest tree.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 7))]
    pub max_tree_depth: usize,
    /// SGLD: standard deviation σ of the noise, set apart from the drift; left out, ε/100. What is
    /// sampled then has T = σ²/(2a).
    #[cfg_attr(feature = "native", arg(long))]
    pub noise: Option<f64>,
    /// SGLD: bound of each component of ∇E.
    #[cfg_attr(feature = "native", arg(long))]
    pub clip: Option<f64>,
    /// SGLD: keep states within [0, 1], the range of images.
    #[cfg_attr(feature = "native", arg(long))]
    pub clamp: bool,
    /// Underdamped Langevin: friction γ; momenta forget by exp(−γε) a transition.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 1.0))]
    pub friction: f64,
    /// Parallel tempering: number of temperatures.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 4))]
    pub rungs: usize,
    /// Parallel tempering: the hottest temperature, as a multiple of T.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 10.0))]
    pub hottest: f64,
    /// Learn a diagonal mass (for Langevin: a preconditioner) from the draws of a warm-up of 50
    /// transitions or more. The step size is then in units of each coordinate's own scale.
    #[cfg_attr(feature = "native", arg(long))]
    pub adapt_mass: bool,
    /// Warm-up transitions: they adapt the step size, and no statistic counts them.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 100))]
    pub warmup: usize,
    /// Keep the step size as given during warm-up.
    #[cfg_attr(feature = "native", arg(long))]
    pub no_adapt: bool,
    /// Acceptance that warm-up adapts to (default: each sampler's own, 0.574 for MALA).
    #[cfg_attr(feature = "native", arg(long))]
    pub target_accept: Option<f64>,
    /// Groups of chains; each adapts a step size of its own.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 1))]
    pub groups: usize,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            sampler: "mala".into(),
            step_size: None,
            temperature: 1.0,
            leapfrog_steps: 5,
            max_tree_depth: 7,
            noise: None,
            clip: None,
            clamp: false,
            friction: 1.0,
            rungs: 4,
            hottest: 10.0,
            adapt_mass: false,
            warmup: 100,
            no_adapt: false,
            target_accept: None,
            groups: 1,
        }
    }
}

impl SamplerConfig {
    /// This sampler's registration.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no sampler has.
    pub fn registration(&self) -> Result<&'static Registration> {
        REGISTRY
            .iter()
            .find(|r| r.name == self.sampler)
            .ok_or_else(|| {
                let names: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
                Error::invalid(
                    "sampler",
                    names.join(", "),
                    &self.sampler,
                    "choose one of these",
                )
            })
    }

    /// Checks every number and builds the sampler.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting that is out of its domain.
    pub fn build(&self) -> Result<Box<dyn Sampler>> {
        let registration = self.registration()?;
        let within = |what: &str, v: f64, low: f64, high: f64| {
            // Open at 0 and closed elsewhere: what may not be 0 is said so.
            if v.is_finite() && v <= high && if low == 0.0 { v > 0.0 } else { v >= low } {
                Ok(())
            } else {
                let open = if low == 0.0 { '(' } else { '[' };
                Err(Error::invalid(
                    what,
                    format!("a number in {open}{low}, {high}]"),
                    v,
                    "give a value in that range",
                ))
            }
        };
        if let Some(step) = self.step_size {
            within("step size", step, 0.0, 100.0)?;
        }
        within("temperature", self.temperature, 0.0, 1000.0)?;
        if let Some(accept) = self.target_accept {
            within("target acceptance", accept, 0.0, 0.999)?;
        }
        if let Some(noise) = self.noise {
            within("noise", noise, 0.0, 100.0)?;
        }
        if let Some(clip) = self.clip {
            within("clip", clip, 0.0, 1e9)?;
        }
        within("friction", self.friction, 0.0, 1000.0)?;
        within("hottest temperature", self.hottest, 1.0, 1e6)?;
        for (what, value, low, high) in [
            ("leapfrog steps", self.leapfrog_steps, 1, 1000),
            ("largest tree depth", self.max_tree_depth, 1, 10),
            ("rungs", self.rungs, 2, 16),
            ("warm-up", self.warmup, 0, 1_000_000),
            ("groups", self.groups, 1, 1024),
        ] {
            Error::unless_within(what, value, low, high)?;
        }
        Ok((registration.build)(self))
    }
}

/// Step sizes, temperatures and mass in force for one transition. B counts rows of the state: the
/// chains, times the temperatures of parallel tempering.
#[derive(Clone)]
pub struct Tuning {
    /// ε of every row, `[B, 1]`.
    pub step: Tensor<2>,
    /// T of every row, `[B, 1]`.
    pub temperature: Tensor<2>,
    /// Length scale s of every coordinate, `[1, D]`; `None` is 1 everywhere. Samplers walk in x/s:
    /// the same as a diagonal mass M = s⁻², or a preconditioner s² of Langevin's drift.
    pub scale: Option<Tensor<2>>,
}

impl Tuning {
    /// s·v: from the sampler's coordinates to x, and from ∇E to the sampler's gradient.
    fn scaled(&self, v: Tensor<2>) -> Tensor<2> {
        match &self.scale {
            Some(scale) => v * scale.clone(),
            None => v,
        }
    }

    /// √T of every row, `[B, 1]`.
    fn root_temperature(&self) -> Tensor<2> {
        self.temperature.clone().sqrt()
    }

    /// T of every row, `[B]`.
    fn temperatures(&self) -> Tensor<1> {
        let [rows, _] = self.temperature.dims();
        self.temperature.clone().reshape([rows])
    }
}

/// The random numbers of one transition. Each row of the state has a stream of its own.
pub struct Noise<'a> {
    /// The run's source.
    pub rng: &'a Rng,
    /// Transition number since the start of the run.
    pub step: u32,
    /// Where tensors are to live.
    pub device: &'a Device,
    /// Number of the first chain: one chain of many can be made again alone.
    pub first_chain: u32,
    /// Rows come in so many blocks, one for each temperature; see [`Sampler::rows_per_chain`].
    pub blocks: usize,
}

/// Streams of one temperature are so far from those of the next.
const BLOCK_STRIDE: u32 = 1 << 24;

impl Noise<'_> {
    /// Host numbers of every block, one after another.
    fn rows(&self, rows: usize, dim: usize, make: impl Fn(u32, usize) -> Vec<f32>) -> Tensor<2> {
        let chains = rows / self.blocks;
        let values: Vec<f32> = (0..self.blocks as u32)
            .flat_map(|block| make(self.first_chain + block * BLOCK_STRIDE, chains))
            .collect();
        Tensor::from_data(TensorData::new(values, [rows, dim]), self.device)
    }

    #[cfg(feature = "kernels")]
    fn draw(&self, purpose: Purpose, rows: usize) -> crate::rng::kernel::Draw<'_> {
        crate::rng::kernel::Draw {
            first: self.first_chain,
            block: rows / self.blocks,
            stride: BLOCK_STRIDE,
            ..crate::rng::kernel::Draw::new(self.rng, purpose, self.step)
        }
    }

    /// Standard normals `[rows, dim]`: made on the device where it has a kernel, else on the host.
    pub fn normals(&self, purpose: Purpose, rows: usize, dim: usize) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(made) =
            crate::rng::kernel::normals(self.draw(purpose, rows), [rows, dim], self.device)
        {
            return made;
        }
        self.rows(rows, dim, |first, n| {
            self.rng.normals_from(purpose, self.step, first, n, dim)
        })
    }

    /// Uniforms in (0, 1), `[rows, dim]`, likewise.
    pub fn uniforms(&self, purpose: Purpose, rows: usize, dim: usize) -> Tensor<2> {
        #[cfg(feature = "kernels")]
        if let Some(made) =
            crate::rng::kernel::uniforms(self.draw(purpose, rows), [rows, dim], self.device)
        {
            return made;
        }
        self.rows(rows, dim, |first, n| {
            self.rng.uniforms_from(purpose, self.step, first, n, dim)
        })
    }

    /// x − a·s²·∇E + σ·s·ξ and ξ: one fused kernel where the device has it.
    fn langevin(
        &self,
        x: Tensor<2>,
        gradient: Tensor<2>,
        (drift, sigma): (Tensor<2>, Tensor<2>),
        tuning: &Tuning,
    ) -> (Tensor<2>, Tensor<2>) {
        let [rows, dim] = x.dims();
        #[cfg(feature = "kernels")]
        {
            let step = crate::rng::kernel::LangevinStep {
                x: x.clone(),
                gradient: gradient.clone(),
                drift: drift.clone(),
                sigma: sigma.clone(),
                scale: tuning.scale.clone(),
            };
            let draw = self.draw(Purpose::Proposal, rows);
            if let Some(done) = crate::rng::kernel::langevin(draw, step) {
                return done;
            }
        }
        let xi = self.normals(Purpose::Proposal, rows, dim);
        let step = xi.clone() * sigma - tuning.scaled(gradient) * drift;
        (x + tuning.scaled(step), xi)
    }

    /// The uniforms of this transition's Metropolis test, `[rows]`.
    fn accept(&self, rows: usize) -> Tensor<1> {
        self.uniforms(Purpose::Accept, rows, 1).reshape([rows])
    }
}

/// What a transition leaves. B counts rows, see [`Tuning`].
pub struct Transition {
    /// The new states.
    pub point: Point,
    /// What the sampler wants back at its next transition, `[B, D]`: momenta that persist.
    pub memory: Option<Tensor<2>>,
    /// Metropolis acceptance probability of every row, `[B]`: of the test, or of the test that was
    /// not made (shadow Metropolis; see [`Registration::tested`]).
    pub accept: Option<Tensor<1>>,
    /// Hamiltonian at the accepted end of the trajectory, `[B]`, for E-BFMI; HMC and NUTS.
    pub hamiltonian: Option<Tensor<1>>,
    /// Energy-gradient evaluations that each row needed, `[B]`; `None`: the sampler's constant.
    pub gradients: Option<Tensor<1>>,
    /// 1 where the trajectory diverged: its energy error passed [`DIVERGENCE`] or is no number.
    pub divergent: Option<Tensor<1>>,
    /// Share of the gradient's components that a clip cut, `[B]`.
    pub clipped: Option<Tensor<1>>,
    /// 1 where a trajectory was ended by its largest allowed length.
    pub saturated: Option<Tensor<1>>,
}

impl From<Point> for Transition {
    fn from(point: Point) -> Self {
        Self {
            point,
            memory: None,
            accept: None,
            hamiltonian: None,
            gradients: None,
            divergent: None,
            clipped: None,
            saturated: None,
        }
    }
}

/// Energy error in units of T above which a trajectory counts as divergent (Stan's and PyMC's).
pub const DIVERGENCE: f64 = 1000.0;

/// One transition for a batch of chains. Runs on the device from start to end: no read-back.
pub trait Sampler: Send + Sync {
    /// Energy-gradient evaluations that a transition costs each chain, at most. A sampler without
    /// gradients counts its energy evaluations, which cost less: the clock never flatters.
    fn gradients_per_transition(&self) -> usize;

    /// Rows of the state for each chain. Of more than one, the rows of all chains at the first
    /// temperature come first and are the ones that are recorded.
    fn rows_per_chain(&self) -> usize {
        1
    }

    /// Temperatures of these rows as multiples of T.
    fn ladder(&self) -> Vec<f64> {
        vec![1.0]
    }

    /// Says whether it can walk on a target at all.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the target lacks something.
    fn check(&self, target: &dyn Energy) -> Result<()> {
        let _ = target;
        Ok(())
    }

    /// Moves every chain once. `memory` is what the last transition left; `None` at the start.
    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition;
}

/// Metropolis: `exp(min(0, log α))` and whether each row's uniform `u` (`[B]`) falls below it. A
/// log ratio that is not a number counts as −∞: a proposal without an energy is never accepted.
fn metropolis(log_alpha: Tensor<1>, u: Tensor<1>) -> (Tensor<1>, Tensor<1, Bool>) {
    let log_alpha = capped(log_alpha);
    let accepted = u.log().lower(log_alpha.clone());
    (log_alpha.exp(), accepted)
}

/// min(0, log α), with −∞ for what is not a number.
fn capped(log_alpha: Tensor<1>) -> Tensor<1> {
    let broken = log_alpha.clone().is_nan();
    log_alpha.mask_fill(broken, -1e30).clamp(-1e30, 0.0)
}

/// ‖r‖²/2 of every row, `[B, D]` → `[B]`.
fn kinetic(r: Tensor<2>) -> Tensor<1> {
    let [rows, _] = r.dims();
    r.powi_scalar(2).sum_dim(1).reshape([rows]) * 0.5
}

/// 1 where a change of the Hamiltonian (`[B]`, in units of T) is a divergence.
fn diverged(change: Tensor<1>) -> Tensor<1> {
    let broken = change.clone().is_nan();
    change
        .mask_fill(broken, f64::INFINITY)
        .greater_elem(DIVERGENCE)
        .float()
}

/// One Langevin move and what its reverse would be worth: shared by ULA, SGLD and MALA.
struct Langevin {
    /// Where the move goes.
    proposal: Point,
    /// log of the Metropolis ratio of the move, `[B]`.
    log_alpha: Tensor<1>,
}

/// x′ = c(x − a·s²·f(∇E) + σ·s·ξ) for a drift a and noise σ (`[B, 1]`), with f a clip of the gradient and
/// c a clamp of the state, or both the identity. The ratio is the one for p ∝ exp(−E/T) with
/// T = σ²/(2a); it knows nothing of a clamp.
fn langevin(
    target: &dyn Energy,
    point: &Point,
    tuning: &Tuning,
    (drift, sigma): (Tensor<2>, Tensor<2>),
    noise: &Noise<'_>,
    clip: impl Fn(Tensor<2>) -> Tensor<2>,
    clamp: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Langevin {
    let [rows, _] = point.x.dims();
    let gradient = clip(point.gradient.clone());
    let pair = (drift.clone(), sigma.clone());
    let (x, xi) = noise.langevin(point.x.clone(), gradient.clone(), pair, tuning);
    let proposal = target.point(clamp(x));
    // In units of σ the way back is ξ′ = (a∇E(x) + a∇E(x′))/σ − ξ: written so, the small difference
    // of two large states is never taken.
    let forces = tuning.scaled(gradient + clip(proposal.gradient.clone()));
    let back = forces * (drift.clone() / sigma.clone()) - xi.clone();
    let log_ratio = (xi.powi_scalar(2) - back.powi_scalar(2))
        .sum_dim(1)
        .reshape([rows])
        * 0.5;
    let temperature = (sigma.powi_scalar(2) / (drift * 2.0)).reshape([rows]);
    Langevin {
        log_alpha: (point.energy.clone() - proposal.energy.clone()) / temperature + log_ratio,
        proposal,
    }
}

/// Drift a = ε²/2 and noise σ = ε√T of every row, `[B, 1]`.
fn drift_and_noise(tuning: &Tuning) -> (Tensor<2>, Tensor<2>) {
    (
        tuning.step.clone().powi_scalar(2) * 0.5,
        tuning.step.clone() * tuning.root_temperature(),
    )
}
