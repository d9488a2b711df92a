//! The norm of a gradient.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use crate::{device::scalar, error::Result};

struct Sum<'g> {
    gradients: &'g GradientsParams,
    squares: Option<Tensor<1>>,
}

impl ModuleVisitor for Sum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.powi_scalar(2).sum();
            self.squares = Some(match self.squares.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

/// ‖∇‖₂ over all parameters of a module with a gradient; 0 if there are none.
///
/// # Errors
/// [`Error::Device`](crate::error::Error::Device) when the device cannot be read.
pub async fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Result<f64> {
    let mut sum = Sum {
        gradients,
        squares: None,
    };
    module.visit(&mut sum);
    match sum.squares {
        Some(squares) => scalar(squares.sqrt()).await,
        None => Ok(0.0),
    }
}
