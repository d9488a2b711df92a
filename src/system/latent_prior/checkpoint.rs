//! Checkpoints: the complete state of a training run, besides recipe and data.

use std::path::Path;

use burn::module::Module;

use super::{
    learn::{LatentStage, Training},
    ratio::{Arm, Book},
};
use crate::{
    error::Result,
    nn::ema::Ema,
    sampler::SavedRun,
    train::{read_json, record_error, write_json},
};

const STAGES: &str = "stages.json";

impl Training {
    /// Writes the complete state of the training, besides recipe and data.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model), [`Error::Io`](crate::Error::Io) or [`Error::Device`](crate::Error::Device).
    pub fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        let prior = &self.prior;
        self.nets
            .clone()
            .save_file(to.join("nets"))
            .map_err(&fail)?;
        let average = self.average.average().clone();
        average.save_file(to.join("nets_ema")).map_err(&fail)?;
        self.optimiser
            .save(to.join("nets_optimiser"))
            .map_err(&fail)?;
        prior
            .bank
            .clone()
            .save_file(to.join("ratio"))
            .map_err(&fail)?;
        let average = prior.average.average().clone();
        average.save_file(to.join("ratio_ema")).map_err(&fail)?;
        prior
            .optimiser
            .save(to.join("ratio_optimiser"))
            .map_err(&fail)?;
        for (k, ratio) in prior.frozen.iter().enumerate() {
            ratio
                .clone()
                .save_file(to.join(format!("stage_{k}")))
                .map_err(&fail)?;
        }
        for (name, chains) in CHAINS.iter().zip(&prior.chains) {
            write_json(&to.join(name), &pollster::block_on(chains.save())?)?;
        }
        write_json(&to.join(STAGES), &prior.book)
    }

    /// Restores the state that [`save`](Self::save) wrote after `iteration` iterations.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model), [`Error::Io`](crate::Error::Io) or [`Error::Data`](crate::Error::Data).
    pub fn load(mut self, stage: &LatentStage, from: &Path, iteration: u64) -> Result<Self> {
        let fail = record_error("read");
        self.nets = self.nets.try_load_file(from.join("nets")).map_err(&fail)?;
        let average = self.nets.valid().try_load_file(from.join("nets_ema"));
        self.average = Ema::resumed(average.map_err(&fail)?, stage.decay(), iteration);
        self.optimiser = self
            .optimiser
            .load(from.join("nets_optimiser"))
            .map_err(&fail)?;
        let book: Book = read_json(&from.join(STAGES))?;
        let prior = &mut self.prior;
        if !prior.bank.nets.is_empty() {
            let bank = prior.bank.clone().try_load_file(from.join("ratio"));
            prior.bank = bank.map_err(&fail)?;
            let average = prior.bank.valid().try_load_file(from.join("ratio_ema"));
            let updates = book.stages.last().map_or(0, |s| s.iterations);
            prior.average = Ema::resumed(average.map_err(&fail)?, stage.prior.ema_decay, updates);
            let optimiser = prior.optimiser.clone().load(from.join("ratio_optimiser"));
            prior.optimiser = optimiser.map_err(&fail)?;
        }
        let mut frozen = Vec::new();
        if stage.prior.arm == Arm::Adaptive {
            for k in 0..book.kept() {
                let blank = prior.blank().nets.remove(0);
                let ratio = blank.try_load_file(from.join(format!("stage_{k}")));
                frozen.push(ratio.map_err(&fail)?);
            }
        }
        prior.restored(frozen, book)?;
        for (name, chains) in CHAINS.iter().zip(&mut prior.chains) {
            chains.restore(read_json::<SavedRun>(&from.join(name))?)?;
        }
        self.iteration = iteration;
        Ok(self)
    }
}

const CHAINS: [&str; 2] = ["chains.json", "held_out_chains.json"];
