//! Events of a training run.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::guard::Incident;

/// The events of a run, in order: the same for the progress bar and the metrics file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts or resumes.
    Started {
        /// Name of the run.
        run: String,
        /// Phases with their numbers of iterations.
        phases: Vec<(String, u64)>,
        /// When resuming: the first unfinished phase, and its completed iterations.
        resumed_at: Option<(String, u64)>,
    },
    /// One more iteration.
    Progress {
        /// Phase name.
        phase: String,
        /// Completed iterations.
        iteration: u64,
        /// Total iterations of the phase.
        total: u64,
    },
    /// Metrics.
    Metrics {
        /// Phase name.
        phase: String,
        /// Completed iterations.
        iteration: u64,
        /// Training seconds so far, excluding pauses between sessions.
        seconds: f64,
        /// Name → value.
        values: BTreeMap<String, f64>,
    },
    /// A picture was written.
    Snapshot {
        /// Path of the file.
        path: PathBuf,
        /// Its title.
        title: String,
    },
    /// A divergence and the action taken.
    Incident {
        /// The incident.
        incident: Incident,
    },
    /// A message in words.
    Note {
        /// The text.
        text: String,
    },
    /// The run finished and wrote its model.
    Done {
        /// `models/NAME`
        model: PathBuf,
    },
}

/// Receives the events of a run.
pub type Sink<'a> = dyn FnMut(&Event) + 'a;
