//! Networks and layers. Inside the flow, images are channels-last, `[B, H, W, C]`: a pointwise
//! convolution is then one matrix product, and a slice of channels is a slice of the last axis.

pub mod augment;
pub mod conv;
#[cfg(any(feature = "native", feature = "web-cpu"))]
mod cpu;
pub mod dict;
pub mod ema;
pub mod encoder;
pub mod flow;
mod frozen;
pub mod generator;
#[cfg(feature = "kernels")]
mod gpu;
pub mod gradient;
pub mod layers;
pub mod resnet;
pub mod spectral;
pub mod tilt;
mod window;

#[cfg(any(feature = "native", feature = "web-cpu"))]
pub use cpu::use_kernels;
