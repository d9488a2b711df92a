//! What a training tells while it runs.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::guard::Incident;

/// What a run tells, in order: the same events for the progress bar, the metrics file and the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins or goes on.
    Started {
        /// Name of the run.
        run: String,
        /// Phases with their numbers of iterations.
        phases: Vec<(String, u64)>,
        /// Iterations already done, in the first unfinished phase, when resuming.
        resumed_at: Option<(String, u64)>,
    },
    /// One more iteration.
    Progress {
        /// Phase name.
        phase: String,
        /// Iterations done.
        iteration: u64,
        /// Iterations in all.
        total: u64,
    },
    /// Numbers.
    Metrics {
        /// Phase name.
        phase: String,
        /// Iterations done.
        iteration: u64,
        /// Training seconds so far, without pauses between sessions.
        seconds: f64,
        /// Name → value.
        values: BTreeMap<String, f64>,
    },
    /// A file to look at.
    Snapshot {
        /// Where it is.
        path: PathBuf,
        /// What it shows.
        title: String,
    },
    /// A divergence, and what was done about it.
    Incident {
        /// What happened.
        incident: Incident,
    },
    /// Something worth knowing that is not a number.
    Note {
        /// The text.
        text: String,
    },
    /// The run finished; the model is in this folder.
    Done {
        /// `models/NAME`
        model: PathBuf,
    },
}

/// Takes the events of a run.
pub type Sink<'a> = dyn FnMut(&Event) + 'a;
