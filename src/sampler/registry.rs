//! The list of all samplers.

use super::{
    gibbs, hmc, mala, nuts, rwm, sgld, tempering, transition::Registration, ula, underdamped,
};
use crate::error::{Error, Result};

/// Every sampler, in display order.
pub const REGISTRY: &[Registration] = &[
    rwm::REGISTRATION,
    ula::REGISTRATION,
    sgld::REGISTRATION,
    mala::REGISTRATION,
    hmc::REGISTRATION,
    nuts::REGISTRATION,
    underdamped::REGISTRATION,
    tempering::REGISTRATION,
    gibbs::REGISTRATION,
];

/// Finds a registration by name.
///
/// # Errors
/// [`Error::Invalid`] for an unknown sampler.
pub fn find(name: &str) -> Result<&'static Registration> {
    REGISTRY.iter().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
        Error::invalid("sampler", names.join(", "), name, "choose one of these")
    })
}
