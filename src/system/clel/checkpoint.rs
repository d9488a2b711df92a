//! Checkpoints: the complete state of a training run, besides recipe and data.

use std::path::Path;

use burn::module::Module;

use super::{
    buffer::ReplayBuffer,
    learn::{Stage, Training},
};
use crate::{
    artifact,
    error::{Error, Result},
    nn::ema::Ema,
    train::record_error,
};

/// The replay buffer's file in a checkpoint.
const BUFFER: &str = "buffer.safetensors";

impl Training {
    /// Writes the complete state of the training, besides recipe and data.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Io`].
    pub fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        let net = self.net.clone();
        net.save_file(to.join("energy")).map_err(&fail)?;
        let average = self.average.average().clone();
        average.save_file(to.join("energy_ema")).map_err(&fail)?;
        self.net_optimiser
            .save(to.join("energy_optimiser"))
            .map_err(&fail)?;
        if let Some(encoder) = &self.encoder {
            let encoder = encoder.clone();
            encoder.save_file(to.join("encoder")).map_err(&fail)?;
            self.encoder_optimiser
                .save(to.join("encoder_optimiser"))
                .map_err(&fail)?;
        }
        artifact::write_atomically(&to.join(BUFFER), &self.buffer.to_bytes()?)
    }

    /// Restores the state that [`save`](Self::save) wrote after `iteration` iterations.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Data`].
    pub fn load(mut self, stage: &Stage, from: &Path, iteration: u64) -> Result<Self> {
        let fail = record_error("read");
        self.net = self.net.try_load_file(from.join("energy")).map_err(&fail)?;
        let average = self
            .net
            .valid()
            .try_load_file(from.join("energy_ema"))
            .map_err(&fail)?;
        self.average = Ema::resumed(average, Self::decay(stage), iteration);
        self.net_optimiser = self
            .net_optimiser
            .load(from.join("energy_optimiser"))
            .map_err(&fail)?;
        if let Some(encoder) = self.encoder.take() {
            let encoder = encoder.try_load_file(from.join("encoder"));
            self.encoder = Some(encoder.map_err(&fail)?);
            self.encoder_optimiser = self
                .encoder_optimiser
                .load(from.join("encoder_optimiser"))
                .map_err(&fail)?;
        }
        let path = from.join(BUFFER);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let (size, dim) = (stage.chains.buffer, stage.energy.dim());
        self.buffer = ReplayBuffer::from_bytes(&bytes, size, dim)?;
        self.iteration = iteration;
        Ok(self)
    }
}
