//! The two phases as learners for the shared training loop, and the command-line entry.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::{Device, Tensor};

use super::{
    FlowEbm, FlowStage, FlowTraining, NAME, TiltStage, TiltTraining,
    export::{bits_per_dimension, export},
    recipe::Recipe,
};
use crate::{
    artifact,
    data::{Dataset, Split},
    error::{Error, Result},
    nn::{
        dict::{Dict, DictBuilder},
        flow::Flow,
    },
    rng::{Purpose, Rng},
    system::{pca::principal_components, projection::Projection},
    train::{
        Batches, Correction, Intent, Learner, Negatives, Recipe as _, Request, Session, Signs,
        Sink, open_run,
    },
};

/// Runs the flow stage in a plain loop, without a run folder: for small problems and tests.
///
/// # Errors
/// As [`FlowTraining`].
pub fn train_flow(
    stage: &FlowStage,
    seed: u64,
    mut batch: impl FnMut(u64) -> Tensor<2>,
) -> Result<Flow> {
    let mut training = FlowTraining::new(stage, 0.99, seed, batch(0))?;
    while training.iteration < stage.iterations {
        let x = batch(training.iteration);
        pollster::block_on(training.step(stage, x))?;
    }
    pollster::block_on(training.frozen())
}

/// Runs the tilt stage in a plain loop, without a run folder: for small problems and tests.
///
/// # Errors
/// As [`TiltTraining`].
pub fn train_tilt(
    stage: &TiltStage,
    seed: u64,
    flow: Flow,
    projection: Projection,
    mut batch: impl FnMut(u64) -> Tensor<2>,
) -> Result<FlowEbm> {
    let device = batch(0).device();
    let mut training = TiltTraining::new(stage, 0.99, seed, flow, projection, &device)?;
    while training.iteration < stage.iterations {
        let x = batch(training.iteration);
        pollster::block_on(training.step(stage, x))?;
    }
    Ok(training.model())
}

/// The flow's learner (stage 1) for the shared training loop.
struct FlowLearner {
    training: FlowTraining,
    stage: FlowStage,
    batches: Batches,
    test: Arc<Dataset>,
    recipe: Recipe,
    device: Device,
}

impl FlowLearner {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        data: &Arc<Dataset>,
        test: &Arc<Dataset>,
        devices: (&Device, &[Device]),
    ) -> Result<Self> {
        let (device, others) = devices;
        let mut stage = recipe.flow.clone();
        stage.learning_rate *= correction.learning_rate;
        let seed = correction.seed(recipe.seed);
        let mut batches = Batches::new(data, seed, recipe.batch, recipe.bits, device);
        let mut training =
            FlowTraining::new(&stage, recipe.ema_decay, recipe.seed, batches.get(0))?;
        training.watched = true;
        training.others = others.to_vec();
        Ok(Self {
            training,
            stage,
            batches,
            test: test.clone(),
            recipe: recipe.clone(),
            device: device.clone(),
        })
    }
}

impl Learner for FlowLearner {
    const SIGNS: Signs = Signs::GRADIENT;

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        let step = pollster::block_on(self.training.step(&self.stage, x))?;
        let bits = step.loss / std::f64::consts::LN_2 + f64::from(self.recipe.bits);
        let norm = step.gradient.map(|v| ("gradient_norm", v));
        Ok([("bits_per_dimension", bits)]
            .into_iter()
            .chain(norm)
            .collect())
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        if !self.training.iteration.is_multiple_of(500) {
            return Ok(());
        }
        let flow = pollster::block_on(self.training.frozen())?;
        let Recipe { bits, seed, .. } = self.recipe;
        let bpd = bits_per_dimension(&flow, &self.test, bits, 1000, seed, &self.device);
        session.metrics(BTreeMap::from([("test_bits_per_dimension".into(), bpd)]))?;
        snapshot(session, &flow, &self.recipe)
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let decay = self.recipe.ema_decay;
        let training = self.training.load(from, iteration, decay)?;
        Ok(Self { training, ..self })
    }
}

/// The tilt's learner (stage 2) for the shared training loop.
struct TiltLearner {
    training: TiltTraining,
    stage: TiltStage,
    batches: Batches,
    recipe: Recipe,
}

impl TiltLearner {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        flow: &Flow,
        projection: &Projection,
        data: &Arc<Dataset>,
        (device, others): (&Device, &[Device]),
    ) -> Result<Self> {
        let mut stage = recipe.tilt.clone();
        stage.learning_rate *= correction.learning_rate;
        let seed = correction.seed(recipe.seed);
        let (flow, projection) = (flow.clone(), projection.clone());
        let (decay, begin) = (recipe.ema_decay, recipe.seed);
        let mut training = TiltTraining::new(&stage, decay, begin, flow, projection, device)?
            .corrected(seed, correction.step_size)
            .share(others);
        training.watched = true;
        Ok(Self {
            training,
            stage,
            batches: Batches::new(data, seed, recipe.batch, recipe.bits, device),
            recipe: recipe.clone(),
        })
    }
}

