//! Training of a small flow and its tilt on a density of the plane, a few iterations at a time.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{
    super::arrays::Floats,
    info::{SURFACE, Surface, TargetInfo, surface},
    settings,
};
use crate::{
    device::read,
    energy::{Density, Energy, Evaluation, Grid, Marginal, Space, Steps},
    error::{Error, Result},
    nn::{
        flow::{Flow, FlowConfig, LevelConfig},
        tilt::TiltConfig,
    },
    rng::Rng,
    system::{
        Projection,
        flow_ebm::{FlowEbm, FlowStage, FlowTraining, TiltStage, TiltTraining},
    },
};

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct LearnConfig {
    /// A registered density, or "drawn".
    pub target: String,
    /// Seed of data, weights and chains.
    pub seed: u64,
    /// Iterations of the flow.
    pub flow_iterations: u64,
    /// Iterations of the tilt.
    pub tilt_iterations: u64,
    /// Coupling steps of the flow.
    pub steps: usize,
    /// Hidden width of its couplings.
    pub hidden: usize,
}

impl Default for LearnConfig {
    fn default() -> Self {
        Self {
            target: "eight-modes".into(),
            seed: 1,
            flow_iterations: settings::FLOW_ITERATIONS.default_count() as u64,
            tilt_iterations: settings::TILT_ITERATIONS.default_count() as u64,
            steps: settings::STEPS.default_count(),
            hidden: settings::HIDDEN.default_count(),
        }
    }
}

impl LearnConfig {
    fn check(&self) -> Result<()> {
        settings::FLOW_ITERATIONS.check(self.flow_iterations)?;
        settings::TILT_ITERATIONS.check(self.tilt_iterations)?;
        settings::STEPS.check(self.steps)?;
        settings::HIDDEN.check(self.hidden)?;
        Ok(())
    }
}

/// State of the training.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct LearnFrame {
    /// "flow", "tilt" or "done".
    #[cfg_attr(feature = "native", ts(type = "\"flow\" | \"tilt\" | \"done\""))]
    pub stage: &'static str,
    /// Iteration within the stage.
    pub iteration: u64,
    /// Total iterations of the stage.
    pub of: u64,
    /// Losses since the last frame.
    pub losses: Floats,
    /// KL(data ‖ flow) on the grid, in nats.
    pub kl_flow: Option<f64>,
    /// KL(data ‖ model) on the grid, in nats.
    pub kl_model: Option<f64>,
    /// The learned density, if the KL was recomputed.
    pub surface: Option<Surface>,
    /// Elapsed time; set by the caller that has a clock.
    pub elapsed_ms: f64,
}

/// Batch size.
const BATCH: usize = 256;
/// Iterations between two evaluations of the KL.
const LOOK_EVERY: u64 = 100;

enum Stage {
    Flow(Box<FlowTraining>),
    Tilt(Box<TiltTraining>, Flow),
    Done(Learned),
}

/// A training run in progress.
pub(super) struct Learning {
    config: LearnConfig,
    density: Arc<dyn Density>,
    device: Device,
    flow_stage: FlowStage,
    tilt_stage: TiltStage,
    truth: Grid,
    frame: Frame,
    stage: Option<Stage>,
    kl_flow: Option<f64>,
    kl_model: Option<f64>,
}

/// The affine map from the plane's coordinates to the flow's, in which the data have about unit
/// variance: u = (x − m)/s.
#[derive(Debug, Clone)]
struct Frame {
    mean: [f64; 2],
    sd: [f64; 2],
}

impl Frame {
    /// log |det ∂x/∂u| = Σ log s.
    fn log_volume(&self) -> f64 {
        self.sd.iter().map(|s| s.ln()).sum()
    }

    fn row(values: [f64; 2], device: &Device) -> Tensor<2> {
        Tensor::from_data(
            TensorData::new(values.map(|v| v as f32).to_vec(), [1, 2]),
            device,
        )
    }

    fn to_model(&self, x: Tensor<2>) -> Tensor<2> {
        let device = x.device().inner();
        (x - Self::row(self.mean, &device)) / Self::row(self.sd, &device)
    }

    fn to_plane(&self, u: Tensor<2>) -> Tensor<2> {
        let device = u.device().inner();
        u * Self::row(self.sd, &device) + Self::row(self.mean, &device)
    }
}

