//! Exponential moving average of a module's weights.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};

/// An averaged copy of a module, on its device without autodiff.
#[derive(Debug, Clone)]
pub struct Ema<M: Module> {
    average: M,
    decay: f64,
    updates: u64,
}

struct Collect(HashMap<ParamId, Tensor<1>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().inner();
        let n = value.shape().num_elements();
        self.0.insert(param.id, value.reshape([n]));
    }
}

struct Blend {
    fresh: HashMap<ParamId, Tensor<1>>,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let fresh = self.fresh.remove(&param.id);
        let decay = self.decay;
        param.map(|old| match fresh {
            Some(fresh) => {
                let fresh = fresh.reshape(old.dims());
                old * decay + fresh * (1.0 - decay)
            }
            None => old,
        })
    }
}

impl<M: Module> Ema<M> {
    /// Starts at the module's current weights.
    pub fn new(module: &M, decay: f64) -> Self {
        Self::resumed(module.valid(), decay, 0)
    }

    /// Continues from an average after `updates` updates.
    pub fn resumed(average: M, decay: f64, updates: u64) -> Self {
        Self {
            average,
            decay,
            updates,
        }
    }

    /// Updates the average with the weights of `module`. The decay grows as (1 + n)/(10 + n) up to its
    /// final value, so that the initial random weights are forgotten quickly.
    pub fn update(&mut self, module: &M) {
        let n = self.updates as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        let mut fresh = Collect(HashMap::new());
        module.visit(&mut fresh);
        self.average = self.average.clone().map(&mut Blend {
            fresh: fresh.0,
            decay,
        });
        self.updates += 1;
    }

    /// The average.
    pub fn average(&self) -> &M {
        &self.average
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }
}
