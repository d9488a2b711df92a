//! The training: a learner for the shared training loop, and the command-line entry.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, activation::log_softmax},
};

use super::{NAME, export::export, recipe::Recipe};
use crate::{
    data::{Dataset, Split},
    device::scalar,
    error::{Error, Result},
    nn::{
        augment::{AugmentConfig, augment},
        encoder::{Encoder, EncoderConfig},
        gradient::gradient_norm,
        layers::Init,
    },
    rng::{Purpose, Rng},
    train::{
        Batches, Correction, Learner, Recipe as _, Request, Session, Signs, Sink, open_run,
        record_error,
    },
};

/// Mean and standard deviation of each channel over the data, in [0, 1].
fn statistics(data: &Dataset) -> (Vec<f64>, Vec<f64>) {
    let [channels, h, w] = data.shape();
    let count = (data.count * h * w) as f64;
    let moments = (0..channels).map(|c| {
        let values = || {
            data.images
                .chunks(h * w)
                .skip(c)
                .step_by(channels)
                .flatten()
                .map(|&v| f64::from(crate::pixels::centre(v)))
        };
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt().max(1e-3))
    });
    moments.unzip()
}

/// The classifier's learner for the shared training loop.
struct ClassifierLearner {
    net: Encoder,
    optimiser: ModuleOptimizer,
    recipe: Recipe,
    flips: AugmentConfig,
    batches: Batches,
    data: Arc<Dataset>,
    rng: Rng,
    device: Device,
    iteration: u64,
}

impl ClassifierLearner {
    fn new(
        recipe: &Recipe,
        config: &EncoderConfig,
        correction: &Correction,
        data: &Arc<Dataset>,
        device: &Device,
    ) -> Result<Self> {
        let tracked = device.clone().autodiff();
        let seed = correction.seed(recipe.seed);
        Ok(Self {
            net: Encoder::new(config, &mut Init::new(recipe.seed, &tracked))?,
            optimiser: AdamConfig::new().init(),
            flips: AugmentConfig {
                flip: recipe.flip,
                ..AugmentConfig::none()
            },
            recipe: Recipe {
                learning_rate: recipe.learning_rate * correction.learning_rate,
                ..recipe.clone()
            },
            batches: Batches::new(data, seed, recipe.batch, 8, device),
            data: data.clone(),
            rng: Rng::new(seed),
            device: device.clone(),
            iteration: 0,
        })
    }
}

impl Learner for ClassifierLearner {
    const SIGNS: Signs = Signs::GRADIENT;

    fn iteration(&self) -> u64 {
        self.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (indices, x) = self.batches.get_labelled(self.iteration);
        let n = indices.len();
        let [c, h, w] = self.data.shape();
        let labels: Vec<i32> = indices
            .iter()
            .map(|&i| i32::from(self.data.labels[i]))
            .collect();
        let labels = Tensor::<1, Int>::from_ints(&labels[..], &self.device).reshape([n, 1]);
        let source = self.rng.derived(Purpose::Data, self.iteration);
        let x = augment(&self.flips, &source, 0, 0, x.reshape([n, c, h, w]));
        let log_p = log_softmax(self.net.forward_train(x.reshape([n, c * h * w])), 1);
        let loss = -log_p.gather(1, labels).mean();
        let value = pollster::block_on(scalar(loss.clone().inner()))?;
        if !value.is_finite() {
            return Err(Error::Diverged {
                problem: format!("at iteration {} the loss is {value}", self.iteration),
                fix: "start again with a lower learning_rate".into(),
            });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &self.net);
        let norm = pollster::block_on(gradient_norm(&self.net, &grads))?;
        let t = self.iteration as f64 / self.recipe.iterations as f64;
        let rate = self.recipe.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * t).cos());
        self.net = self.optimiser.step(rate, self.net.clone(), grads);
        self.iteration += 1;
        Ok(vec![("cross_entropy", value), ("gradient_norm", norm)])
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        self.net.clone().save_file(to.join("net")).map_err(&fail)?;
        self.optimiser.save(to.join("optimiser")).map_err(&fail)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let fail = record_error("read");
        Ok(Self {
            net: self.net.try_load_file(from.join("net")).map_err(&fail)?,
            optimiser: self.optimiser.load(from.join("optimiser")).map_err(&fail)?,
            iteration,
            ..self
        })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    request.one_device(NAME)?;
    let name = format!("{NAME}-{}", request.data.slug());
    let (folder, recipe) = open_run::<Recipe>(request)?;
    let data = Arc::new(request.load(Split::Train, recipe.shape)?);
    let test = request.load(Split::Test, recipe.shape)?;
    let (mean, std) = statistics(&data);
    let classes = data.classes.len();
    let config = EncoderConfig {
        shape: data.shape(),
        stages: recipe.stages.clone(),
        hidden: recipe.hidden,
        latent: classes,
        mean,
        std,
    };
    let device = request.device.clone();
    let (mut session, resumed) = Session::begin(request, folder, &recipe, sink)?;
    let watch = recipe.watch();
    let learner = session.drive(
        NAME,
        recipe.iterations,
        resumed,
        &watch,
        &mut |correction| ClassifierLearner::new(&recipe, &config, correction, &data, &device),
    )?;
    let trained = (&learner.net, learner.iteration);
    let (card, weights) = export(&name, trained, (&recipe, &config), [&data, &test], &session)?;
    session.publish(&name, &card, &weights)
}
