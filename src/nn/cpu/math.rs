//! What the plans share: SIMD for loops that the compiler vectorises, leaky ReLU, buffers.

use super::{super::layers::LEAK, conv::arch};

/// Runs loops with the SIMD instructions of this machine: the compiler may use them in here only, because
/// the program also runs on machines without. Only what is inlined uses them, so closures and what they
/// call must be.
#[inline(always)]
pub(super) fn vectorised<R>(loops: impl FnOnce() -> R) -> R {
    arch().dispatch(loops)
}

const SLOPE: f32 = LEAK as f32;

/// Leaky ReLU: the larger of two values, a single instruction.
#[inline(always)]
pub(super) fn leaky(v: f32) -> f32 {
    let low = v * SLOPE;
    if v > low { v } else { low }
}

/// g·∂leaky(x)/∂x, with the slope below zero at 0, too, as in PyTorch. Without a branch, so that the
/// compiler uses SIMD.
#[inline(always)]
pub(super) fn through_leaky(g: f32, x: f32) -> f32 {
    g * if x > 0.0 { 1.0 } else { SLOPE }
}

/// A buffer of this length, which holds anything.
pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}
