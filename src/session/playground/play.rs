//! A session of the Playground: the targets, and the chains.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::{
    chart::{self, Chart},
    info::{
        MarginalInfo, PlayConfig, PlayInfo, PlayPath, SURFACE, SamplerInfo, SideConfig, Start,
        TargetInfo, drawn_info, registered_info, surface,
    },
    learn::{LearnConfig, LearnFrame, Learned, Learning},
    settings,
    side::{Side, SideFrame},
};
use crate::{
    device::read,
    energy::{self, Density, Drawing, Energy, Grid},
    error::{Error, Result},
    rng::Rng,
    sampler,
};

/// Both sides at one moment.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PlayFrame {
    /// Sides in the order of the config.
    pub sides: Vec<SideFrame>,
    /// Elapsed time; set by the caller that has a clock.
    pub elapsed_ms: f64,
    /// Whether the buffers hold all draws, not only new ones.
    pub replayed: bool,
}

/// Largest number of values that one side stores for rewinding; the run then stops.
const MOST_VALUES: usize = 12_000_000;

/// The target of a session.
enum Scene {
    Density(Arc<dyn Density>),
    Learned(Learned),
}

/// A session of the Playground on a device.
pub struct Play {
    device: Device,
    clock: fn() -> f64,
    drawn: Option<Arc<dyn Density>>,
    learning: Option<Learning>,
    learned: Option<Learned>,
    current: Option<Current>,
}

struct Current {
    config: PlayConfig,
    scene: Scene,
    sides: Vec<Side>,
}

fn not_ready(what: &str) -> Error {
    Error::invalid(
        "the Playground",
        what,
        "a call before it",
        "configure it first",
    )
}

impl Play {
    /// A session; `clock` returns milliseconds, for the effective draws per second.
    pub fn new(device: Device, clock: fn() -> f64) -> Self {
        Self {
            device,
            clock,
            drawn: None,
            learning: None,
            learned: None,
            current: None,
        }
    }

    /// Every sampler.
    pub fn samplers() -> Vec<SamplerInfo> {
        sampler::REGISTRY
            .iter()
            .map(|r| SamplerInfo {
                name: r.name,
                title: r.title,
                description: r.description,
                tested: r.tested,
                target_accept: r.target_accept,
                settings: r.settings.iter().map(|s| s.name).collect(),
            })
            .collect()
    }

    /// Every target that is available now.
    pub fn targets(&self) -> Vec<TargetInfo> {
        let mut all: Vec<_> = energy::REGISTRY
            .iter()
            .map(|r| registered_info(r, &*(r.build)(&self.device)))
            .collect();
        all.extend(self.drawn.as_ref().map(|d| drawn_info(&**d)));
        all.extend(self.learned.as_ref().map(Learned::info));
        all
    }

    /// The default settings for a target.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown target, or one that is not drawn or learned yet.
    pub fn defaults(&self, target: &str) -> Result<PlayConfig> {
        self.scene(target)?;
        let side = |sampler: &str, space: &str| SideConfig {
            sampler: settings::sampler(sampler),
            space: space.into(),
        };
        let sides = if target == "learned" {
            vec![side("mala", "data"), side("mala", "latent")]
        } else {
            vec![side("mala", "data"), side("nuts", "data")]
        };
        Ok(PlayConfig {
            target: target.into(),
            seed: settings::SEED.default_count() as u64,
            chains: settings::CHAINS.default_count(),
            start: Start::Dispersed,
            superchains: settings::SUPERCHAINS.default_count(),
            sides,
        })
    }

    fn scene(&self, target: &str) -> Result<Scene> {
        let missing = |what: &str, fix: &str| Error::invalid("target", what, "nothing yet", fix);
        match target {
            "drawn" => self
                .drawn
                .clone()
                .map(Scene::Density)
                .ok_or_else(|| missing("a drawing", "draw a density first")),
            "learned" => self
                .learned
                .clone()
                .map(Scene::Learned)
                .ok_or_else(|| missing("a learned model", "learn one first")),
            name => Ok(Scene::Density((energy::find(name)?.build)(&self.device))),
        }
    }

    /// Sets the target "drawn": grey values of [`Drawing::SIDE`]² cells, from the bottom up.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty drawing or another size.
    pub fn draw(&mut self, ink: &[u8]) -> Result<TargetInfo> {
        let density = Arc::new(Drawing::density(ink, &self.device)?);
        let info = drawn_info(&*density);
        self.drawn = Some(density);
        Ok(info)
    }

    /// Checks and completes the settings, and starts the chains.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside its domain; the previous run is kept.
    pub async fn configure(&mut self, config: PlayConfig) -> Result<PlayInfo> {
        let scene = self.scene(&config.target)?;
        let (config, sides) = self.start(&scene, config).await?;
        let info = Self::info(&scene, &config);
        self.current = Some(Current {
            config,
            scene,
            sides,
        });
        Ok(info)
    }