impl Learning {
    pub(super) fn new(
        config: LearnConfig,
        density: Arc<dyn Density>,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        if density.space().dim != 2 {
            return Err(Error::invalid(
                "target",
                "a density of two dimensions",
                format!("{} dimensions", density.space().dim),
                "learn from another target",
            ));
        }
        let flow_stage = FlowStage {
            iterations: config.flow_iterations,
            learning_rate: 3e-3,
            warmup: 20,
            clip_norm: 1.0,
            architecture: FlowConfig {
                shape: [2, 1, 1],
                levels: vec![LevelConfig {
                    squeeze: 1,
                    steps: config.steps,
                    hidden: config.hidden,
                    kernel: 1,
                }],
                clamp: 2.0,
            },
        };
        let tilt_stage = TiltStage {
            iterations: config.tilt_iterations,
            learning_rate: 2e-3,
            warmup: 20,
            l2: 1e-4,
            clip_norm: 1.0,
            chains: BATCH,
            transitions: 3,
            step_size: 0.3,
            target_accept: 0.574,
            architecture: TiltConfig::Mlp {
                hidden: 64,
                layers: 3,
                bound: 0.0,
            },
        };
        let marginals = density.marginals();
        let frame = Frame {
            mean: [marginals[0].mean, marginals[1].mean],
            sd: [marginals[0].sd, marginals[1].sd],
        };
        let mut this = Self {
            truth: Grid::over(density.bounds(), SURFACE, |x, y| density.log_plane(x, y)),
            config,
            density,
            device: device.clone(),
            flow_stage,
            tilt_stage,
            frame,
            stage: None,
            kl_flow: None,
            kl_model: None,
        };
        let first = this.batch(0);
        let training = FlowTraining::new(&this.flow_stage, 0.99, this.config.seed, first)?;
        this.stage = Some(Stage::Flow(Box::new(training)));
        Ok(this)
    }

    /// The batch of an iteration, `[B, 2]`, in the flow's coordinates.
    fn batch(&self, iteration: u64) -> Tensor<2> {
        let rng = Rng::new(self.config.seed ^ 0x0DA7_A000);
        let x = self.density.draws(&rng, iteration as u32, BATCH).concat();
        let x = Tensor::from_data(TensorData::new(x, [BATCH, 2]), &self.device);
        self.frame.to_model(x)
    }

    pub(super) fn frame(&self, losses: Vec<f32>, surface: Option<Surface>) -> LearnFrame {
        let (stage, iteration, of) = match &self.stage {
            Some(Stage::Flow(t)) => ("flow", t.iteration, self.config.flow_iterations),
            Some(Stage::Tilt(t, _)) => ("tilt", t.iteration, self.config.tilt_iterations),
            _ => (
                "done",
                self.config.tilt_iterations,
                self.config.tilt_iterations,
            ),
        };
        LearnFrame {
            stage,
            iteration,
            of,
            losses: losses.into(),
            kl_flow: self.kl_flow,
            kl_model: self.kl_model,
            surface,
            elapsed_ms: 0.0,
        }
    }

    /// The finished model.
    pub(super) fn learned(&self) -> Option<Learned> {
        match &self.stage {
            Some(Stage::Done(learned)) => Some(learned.clone()),
            _ => None,
        }
    }

    pub(super) async fn advance(&mut self, iterations: u64) -> Result<LearnFrame> {
        let mut losses = Vec::new();
        let mut seen = None;
        for _ in 0..iterations {
            // Taken out during the step, so that a failure leaves no partial stage behind.
            match self.stage.take() {
                Some(Stage::Flow(mut t)) => {
                    let x = self.batch(t.iteration);
                    losses.push(t.step(&self.flow_stage, x).await?.loss as f32);
                    let last = t.iteration == self.config.flow_iterations;
                    let flow = if last || t.iteration % LOOK_EVERY == 0 {
                        let flow = t.frozen().await?;
                        let grid = self.log_density(&flow, None).await?;
                        self.kl_flow = Some(self.truth.kl(&grid));
                        seen = Some(surface(&grid, self.density.bounds()));
                        Some(flow)
                    } else {
                        None
                    };
                    self.stage = Some(match flow.filter(|_| last) {
                        Some(flow) => {
                            let plane = Projection::new(
                                Tensor::zeros([2], &self.device),
                                Tensor::eye(2, &self.device),
                            );
                            let tilt = TiltTraining::new(
                                &self.tilt_stage,
                                0.99,
                                self.config.seed,
                                flow.clone(),
                                plane,
                                &self.device,
                            )?;
                            Stage::Tilt(Box::new(tilt), flow)
                        }
                        None => Stage::Flow(t),
                    });
                    if last {
                        break;
                    }
                }
                Some(Stage::Tilt(mut t, flow)) => {
                    let x = self.batch(t.iteration + self.config.flow_iterations);
                    let step = t.step(&self.tilt_stage, x).await?;
                    losses.push((step.data - step.samples) as f32);
                    let last = t.iteration == self.config.tilt_iterations;
                    if last || t.iteration % LOOK_EVERY == 0 {
                        let grid = self.log_density(&flow, Some(&t.model())).await?;
                        self.kl_model = Some(self.truth.kl(&grid));
                        seen = Some(surface(&grid, self.density.bounds()));
                    }
                    if last {
                        let model = t.model();
                        let grid = self.log_density(&flow, Some(&model)).await?;
                        self.stage = Some(Stage::Done(Learned {
                            model: Arc::new(model),
                            frame: self.frame.clone(),
                            bounds: self.density.bounds(),
                            start_bounds: self.density.start_bounds(),
                            mode: {
                                let mode = self.density.mode();
                                [mode[0], mode[1]]
                            },
                            grid: Arc::new(grid),
                        }));
                        break;
                    }
                    self.stage = Some(Stage::Tilt(t, flow));
                }
                done => {
                    self.stage = done;
                    break;
                }
            }
        }
        if self.stage.is_none() {
            return Err(Error::invalid(
                "learning",
                "a training run in progress",
                "none",
                "start it again",
            ));
        }
        Ok(self.frame(losses, seen))
    }

