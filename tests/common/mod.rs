//! Devices and tolerances that the tests share.

#![allow(dead_code)] // each test file uses its part

use std::sync::OnceLock;

use burn::tensor::{Device, DeviceKind, Tensor};

/// The CPU and the graphics adapter (Mesa's lavapipe where there is no GPU). A machine without any
/// Vulkan driver says so by MIXWELL_NO_GPU=1; otherwise a missing adapter fails the tests, so that
/// the GPU half is never skipped unseen.
pub fn devices() -> Vec<(&'static str, Device)> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| {
        std::env::var_os("MIXWELL_NO_GPU").is_none().then(|| {
            Device::wgpu_options()
                .device_kind(DeviceKind::DefaultDevice)
                .init()
                .expect("a Vulkan adapter (or MIXWELL_NO_GPU=1)")
        })
    });
    let mut all = vec![("cpu", Device::flex())];
    all.extend(gpu.clone().map(|d| ("wgpu", d)));
    all
}

/// The CPU, after the graphics adapter was opened: reading a checkpoint touches burn's default device,
/// and what it opens by itself can no longer be opened as another test wants it.
pub fn cpu() -> Device {
    devices().swap_remove(0).1
}

pub fn host<const D: usize>(t: Tensor<D>) -> Vec<f64> {
    t.into_data().iter::<f64>().collect()
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * e.abs().max(1.0),
            "value {i}: found {f}, expected {e}, tolerance {tolerance}"
        );
    }
}
