//! The training: a learner for the shared training loop, and the command-line entry.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    MarginalEnergy, NAME,
    export::export,
    learn::{Stage, Step, Training},
    recipe::Recipe,
};
use crate::{
    data::{Dataset, Split},
    error::{Error, Result},
    rng::{Purpose, Rng},
    train::{
        Batches, Correction, Learner, Negatives, Recipe as _, Request, Session, Signs, Sink,
        open_run,
    },
};

/// CLEL's learner for the shared training loop.
struct ClelLearner {
    training: Training,
    stage: Stage,
    batches: Batches,
    device: Device,
}

impl ClelLearner {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        data: &Arc<Dataset>,
        (device, others): (&Device, &[Device]),
    ) -> Result<Self> {
        let mut stage = recipe.clel.clone();
        stage.learning_rate *= correction.learning_rate;
        stage.encoder_learning_rate *= correction.learning_rate;
        // a = ε²/2; scaling σ by the same factor as ε keeps T = σ²/(2a).
        stage.chains.drift *= correction.step_size.powi(2);
        stage.chains.noise *= correction.step_size;
        let seed = correction.seed(recipe.seed);
        let mut training = Training::new(&stage, recipe.seed, device)?.reseeded(seed);
        training.others = others.to_vec();
        Ok(Self {
            training,
            batches: Batches::new(data, seed, stage.batch, 8, device),
            stage,
            device: device.clone(),
        })
    }

    /// The first images of the buffer, `[n, D]`.
    fn buffered(&self, most: usize) -> Tensor<2> {
        let n = most.min(self.training.buffer().len());
        let dim = self.stage.energy.dim();
        let images = self.training.buffer().images()[..n * dim].to_vec();
        Tensor::from_data(TensorData::new(images, [n, dim]), &self.device)
    }
}

impl Learner for ClelLearner {
    const SIGNS: Signs = Signs {
        energies: Some(["energy_data", "energy_samples"]),
        gradient: Some("gradient_norm"),
        saturated: Some("saturated"),
    };

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        let step: Step = pollster::block_on(self.training.step(&self.stage, x))?;
        Ok(vec![
            ("energy_data", step.data),
            ("energy_samples", step.samples),
            ("energy_gap", step.data - step.samples),
            ("guidance", step.guidance),
            ("contrastive_loss", step.contrastive),
            ("nearest_view", step.nearest),
            ("displacement", step.displacement),
            ("saturated", step.saturated),
            ("shadow_acceptance", step.shadow),
            ("gradient_norm", step.gradient),
        ])
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        if self.training.iteration.is_multiple_of(250) {
            session.grid("buffer", self.buffered(64), self.stage.energy.shape)?;
        }
        Ok(())
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn negatives(&self) -> Result<Option<Negatives>> {
        let states = self.buffered(64);
        let [n, dim] = states.dims();
        let rng = Rng::new(self.training.iteration);
        let net = self.training.net.frozen();
        Ok(Some(Negatives {
            target: Arc::new(MarginalEnergy::new(net, self.stage.energy.shape)),
            sampler: self.stage.chains.sampler(),
            starts: rng.uniform_rows(Purpose::Health, 0, 0, n, dim, &self.device),
            states,
        }))
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        Ok(Self {
            training: self.training.load(&self.stage, from, iteration)?,
            ..self
        })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let (folder, recipe) = open_run::<Recipe>(request)?;
    let stage = &recipe.clel;
    let mut devices = std::iter::once(&request.device).chain(&request.others);
    if let Some(device) = devices.position(|device| !stage.precision.is_supported(device)) {
        return Err(Error::invalid(
            "clel.precision",
            format!(
                "f32, or a precision that every device supports ({})",
                request.device_name
            ),
            format!(
                "{}, which device {} does not support",
                format!("{:?}", stage.precision).to_lowercase(),
                device + 1
            ),
            "set clel.precision to f32",
        ));
    }
    let arm = if stage.guided { "" } else { "-unguided" };
    let name = format!("{NAME}-{}{arm}", request.data.slug());
    let data = request.load(Split::Train, stage.energy.shape)?;
    let device = request.device.clone();
    let (mut session, resumed) = Session::begin(request, folder, &recipe, sink)?;
    let watch = recipe.watch();
    let data = Arc::new(data);
    let learner = session.drive(NAME, stage.iterations, resumed, &watch, &mut |correction| {
        ClelLearner::new(&recipe, correction, &data, (&device, &request.others))
    })?;
    let chains = learner.stage.chains;
    let training = learner.training;
    session.note("measuring and exporting")?;
    let (card, weights) = export(
        &name,
        &training,
        (&recipe, &chains),
        &data,
        &mut session,
        &device,
    )?;
    session.publish(&name, &card, &weights)
}
