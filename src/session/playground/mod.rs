//! The room Playground: two samplers side by side on a density with a known exact distribution, with
//! rewind and replay; and a small flow with its tilt, trained in the page.

mod chart;
mod info;
mod learn;
mod play;
pub mod settings;
mod side;

pub use chart::Chart;
pub use info::{
    MarginalInfo, PlayConfig, PlayInfo, PlayPath, SamplerInfo, SideConfig, Start, Surface,
    TargetInfo,
};
pub use learn::{LearnConfig, LearnFrame};
pub use play::{Play, PlayFrame};
pub use side::{SideFrame, Statistics};
