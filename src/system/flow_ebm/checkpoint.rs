//! Checkpoints: the complete state of a training run, besides recipe and data.

use std::path::Path;

use burn::module::Module;

use super::{FlowTraining, TiltTraining};
use crate::{
    error::Result,
    nn::ema::Ema,
    sampler::SavedRun,
    train::{read_json, record_error, write_json},
};

impl FlowTraining {
    pub(super) fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        self.flow
            .clone()
            .save_file(to.join("flow"))
            .map_err(&fail)?;
        self.ema
            .average()
            .clone()
            .save_file(to.join("flow_ema"))
            .map_err(&fail)?;
        self.optimiser
            .save(to.join("flow_optimiser"))
            .map_err(&fail)
    }

    pub(super) fn load(mut self, from: &Path, iteration: u64, decay: f64) -> Result<Self> {
        let fail = record_error("read");
        self.flow = self.flow.try_load_file(from.join("flow")).map_err(&fail)?;
        let average = self
            .flow
            .valid()
            .try_load_file(from.join("flow_ema"))
            .map_err(&fail)?;
        self.ema = Ema::resumed(average, decay, iteration);
        self.optimiser = self
            .optimiser
            .load(from.join("flow_optimiser"))
            .map_err(&fail)?;
        self.iteration = iteration;
        Ok(self)
    }
}

impl TiltTraining {
    pub(super) fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        self.tilt
            .clone()
            .save_file(to.join("tilt"))
            .map_err(&fail)?;
        self.ema
            .average()
            .clone()
            .save_file(to.join("tilt_ema"))
            .map_err(&fail)?;
        self.optimiser
            .save(to.join("tilt_optimiser"))
            .map_err(&fail)?;
        let chains = pollster::block_on(self.chains.save())?;
        write_json(&to.join("chains.json"), &chains)
    }

    pub(super) fn load(mut self, from: &Path, iteration: u64, decay: f64) -> Result<Self> {
        let fail = record_error("read");
        self.tilt = self.tilt.try_load_file(from.join("tilt")).map_err(&fail)?;
        let average = self
            .tilt
            .valid()
            .try_load_file(from.join("tilt_ema"))
            .map_err(&fail)?;
        self.ema = Ema::resumed(average, decay, iteration);
        self.optimiser = self
            .optimiser
            .load(from.join("tilt_optimiser"))
            .map_err(&fail)?;
        self.chains
            .restore(read_json::<SavedRun>(&from.join("chains.json"))?)?;
        self.iteration = iteration;
        Ok(self)
    }
}
