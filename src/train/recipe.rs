//! Common parts of all recipes: presets, overrides, phases, and opening a run.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    event::Sink,
    learner::Watch,
    request::Request,
    run_folder::{Intent, RunFolder},
    session::{Session, State},
};
use crate::{
    artifact::{Card, DataCard, KnownAnswer},
    data::{DataRef, Dataset},
    error::{Error, Result},
};

/// Everything a training run depends on, besides the data: the content of a run's `config.toml`.
pub trait Recipe: Serialize + DeserializeOwned + 'static {
    /// The system's name, in the registry and on the command line.
    const SYSTEM: &'static str;

    /// Every preset.
    const PRESETS: &'static [Preset<Self>];

    /// Adapts the recipe to the requested data set.
    fn fitted_to(self, data: &DataRef) -> Self {
        let _ = data;
        self
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside its domain.
    fn check(&self) -> Result<()>;

    /// The phases of the training, in order, with their iterations.
    fn phases(&self) -> Vec<(&'static str, u64)>;

    /// Seconds between checkpoints.
    fn checkpoint_seconds(&self) -> f64;

    /// Monitoring of the phases.
    fn watch(&self) -> Watch;
}

/// A recipe by name.
pub type Preset<R> = (&'static str, fn() -> R);

/// The folder and the checked recipe of the requested run.
///
/// # Errors
/// As [`RunFolder::open`]; [`Error::Invalid`] for an unknown preset, a bad override, or a setting
/// outside its domain.
pub fn open_run<R: Recipe>(request: &Request) -> Result<(RunFolder, R)> {
    let run = request.run_name(R::SYSTEM);
    let folder = RunFolder::open(&request.runs, &run, request.intent)?;
    let recipe = choose::<R>(request, &folder)?.fitted_to(&request.data);
    recipe.check()?;
    Ok((folder, recipe))
}

impl<'r, 's, 'f> Session<'r, 's, 'f> {
    /// Opens a session of a run and announces it. Returns it with the checkpoint to resume from, if any.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn begin<R: Recipe>(
        request: &'r Request,
        folder: RunFolder,
        recipe: &R,
        sink: &'s mut Sink<'f>,
    ) -> Result<(Self, Option<(PathBuf, State)>)> {
        let phases = recipe.phases();
        let first = phases.first().map_or("", |(name, _)| name);
        let every = recipe.checkpoint_seconds();
        let (mut session, resumed) = Self::open(request, folder, sink, first, recipe, every)?;
        let state = resumed.as_ref().map(|(_, state)| state);
        session.started(request.run_name(R::SYSTEM), &phases, state)?;
        Ok((session, resumed))
    }

    /// The card of a finished model.
    ///
    /// # Errors
    /// [`Error::Model`] when the architecture cannot be written as JSON.
    pub fn card<R: Recipe>(
        &self,
        recipe: &R,
        data: &Dataset,
        draft: Draft<impl Serialize>,
    ) -> Result<Card> {
        Ok(Card {
            format: 1,
            name: draft.name.clone(),
            title: draft.title,
            description: draft.description,
            system: R::SYSTEM.into(),
            data: DataCard {
                name: data.name.clone(),
                classes: data.classes.clone(),
                shape: draft.shape,
                preprocessing: draft.preprocessing,
            },
            architecture: serde_json::to_value(&draft.architecture)
                .map_err(|e| Error::model(&draft.name, e, "report this as a bug"))?,
            training: self.account(R::SYSTEM, recipe, data.count, draft.iterations),
            metrics: draft.metrics.into_iter().collect(),
            step_sizes: draft.step_sizes,
            known_answer: KnownAnswer {
                seed: 0,
                start_scale: 1.0,
                energies: draft.energies,
                tolerance: 1e-3,
            },
            licence: "MIT OR Apache-2.0 (weights); the data set keeps its own".into(),
            known_failures: draft.known_failures,
        })
    }
}

/// A system's part of a model card; the session adds the rest.
pub struct Draft<A> {
    /// Folder name.
    pub name: String,
    /// Display name.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// `[channels, height, width]` of the images.
    pub shape: [usize; 3],
    /// Preprocessing of the data, in words.
    pub preprocessing: String,
    /// The architecture.
    pub architecture: A,
    /// Iterations of the training.
    pub iterations: u64,
    /// Measured quality.
    pub metrics: Vec<(String, serde_json::Value)>,
    /// Recommended step sizes: space → sampler → ε.
    pub step_sizes: BTreeMap<String, BTreeMap<String, f64>>,
    /// Energies of four starts of seed 0 at scale 1, in every space.
    pub energies: BTreeMap<String, Vec<f32>>,
    /// Known failures of the model.
    pub known_failures: Vec<String>,
}

/// The recipe of a run: for a new run the requested preset, else the run's own; with the overrides of
/// the command line.
///
/// # Errors
/// [`Error::Invalid`] for an unknown preset or a bad override; errors from reading the run's config.
fn choose<R: Recipe>(request: &Request, folder: &RunFolder) -> Result<R> {
    if request.intent != Intent::Begin {
        return override_config(&folder.read_config::<R>()?, &request.set);
    }
    let preset = R::PRESETS.iter().find(|(n, _)| *n == request.preset);
    let (_, preset) = preset.ok_or_else(|| {
        let names: Vec<_> = R::PRESETS.iter().map(|(n, _)| *n).collect();
        let fix = "choose one of these";
        Error::invalid("preset", names.join(", "), &request.preset, fix)
    })?;
    override_config(&preset(), &request.set)
}

/// Applies `key=value` overrides, nested keys with dots, to a config; unknown keys are errors.
///
/// # Errors
/// [`Error::Invalid`] for a malformed override, an unknown key, or a value of the wrong type.
pub fn override_config<T: Serialize + serde::de::DeserializeOwned>(
    config: &T,
    overrides: &[String],
) -> Result<T> {
    let problem = |what: &str, found: &dyn std::fmt::Display| {
        Error::invalid(
            "--set",
            "key=value with a key of the recipe (config.toml in a run's folder lists them)",
            found,
            what,
        )
    };
    let mut table =
        toml::Table::try_from(config).map_err(|e| problem("report this as a bug", &e))?;
    for item in overrides {
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| problem("write --set key=value", item))?;
        // A bare word is a string.
        let value = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut t| t.remove("v"))
            .unwrap_or_else(|| toml::Value::String(value.into()));
        let mut path: Vec<&str> = key.split('.').collect();
        let Some(last) = path.pop() else { continue };
        let mut here = &mut table;
        for part in path {
            here = here
                .get_mut(part)
                .and_then(toml::Value::as_table_mut)
                .ok_or_else(|| problem("check the key", item))?;
        }
        let old = here
            .get_mut(last)
            .ok_or_else(|| problem("check the key", item))?;
        // Accept an integer for a float field.
        *old = match (&*old, value) {
            (toml::Value::Float(_), toml::Value::Integer(i)) => toml::Value::Float(i as f64),
            (_, value) => value,
        };
    }
    T::deserialize(table).map_err(|e| problem("check the value's type", &e))
}