    fn info(scene: &Scene, config: &PlayConfig) -> PlayInfo {
        let (target, grid, marginals) = match scene {
            Scene::Density(density) => (
                match energy::find(&config.target) {
                    Ok(registration) => registered_info(registration, &**density),
                    Err(_) => drawn_info(&**density),
                },
                Arc::new(Grid::over(density.bounds(), SURFACE, |x, y| {
                    density.log_plane(x, y)
                })),
                density.marginals(),
            ),
            Scene::Learned(learned) => (learned.info(), learned.grid(), learned.marginals()),
        };
        PlayInfo {
            surface: surface(&grid, target.bounds),
            marginals: marginals
                .into_iter()
                .map(|m| MarginalInfo {
                    name: m.name,
                    grid: m.grid.into(),
                    density: m.density.into(),
                    mean: m.mean,
                    sd: m.sd,
                })
                .collect(),
            traced: std::iter::once("energy".to_owned())
                .chain(target.coordinates.iter().cloned())
                .collect(),
            config: config.clone(),
            target,
        }
    }

    async fn start(
        &self,
        scene: &Scene,
        mut config: PlayConfig,
    ) -> Result<(PlayConfig, Vec<Side>)> {
        settings::CHAINS.check(config.chains)?;
        settings::SEED.check(config.seed)?;
        Error::unless_within("sides", config.sides.len(), 1, 2)?;
        if config.superchains == 0 || !config.chains.is_multiple_of(config.superchains) {
            return Err(Error::invalid(
                "superchains",
                format!("a divisor of the {} chains", config.chains),
                config.superchains,
                "choose groups of equal size",
            ));
        }
        let rng = Rng::new(config.seed);
        let plane = plane_starts(scene, &config, &rng);
        let superchains = config.groups_that_share_a_start();
        let mut sides = Vec::new();
        for side in &mut config.sides {
            // The score target is the density in the traced coordinates.
            let (target, score_target, x) = match scene {
                Scene::Density(density) => {
                    if side.space != "data" {
                        return Err(Error::invalid(
                            "space",
                            "data, for a target without a flow",
                            &side.space,
                            "learn a model to sample in its latent space",
                        ));
                    }
                    side.sampler.step_size = side.sampler.step_size.or_else(|| {
                        let steps = energy::REGISTRY
                            .iter()
                            .find(|r| r.name == config.target)
                            .map_or(Drawing::STEPS, |r| r.steps);
                        energy::step_size(steps, &side.sampler.sampler)
                    });
                    let target: Arc<dyn Energy> = density.clone();
                    let x = match config.start {
                        Start::Mode => {
                            let mode = density.mode();
                            (0..config.chains)
                                .flat_map(|_| mode.iter().map(|&v| v as f32))
                                .collect()
                        }
                        Start::Dispersed | Start::Superchains => density.lift(&plane),
                    };
                    let shape = [config.chains, target.space().dim];
                    let x = Tensor::from_data(TensorData::new(x, shape), &self.device);
                    (target.clone(), target, x)
                }
                Scene::Learned(learned) => {
                    let (target, steps) = learned.target(&side.space)?;
                    side.sampler.step_size = side
                        .sampler
                        .step_size
                        .or_else(|| energy::step_size(steps, &side.sampler.sampler));
                    let (score_target, _) = learned.target("data")?;
                    (
                        target,
                        score_target,
                        learned.starts(&side.space, &plane, &self.device)?,
                    )
                }
            };
            side.sampler.groups = 1;
            sides.push(
                Side::new(
                    target,
                    score_target,
                    &side.sampler,
                    rng,
                    x,
                    superchains,
                    self.clock,
                )
                .await?,
            );
        }
        Ok((config, sides))
    }

    fn current(&mut self) -> Result<&mut Current> {
        self.current
            .as_mut()
            .ok_or_else(|| not_ready("a configuration"))
    }

    /// Runs every side, by at least one transition, until its clock is at least `gradients` beyond the
    /// most advanced side's; 0 only returns the state.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read; [`Error::Invalid`] when the run is too long to
    /// be stored.
    pub async fn advance(&mut self, gradients: f64, statistics: bool) -> Result<PlayFrame> {
        let current = self.current()?;
        if !(0.0..=1e6).contains(&gradients) {
            return Err(Error::invalid(
                "gradients",
                "a number from 0 to 1,000,000",
                gradients,
                "run in several parts",
            ));
        }
        if gradients > 0.0 {
            let farthest = current
                .sides
                .iter()
                .map(Side::gradients)
                .fold(0.0, f64::max);
            for side in &mut current.sides {
                side.advance_to(farthest + gradients, MOST_VALUES).await?;
            }
        }
        current.frame(statistics, false).await
    }

