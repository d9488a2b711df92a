//! Inputs and outputs of the Playground: configs, targets, surfaces, marginals.

use serde::{Deserialize, Serialize};

use super::super::arrays::Floats;
use crate::{
    energy::{self, Density, Drawing, Grid},
    sampler::SamplerConfig,
};

/// A sampler, described for the page.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct SamplerInfo {
    #[cfg_attr(feature = "native", ts(type = "SamplerName"))]
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) tested: bool,
    pub(super) target_accept: Option<f64>,
    #[cfg_attr(feature = "native", ts(type = "SettingName[]"))]
    pub(super) settings: Vec<&'static str>,
}

/// A target, described for the page.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct TargetInfo {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) dim: usize,
    pub(super) coordinates: Vec<String>,
    pub(super) bounds: [f64; 4],
    pub(super) conditionals: bool,
    #[cfg_attr(feature = "native", ts(type = "Partial<Record<SamplerName, number>>"))]
    pub(super) steps: std::collections::BTreeMap<String, f64>,
    pub(super) mode: [f64; 2],
}

/// One side: a sampler, and the space in which it runs ("latent" for a learned model only).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlaySide"))]
pub struct SideConfig {
    /// The sampler.
    #[cfg_attr(feature = "native", ts(type = "SamplerConfig"))]
    pub sampler: SamplerConfig,
    /// "data" or "latent".
    #[cfg_attr(feature = "native", ts(type = "\"data\" | \"latent\""))]
    pub space: String,
}

/// Where chains start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlayStart"))]
pub enum Start {
    /// Spread over the target's start rectangle.
    Dispersed,
    /// All at one mode.
    Mode,
    /// In groups that each share one point of the plane, for nested R-hat.
    Superchains,
}

/// Everything the chains depend on: the same config gives the same chains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PlayConfig {
    /// A registered density, "drawn" or "learned".
    pub target: String,
    /// Seed of starts and noise.
    pub seed: u64,
    /// Chains on each side.
    pub chains: usize,
    /// Where they start.
    pub start: Start,
    /// Groups of chains, a divisor of `chains`.
    pub superchains: usize,
    /// One or two sides.
    pub sides: Vec<SideConfig>,
}

impl PlayConfig {
    /// Number of groups of chains for nested R-hat; 1 for dispersed starts. With dispersed starts, the
    /// spread of the starts would count as variance within a group, and chains that never moved would
    /// look converged.
    pub(super) fn groups_that_share_a_start(&self) -> usize {
        match self.start {
            Start::Dispersed => 1,
            Start::Mode | Start::Superchains => self.superchains,
        }
    }
}

/// The exact marginal of one coordinate.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "Marginal"))]
pub struct MarginalInfo {
    pub(super) name: String,
    pub(super) grid: Floats,
    pub(super) density: Floats,
    pub(super) mean: f64,
    pub(super) sd: f64,
}

/// −log density of the plane on a grid, minus its minimum.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Surface {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bounds: [f64; 4],
    pub(super) energy: Floats,
}

/// Result of `configure`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PlayInfo {
    pub(super) config: PlayConfig,
    pub(super) target: TargetInfo,
    pub(super) surface: Surface,
    pub(super) marginals: Vec<MarginalInfo>,
    pub(super) traced: Vec<String>,
}

/// The last transition of a chain, in the plane.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PlayPath {
    pub(super) points: Floats,
    pub(super) energies: Floats,
    pub(super) end: [f64; 2],
    pub(super) moved: bool,
    pub(super) acceptance: Option<f64>,
    pub(super) transition: u32,
}

/// Cells per side of a plotted surface.
pub(super) const SURFACE: usize = 128;

pub(super) fn surface(grid: &Grid, bounds: [f64; 4]) -> Surface {
    Surface {
        width: SURFACE,
        height: SURFACE,
        bounds,
        energy: grid.energies().into(),
    }
}

fn describe(
    name: &str,
    title: &str,
    description: &str,
    steps: &[(&str, f64)],
    density: &dyn Density,
) -> TargetInfo {
    let mode = density.mode();
    TargetInfo {
        name: name.into(),
        title: title.into(),
        description: description.into(),
        dim: density.space().dim,
        coordinates: density.coordinates(),
        bounds: density.bounds(),
        conditionals: density.conditionals().is_some(),
        steps: steps.iter().map(|(s, v)| ((*s).to_owned(), *v)).collect(),
        mode: [mode[0], mode[1]],
    }
}

pub(super) fn registered_info(r: &energy::Registration, density: &dyn Density) -> TargetInfo {
    describe(r.name, r.title, r.description, r.steps, density)
}

pub(super) fn drawn_info(density: &dyn Density) -> TargetInfo {
    describe(
        "drawn",
        "Your drawing",
        "A mixture of small Gaussians, one per painted cell, weighted by its grey value.",
        Drawing::STEPS,
        density,
    )
}
