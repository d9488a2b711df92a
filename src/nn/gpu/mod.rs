//! Kernels of our own for the GPU, in CubeCL: what a transition is made of, in few dispatches over buffers
//! that are allocated once.
//!
//! Activations are stored as `[B, ⌈C/4⌉, H, W, 4]`: a load takes four channels of a pixel, and neighbouring
//! instances, which make neighbouring pixels, read neighbouring memory. The channels that fill up the last
//! four are zeros: their weights are.

mod conv;
pub(super) mod trunk;