impl Learner for TiltLearner {
    const SIGNS: Signs = Signs {
        energies: Some(["tilt_data", "tilt_samples"]),
        gradient: Some("gradient_norm"),
        saturated: None,
    };

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        let step = pollster::block_on(self.training.step(&self.stage, x))?;
        let norm = step.gradient.map(|v| ("gradient_norm", v));
        Ok([
            ("tilt_data", step.data),
            ("tilt_samples", step.samples),
            ("acceptance", step.acceptance),
            ("step_size", step.step_size),
        ]
        .into_iter()
        .chain(norm)
        .collect())
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        if !self.training.iteration.is_multiple_of(100) {
            return Ok(());
        }
        let x = self.training.chains.point().x.clone();
        let x = x.narrow(0, 0, 64.min(self.stage.chains));
        let x = self.training.flow.inverse(x);
        session.grid("tilt", x, self.recipe.flow.architecture.shape)
    }

    fn scale_steps(&mut self, factor: f64) {
        self.training.chains.scale_steps(factor);
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn negatives(&self) -> Result<Option<Negatives>> {
        let chains = &self.training.chains;
        let target = chains.target().clone();
        let seed = self.training.iteration;
        Ok(Some(Negatives::of_latent_chains(chains, target, seed)))
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let training = self.training.load(from, iteration, self.recipe.ema_decay)?;
        Ok(Self { training, ..self })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let name = format!("{NAME}-{}", request.data.slug());
    let (folder, recipe) = open_run::<Recipe>(request)?;
    let shape = recipe.flow.architecture.shape;
    let train_data = Arc::new(request.load(Split::Train, shape)?);
    let test_data = Arc::new(request.load(Split::Test, shape)?);
    let device = request.device.clone();
    let (mut session, resumed) = Session::begin(request, folder, &recipe, sink)?;
    let watch = recipe.watch();
    let frozen = session.folder.path().join("flow.safetensors");

    // Stage 1, unless a checkpoint is already past it.
    let (in_flow, in_tilt) = match resumed {
        Some((path, state)) if state.phase == "tilt" => (None, Some((path, state))),
        other => (other, None),
    };
    if in_tilt.is_none() {
        let devices = (&device, &request.others[..]);
        let make =
            &mut |c: &Correction| FlowLearner::new(&recipe, c, &train_data, &test_data, devices);
        let learner = session.drive("flow", recipe.flow.iterations, in_flow, &watch, make)?;
        let flow = pollster::block_on(learner.training.frozen())?;
        if request.intent == Intent::Export {
            return Err(Error::invalid(
                "run",
                "a checkpoint of the tilt",
                format!("the flow, at iteration {}", learner.training.iteration),
                "continue training: a flow alone is not a model of this system",
            ));
        }
        let mut dict = DictBuilder::default();
        flow.save(&mut dict);
        artifact::write_atomically(&frozen, &dict.finish()?)?;
    }
    // Use the stored, rounded flow, so that a resumed run tilts the same flow bit for bit.
    let bytes = std::fs::read(&frozen).map_err(Error::io("read", &frozen))?;
    let dict = Dict::open(&bytes, "checkpoint", &device)?;
    let flow = Flow::load(&dict, &recipe.flow.architecture)?;

    // Stage 2.
    let projection = principal_components(&train_data, recipe.bits, &device);
    let devices = (&device, &request.others[..]);
    let learner = session.drive("tilt", recipe.tilt.iterations, in_tilt, &watch, &mut |c| {
        TiltLearner::new(&recipe, c, &flow, &projection, &train_data, devices)
    })?;
    let training = learner.training;

    session.note("measuring and exporting")?;
    let (card, weights) = export(
        &name,
        &training,
        &recipe,
        &train_data,
        &test_data,
        &session,
        &device,
    )?;
    session.publish(&name, &card, &weights)
}

/// A grid of the flow's samples at the seed's first 64 latents.
fn snapshot(session: &mut Session<'_, '_, '_>, flow: &Flow, recipe: &Recipe) -> Result<()> {
    let device = &session.request.device;
    let z = Rng::new(recipe.seed).normal_tensor(Purpose::Start, 1, 64, flow.config().dim(), device);
    session.grid("flow", flow.inverse(z), recipe.flow.architecture.shape)
}

#[cfg(test)]
mod tests {
    use super::{
        super::recipe::{level, smoke},
        *,
    };
    use crate::nn::{flow::FlowConfig, tilt::TiltConfig};

    fn data(i: u64, device: &Device) -> Tensor<2> {
        Rng::new(3).normal_tensor(Purpose::Data, i as u32, 16, 16, device)
    }

    fn stages() -> (FlowStage, TiltStage) {
        let mut recipe = smoke();
        recipe.flow.iterations = 8;
        recipe.flow.architecture = FlowConfig {
            shape: [1, 4, 4],
            levels: vec![level(2, 2, 8, 3), level(2, 1, 8, 1)],
            clamp: 2.0,
        };
        recipe.tilt.architecture = TiltConfig::Conv { channels: 2 };
        (recipe.flow, recipe.tilt)
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mixwell-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A run that is saved halfway and loaded into new objects continues with the losses of the
    /// uninterrupted run, bit for bit.
    #[test]
    fn resumed_training_equals_uninterrupted_training() {
        let device = Device::flex();
        let (flow_stage, tilt_stage) = stages();
        let new = || FlowTraining::new(&flow_stage, 0.9, 1, data(0, &device)).unwrap();
        let run = |t: &mut FlowTraining, until: u64| -> Vec<f64> {
            let mut losses = Vec::new();
            while t.iteration < until {
                let x = data(t.iteration, &device);
                losses.push(pollster::block_on(t.step(&flow_stage, x)).unwrap().loss);
            }
            losses
        };
        let mut whole = new();
        let losses = run(&mut whole, 8);
        let mut half = new();
        run(&mut half, 4);
        let folder = scratch("resume");
        half.save(&folder).unwrap();
        let mut resumed = new().load(&folder, 4, 0.9).unwrap();
        assert_eq!(run(&mut resumed, 8), losses[4..]);
        let x = data(99, &device);
        let log_prob = |t: &FlowTraining| {
            pollster::block_on(t.frozen())
                .unwrap()
                .log_prob(x.clone())
                .0
                .into_data()
        };
        assert_eq!(log_prob(&resumed), log_prob(&whole), "the averages too");

        let flow = pollster::block_on(whole.frozen()).unwrap();
        let projection =
            || Projection::new(Tensor::zeros([16], &device), Tensor::ones([16, 1], &device));
        let new =
            || TiltTraining::new(&tilt_stage, 0.9, 1, flow.clone(), projection(), &device).unwrap();
        let run = |t: &mut TiltTraining, until: u64| -> Vec<f64> {
            let mut seen = Vec::new();
            while t.iteration < until {
                let x = data(t.iteration, &device);
                let step = pollster::block_on(t.step(&tilt_stage, x)).unwrap();
                seen.extend([step.data, step.samples, step.step_size]);
            }
            seen
        };
        let seen = run(&mut new(), 6);
        let mut half = new();
        run(&mut half, 2);
        half.save(&folder).unwrap();
        let mut resumed = new().load(&folder, 2, 0.9).unwrap();
        assert_eq!(run(&mut resumed, 6), seen[6..]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The chains' work on two and three CPU devices, and on a CPU with a GPU.
    #[test]
    fn tilt_training_on_several_devices_matches_one() {
        let device = Device::flex();
        let (flow_stage, mut tilt_stage) = stages();
        // A high rate, so that stale copies of the tilt would change the chains.
        (tilt_stage.learning_rate, tilt_stage.warmup) = (0.05, 0);
        let mut flow = FlowTraining::new(&flow_stage, 0.9, 1, data(0, &device)).unwrap();
        while flow.iteration < 8 {
            let x = data(flow.iteration, &device);
            pollster::block_on(flow.step(&flow_stage, x)).unwrap();
        }
        let flow = pollster::block_on(flow.frozen()).unwrap();
        let learn = |others: &[Device]| {
            let projection =
                Projection::new(Tensor::zeros([16], &device), Tensor::ones([16, 1], &device));
            let mut t = TiltTraining::new(&tilt_stage, 0.9, 1, flow.clone(), projection, &device)
                .unwrap()
                .share(others);
            t.watched = true;
            let mut seen = Vec::new();
            for i in 0..6 {
                let step = pollster::block_on(t.step(&tilt_stage, data(i, &device))).unwrap();
                let acceptance = [step.acceptance, step.step_size, step.gradient.unwrap()];
                seen.extend([[step.data, step.samples].as_slice(), &acceptance].concat());
            }
            let moved = seen[seen.len() - 5];
            let states = t.chains.states().into_data();
            seen.extend(states.iter::<f64>());
            (seen, moved)
        };
        let (alone, moved) = learn(&[]);
        assert!(moved.abs() > 0.1, "the tilt moved by {moved}");
        assert!(alone.iter().all(|v| v.is_finite()));
        let mut sets = vec![vec![device.clone()], vec![device.clone(); 2]];
        sets.extend(crate::test_support::gpu().map(|gpu| vec![gpu]));
        for others in sets {
            for (a, b) in alone.iter().zip(learn(&others).0) {
                assert!(
                    (a - b).abs() < 1e-3 * a.abs().max(0.1),
                    "{a} alone, {b} with {others:?}"
                );
            }
        }
    }
}
