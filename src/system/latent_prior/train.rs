//! The training: a learner for the shared training loop, and the command-line entry.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::{Device, Tensor};

use super::{
    NAME, PriorEnergy,
    export::export,
    learn::{LatentStage, Step, Training},
    ratio::Arm,
    recipe::Recipe,
};
use crate::{
    data::{self, Dataset, Split},
    error::{Error, Result},
    train::{
        Batches, Correction, Learner, Negatives, Recipe as _, Request, Session, Signs, Sink,
        open_run,
    },
};

/// The latent prior's learner for the shared training loop.
struct PriorLearner {
    training: Training,
    stage: LatentStage,
    batches: Batches,
    held_out: Tensor<2>,
    /// Stage of the last iteration.
    number: usize,
}

impl PriorLearner {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        data: &Arc<Dataset>,
        held_out: &Tensor<2>,
        (device, others): (&Device, &[Device]),
    ) -> Result<Self> {
        let mut stage = recipe.latent.clone();
        stage.learning_rate *= correction.learning_rate;
        stage.prior.learning_rate *= correction.learning_rate;
        stage.posterior.step_size *= correction.step_size;
        let seed = correction.seed(recipe.seed);
        let mut training = Training::new(&stage, recipe.seed, device)?.reseeded(seed);
        training.others = others.to_vec();
        Ok(Self {
            number: training.prior.stage(),
            training,
            batches: Batches::new(data, seed, stage.batch, 8, device),
            held_out: held_out.clone(),
            stage,
        })
    }
}