    /// Rewinds each side to its last transition at or before a clock.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub async fn seek(&mut self, clock: f64, statistics: bool) -> Result<PlayFrame> {
        let current = self.current()?;
        for side in &mut current.sides {
            side.seek(clock).await?;
        }
        current.frame(statistics, true).await
    }

    /// Replays the last transition of a chain, with every evaluated point.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown side or chain, or before the first transition;
    /// [`Error::Device`] when the device cannot be read.
    pub async fn path(&mut self, side: usize, chain: usize) -> Result<PlayPath> {
        let current = self.current()?;
        let latent = current
            .config
            .sides
            .get(side)
            .is_some_and(|s| s.space == "latent");
        let run = current.side(side)?.run();
        let Some(path) = run.path(chain).await? else {
            return Err(not_ready("at least one transition"));
        };
        let flat = |x: Tensor<2>| match (&current.scene, latent) {
            (Scene::Learned(learned), true) => learned.decode(x),
            _ => x,
        };
        let plane = |values: Vec<f32>, dim: usize| -> Vec<f32> {
            values
                .chunks(dim)
                .flat_map(|row| [row[0], row[1]])
                .collect()
        };
        let states = flat(path.states.clone());
        let dim = states.dims()[1];
        let points = plane(read(states).await?, dim);
        let last = path.outcome.point.x.clone().narrow(0, 0, 1);
        // A rejected chain keeps its exact bits. Compare in its own space, since decoding may round.
        let before: Vec<f32> = read(path.states.clone().narrow(0, 0, 1)).await?;
        let after: Vec<f32> = read(last.clone()).await?;
        let moved = before
            .iter()
            .zip(&after)
            .any(|(a, b)| a.to_bits() != b.to_bits());
        let end = plane(read(flat(last)).await?, dim);
        let acceptance = match path.outcome.accept {
            Some(accept) => read::<1, f64>(accept).await?.first().copied(),
            None => None,
        };
        Ok(PlayPath {
            energies: read::<1, f32>(path.energies).await?.into(),
            points: points.into(),
            end: [f64::from(end[0]), f64::from(end[1])],
            moved,
            acceptance: acceptance.filter(|a| a.is_finite()),
            transition: path.transition,
        })
    }

    /// Data of a chart of one side's quantity.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown side, kind or quantity.
    pub fn chart(&mut self, side: usize, kind: &str, quantity: &str) -> Result<Chart> {
        let current = self.current()?;
        let superchains = current.config.groups_that_share_a_start();
        let trace = current.side(side)?.trace();
        let index = trace
            .names()
            .iter()
            .position(|n| n == quantity)
            .ok_or_else(|| {
                Error::invalid(
                    "quantity",
                    trace.names().join(", "),
                    quantity,
                    "choose one of these",
                )
            })?;
        chart::of(&trace.widened(index), superchains, kind)
    }

    /// Starts training a flow and its tilt on a target.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting outside its domain.
    pub async fn learn(&mut self, config: LearnConfig) -> Result<LearnFrame> {
        let Scene::Density(density) = self.scene(&config.target)? else {
            return Err(Error::invalid(
                "target",
                "a known density",
                &config.target,
                "learn from one of the targets or from a drawing",
            ));
        };
        let learning = Learning::new(config, density, &self.device)?;
        let frame = learning.frame(Vec::new(), None);
        self.learning = Some(learning);
        Ok(frame)
    }

    /// Runs `iterations` more iterations; after the last one the target "learned" is available.
    ///
    /// # Errors
    /// [`Error::Diverged`] when learning fails; [`Error::Invalid`] before [`learn`](Self::learn).
    pub async fn learn_step(&mut self, iterations: u64) -> Result<LearnFrame> {
        let learning = self
            .learning
            .as_mut()
            .ok_or_else(|| not_ready("a learn call"))?;
        let frame = learning.advance(iterations).await?;
        if let Some(learned) = learning.learned() {
            self.learned = Some(learned);
        }
        Ok(frame)
    }
}

impl Current {
    fn side(&self, side: usize) -> Result<&Side> {
        self.sides.get(side).ok_or_else(|| {
            Error::invalid(
                "side",
                format!("0 to {}", self.sides.len() - 1),
                side,
                "choose one of the sides",
            )
        })
    }

    async fn frame(&mut self, statistics: bool, replayed: bool) -> Result<PlayFrame> {
        let exact = match &self.scene {
            Scene::Density(density) if density.space().dim == 2 => Some(&**density),
            _ => None,
        };
        let mut sides = Vec::new();
        for side in &mut self.sides {
            sides.push(side.frame(statistics, replayed, exact).await?);
        }
        Ok(PlayFrame {
            sides,
            elapsed_ms: 0.0,
            replayed,
        })
    }
}

/// The start points in the plane.
fn plane_starts(scene: &Scene, config: &PlayConfig, rng: &Rng) -> Vec<[f32; 2]> {
    let (bounds, mode) = match scene {
        Scene::Density(density) => {
            let mode = density.mode();
            (density.start_bounds(), [mode[0], mode[1]])
        }
        Scene::Learned(learned) => (learned.start_bounds(), learned.mode()),
    };
    let group = config.chains / config.superchains;
    let spread = energy::spread(bounds, rng, config.chains, 1.0);
    (0..config.chains)
        .map(|chain| match config.start {
            Start::Mode => mode.map(|v| v as f32),
            Start::Dispersed => spread[chain],
            Start::Superchains => spread[chain / group],
        })
        .collect()
}