    /// The learned log density on the target's grid: of the flow, or of the tilted model.
    async fn log_density(&self, flow: &Flow, model: Option<&FlowEbm>) -> Result<Grid> {
        let x = Grid::points(self.density.bounds(), SURFACE, &self.device);
        let u = self.frame.to_model(x);
        let (log_q, _) = flow.log_prob(u.clone());
        let log = match model {
            Some(model) => log_q - model.tilt.forward(u),
            None => log_q,
        };
        let log: Vec<f64> = read(log).await?;
        Ok(Grid::from_values(self.density.bounds(), SURFACE, log))
    }
}

/// A learned model of the plane.
#[derive(Clone)]
pub(super) struct Learned {
    model: Arc<FlowEbm>,
    frame: Frame,
    bounds: [f64; 4],
    start_bounds: [f64; 4],
    mode: [f64; 2],
    grid: Arc<Grid>,
}

/// Recommended step sizes in each space.
const DATA_STEPS: Steps = &[
    ("rwm", 0.3),
    ("ula", 0.06),
    ("sgld", 0.06),
    ("mala", 0.2),
    ("hmc", 0.1),
    ("nuts", 0.1),
    ("underdamped", 0.1),
    ("tempering", 0.2),
];
const LATENT_STEPS: Steps = &[
    ("rwm", 1.0),
    ("ula", 0.2),
    ("sgld", 0.2),
    ("mala", 0.5),
    ("hmc", 0.3),
    ("nuts", 0.3),
    ("underdamped", 0.3),
    ("tempering", 0.5),
];

impl Learned {
    pub(super) fn info(&self) -> TargetInfo {
        TargetInfo {
            name: "learned".into(),
            title: "The learned model".into(),
            description: "The flow and the tilt that you just trained: the same density in two coordinate systems.".into(),
            dim: 2,
            coordinates: vec!["x".into(), "y".into()],
            bounds: self.bounds,
            conditionals: false,
            steps: DATA_STEPS.iter().map(|(s, v)| ((*s).to_owned(), *v)).collect(),
            mode: self.mode,
        }
    }

    pub(super) fn start_bounds(&self) -> [f64; 4] {
        self.start_bounds
    }

    pub(super) fn mode(&self) -> [f64; 2] {
        self.mode
    }

    pub(super) fn grid(&self) -> Arc<Grid> {
        self.grid.clone()
    }

    pub(super) fn marginals(&self) -> Vec<Marginal> {
        vec![
            self.grid.marginal(0, "x".into()),
            self.grid.marginal(1, "y".into()),
        ]
    }

    /// The model in one space, with recommended step sizes.
    pub(super) fn target(&self, space: &str) -> Result<(Arc<dyn Energy>, Steps)> {
        let view = |latent| {
            Arc::new(View {
                learned: self.clone(),
                latent,
            })
        };
        match space {
            "data" => Ok((view(false), DATA_STEPS)),
            "latent" => Ok((view(true), LATENT_STEPS)),
            _ => Err(Error::invalid(
                "space",
                "data or latent",
                space,
                "choose one of these",
            )),
        }
    }

    /// Points of the plane as states of a space, `[B, 2]`.
    pub(super) fn starts(
        &self,
        space: &str,
        plane: &[[f32; 2]],
        device: &Device,
    ) -> Result<Tensor<2>> {
        let x = TensorData::new(plane.concat(), [plane.len(), 2]);
        let x = Tensor::from_data(x, device);
        Ok(if space == "latent" {
            let (z, _) = self.model.flow.forward(self.frame.to_model(x));
            // Points without training data may map far out; clamp them to where chains can start. They
            // remain over-dispersed.
            z.clamp(-4.0, 4.0)
        } else {
            x
        })
    }

    /// Latent states mapped to the plane.
    pub(super) fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        self.frame.to_plane(self.model.flow.inverse(z))
    }
}

/// A learned model in one of its spaces, traced in the plane.
struct View {
    learned: Learned,
    latent: bool,
}

impl Energy for View {
    fn space(&self) -> Space {
        Space {
            name: if self.latent { "latent" } else { "plane" },
            dim: 2,
            image: None,
        }
    }

    fn observables(&self) -> Vec<String> {
        vec!["x".into(), "y".into()]
    }

    fn evaluate(&self, state: Tensor<2>) -> Evaluation {
        let [batch, _] = state.dims();
        let FlowEbm { flow, tilt, .. } = &*self.learned.model;
        let frame = &self.learned.frame;
        if self.latent {
            let u = flow.inverse(state.clone());
            let prior = state.powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5;
            Evaluation {
                energy: tilt.forward(u.clone()) + prior,
                observed: Some(frame.to_plane(u)),
            }
        } else {
            let u = frame.to_model(state.clone());
            let (log_q, _) = flow.log_prob(u.clone());
            Evaluation {
                energy: tilt.forward(u) - log_q + frame.log_volume(),
                observed: Some(state),
            }
        }
    }
}