impl Learner for PriorLearner {
    const SIGNS: Signs = Signs::GRADIENT;

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn finished(&self) -> bool {
        self.training.prior.book.finished
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        self.number = self.training.prior.stage();
        let step: Step = pollster::block_on(self.training.step(&self.stage, x))?;
        // Only finite values: without chains there is no acceptance.
        let numbers = [
            ("reconstruction_mse", step.mse),
            ("latent_norm", step.norm),
            ("posterior_shadow_acceptance", step.shadow),
            ("prior_loss", step.prior.loss),
            ("prior_acceptance", step.prior.acceptance),
        ];
        Ok(numbers
            .into_iter()
            .filter(|(_, v)| v.is_finite())
            .chain([
                ("gradient_norm", step.gradient),
                ("stage", self.number as f64),
            ])
            .collect())
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        let due = pollster::block_on(self.training.check(&self.stage, &self.held_out))?;
        if let Some((check, ended)) = due {
            session.metrics(BTreeMap::from([
                ("held_out_loss".to_owned(), check.loss),
                ("held_out_accuracy".to_owned(), check.accuracy),
                ("stage".to_owned(), self.number as f64),
            ]))?;
            if let Some(why) = ended {
                session.note(format!(
                    "stage {} ended after {} iterations ({why}): held-out loss {:.4}, accuracy {:.3}",
                    self.number, check.iteration, check.loss, check.accuracy
                ))?;
                grid(session, &self.training, &self.stage)?;
            }
        }
        if self.training.iteration.is_multiple_of(500) {
            grid(session, &self.training, &self.stage)?;
        }
        Ok(())
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn negatives(&self) -> Result<Option<Negatives>> {
        let prior = &self.training.prior;
        // N(0, I) is sampled exactly: before the first ratio there are no chains to check.
        let ratios = prior.learned();
        if ratios.is_empty() {
            return Ok(None);
        }
        let latent = self.stage.generator.latent;
        let target = Arc::new(PriorEnergy { latent, ratios });
        let seed = self.training.iteration;
        let chains = &prior.chains[0];
        Ok(Some(Negatives::of_latent_chains(chains, target, seed)))
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let training = self.training.load(&self.stage, from, iteration)?;
        Ok(Self {
            number: training.prior.stage(),
            training,
            ..self
        })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let (folder, recipe) = open_run::<Recipe>(request)?;
    let stage = &recipe.latent;
    let all = request.load(Split::Train, stage.generator.shape)?;
    let test = request.load(Split::Test, stage.generator.shape)?;
    let (train, held_out) = split(all, stage.held_out)?;
    let device = request.device.clone();
    let (mut session, resumed) = Session::begin(request, folder, &recipe, sink)?;
    let order: Vec<usize> = (0..held_out.count).collect();
    let held_out = data::images(&held_out, &order, &device);
    let train = Arc::new(train);
    let devices = (&device, &request.others[..]);
    let watch = recipe.watch();
    let learner = session.drive(
        "latent",
        stage.iterations,
        resumed,
        &watch,
        &mut |correction| PriorLearner::new(&recipe, correction, &train, &held_out, devices),
    )?;
    // After the last checkpoint, so that a run resumed with more iterations continues its stage.
    let mut training = learner.training;
    pollster::block_on(training.prior.finish())?;
    session.note("measuring and exporting")?;
    let name = match stage.prior.arm {
        Arm::Adaptive => format!("{NAME}-{}", request.data.slug()),
        arm => format!("{NAME}-{}-{}", request.data.slug(), arm.name()),
    };
    let (card, weights) = export(
        &name,
        &training,
        &recipe,
        [&train, &test],
        &session,
        &device,
    )?;
    session.publish(&name, &card, &weights)
}

/// Splits off the last `count` images: (the others, the last ones).
///
/// # Errors
/// [`Error::Invalid`] unless `count` is between 1 and half of the images.
pub fn split(mut data: Dataset, count: usize) -> Result<(Dataset, Dataset)> {
    Error::unless_within("latent.held_out", count, 1, data.count / 2)?;
    let dim: usize = data.shape().iter().product();
    let kept = data.count - count;
    let held_out = Dataset {
        images: data.images.split_off(kept * dim),
        labels: data.labels.split_off(kept),
        count,
        ..data.clone()
    };
    data.count = kept;
    Ok((data, held_out))
}

/// Writes a grid of the prior's chains, decoded.
fn grid(session: &mut Session<'_, '_, '_>, training: &Training, stage: &LatentStage) -> Result<()> {
    let z = training.prior.chains[0].states();
    let n = 64.min(z.dims()[0]);
    let x = training.generator().forward(z.narrow(0, 0, n));
    let shape @ [c, h, w] = stage.generator.shape;
    session.grid("prior", x.reshape([n, c * h * w]) * 0.5 + 0.5, shape)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{PosteriorKind, recipe::smoke},
        *,
    };
    use crate::rng::Rng;

    /// For every arm, a run that is saved in the middle of a stage and loaded again continues with the
    /// numbers of the uninterrupted run, bit for bit.
    #[test]
    fn resumed_training_equals_uninterrupted_training() {
        let device = Device::flex();
        let folder = std::env::temp_dir().join(format!("mixwell-latent-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let arms = [
            Arm::Adaptive,
            Arm::Lebm,
            Arm::Nce,
            Arm::Bridges,
            Arm::Gaussian,
        ];
        for arm in arms {
            for kind in [PosteriorKind::Langevin, PosteriorKind::Encoder] {
                if kind == PosteriorKind::Encoder && arm != Arm::Adaptive {
                    continue;
                }
                let mut stage = smoke().latent;
                stage.prior.arm = arm;
                stage.posterior.kind = kind;
                stage.posterior.width = 4;
                let data = |i: u64| -> Tensor<2> {
                    Rng::new(3).uniform_rows(
                        crate::rng::Purpose::Data,
                        i as u32,
                        0,
                        8,
                        784,
                        &device,
                    )
                };
                let new = || Training::new(&stage, 1, &device).unwrap();
                let run = |t: &mut Training, until: u64| {
                    let mut seen = Vec::new();
                    while t.iteration < until && !t.prior.book.finished {
                        let x = data(t.iteration);
                        let step = pollster::block_on(t.step(&stage, x)).unwrap();
                        let check = pollster::block_on(t.check(&stage, &data(999))).unwrap();
                        seen.push(format!("{step:?} {check:?}"));
                    }
                    seen
                };
                let mut whole = new();
                let seen = run(&mut whole, 12);
                let mut half = new();
                run(&mut half, 7);
                half.save(&folder).unwrap();
                let mut resumed = new().load(&stage, &folder, 7).unwrap();
                assert_eq!(run(&mut resumed, 12), seen[7..], "{arm:?} {kind:?}");
                assert_eq!(resumed.prior.book, whole.prior.book);
                if arm == Arm::Adaptive {
                    assert!(whole.prior.book.kept() >= 1, "{:?}", whole.prior.book);
                }
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The training ends with its last stage.
    #[test]
    fn a_finished_prior_ends_the_training() {
        let device = Device::flex();
        let recipe = smoke();
        let data = Arc::new(Dataset {
            name: "d".into(),
            title: "D".into(),
            classes: vec!["c".into()],
            preprocessing: String::new(),
            split: Split::Train,
            images: vec![0; 16 * 784],
            labels: vec![0; 16],
            count: 16,
            height: 28,
            width: 28,
            channels: 1,
        });
        let x = Tensor::zeros([4, 784], &device);
        let new = PriorLearner::new(&recipe, &Correction::default(), &data, &x, (&device, &[]));
        let mut learner = new.unwrap();
        assert!(!learner.finished());
        pollster::block_on(learner.training.prior.finish()).unwrap();
        assert!(learner.finished());
    }
}
