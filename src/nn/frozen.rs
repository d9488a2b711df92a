//! Weights of frozen networks on the host, from which the plans of [`cpu`](super::cpu) and
//! [`gpu`](super::gpu) are made.

use super::window::ConvShape;

/// Weights of a convolution: W `[C_out, C_in, k, k]` and the bias, which may be empty.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Weights<'a> {
    pub(in crate::nn) weight: &'a [f32],
    pub(in crate::nn) bias: &'a [f32],
    pub(in crate::nn) shape: ConvShape,
}

/// Weights of a residual block.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct BlockWeights<'a> {
    pub(in crate::nn) first: Weights<'a>,
    pub(in crate::nn) second: Weights<'a>,
    pub(in crate::nn) shortcut: Option<Weights<'a>>,
    /// Whether it starts with 2×2 average pooling.
    pub(in crate::nn) pooled: bool,
}
