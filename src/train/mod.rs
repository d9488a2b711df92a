//! Training runs: code shared by every system's recipe. Each run has its own folder with its config,
//! metrics (JSON lines) and checkpoint; it can be killed at any moment and resumed.

mod batches;
mod event;
mod guard;
mod health;
mod learner;
mod recipe;
mod request;
mod run_folder;
mod session;
mod tensorboard;

pub use batches::{Batches, dequantised};
pub use event::{Event, Sink};
pub use guard::{Correction, GuardConfig, Incident, Memory, Sign, Signs};
pub use health::{HealthConfig, Look, Negatives};
pub use learner::{Learner, Watch};
pub use recipe::{Draft, Preset, Recipe, open_run, override_config};
pub use request::Request;
pub use run_folder::{Intent, Kept, RunFolder, log};
pub use session::{Session, State, commit, read_json, record_error, write_json};
