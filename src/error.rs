//! The crate's error type: what was expected, what was found, and what to do.

use std::path::PathBuf;

/// All errors of `mixwell`, with what the user can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value outside its domain: a step size of 0, an unknown sampler, a wrong image size.
    #[error("{what}: expected {expected}, found {found}; {fix}")]
    Invalid {
        /// The setting or value concerned.
        what: String,
        /// Accepted values.
        expected: String,
        /// What was given.
        found: String,
        /// What the user can do.
        fix: String,
    },
    /// A data file that is truncated, corrupt, or not the file it should be.
    #[error("data file {}: {problem}; {fix}", path.display())]
    Data {
        /// The offending file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A model folder, card or weight file that cannot be used.
    #[error("model {model}: {problem}; {fix}")]
    Model {
        /// The model's name or folder.
        model: String,
        /// What was expected and what was found.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// Reading or writing a file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write", "create", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A download failed.
    #[error("download of {url} failed: {problem}; {fix}")]
    Network {
        /// The requested address.
        url: String,
        /// What happened.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// The compute device refused, failed, or was lost.
    #[error("device: {problem}; {fix}")]
    Device {
        /// What happened.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// Sampling or training produced numbers that cannot be used.
    #[error("diverged: {problem}; {fix}")]
    Diverged {
        /// What was seen and where.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A training run stopped early; its last checkpoint is intact.
    #[error("{source}\ntraining stopped at iteration {iteration} of {phase}; {resume}")]
    Interrupted {
        /// What happened.
        source: Box<Error>,
        /// The current phase.
        phase: String,
        /// Completed iterations of the phase.
        iteration: u64,
        /// What was saved, and how to continue.
        resume: String,
    },
    /// The user asked to stop.
    #[error("stopped on request; {resume}")]
    Cancelled {
        /// How to continue.
        resume: String,
    },
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] from anything that displays.
    pub fn invalid(
        what: impl std::fmt::Display,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
        fix: impl std::fmt::Display,
    ) -> Self {
        Self::Invalid {
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
            fix: fix.to_string(),
        }
    }

    /// Checks that named settings of a recipe are finite and above 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first that is not.
    pub fn unless_positive(settings: &[(&str, f64)]) -> Result<()> {
        match settings.iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            Some((what, v)) => {
                let fix = "change the recipe";
                Err(Self::invalid(what, "a positive number", v, fix))
            }
            None => Ok(()),
        }
    }

    /// Checks that a number lies in `low..=high`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the range otherwise.
    pub fn unless_within<T: PartialOrd + std::fmt::Display>(
        what: &str,
        value: T,
        low: T,
        high: T,
    ) -> Result<()> {
        if low <= value && value <= high {
            return Ok(());
        }
        let range = format!("{low} to {high}");
        Err(Self::invalid(
            what,
            range,
            value,
            "give a value in that range",
        ))
    }

    /// An [`Error::Model`] from anything that displays.
    pub fn model(
        model: impl std::fmt::Display,
        problem: impl std::fmt::Display,
        fix: impl std::fmt::Display,
    ) -> Self {
        Self::Model {
            model: model.to_string(),
            problem: problem.to_string(),
            fix: fix.to_string(),
        }
    }

    /// Wraps an I/O error with the action and the path.
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
