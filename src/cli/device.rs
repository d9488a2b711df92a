//! Compute devices on the command line.

use std::{fmt::Debug, str::FromStr};

use burn::tensor::{Device, DeviceKind};

use crate::error::{Error, Result};

/// A compute device: `cpu`, `gpu`, or `gpu:N` for the N-th discrete GPU of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor (burn's flex backend).
    Cpu,
    /// A GPU (wgpu: Vulkan, Metal or DirectX 12): the default one, or the N-th discrete one.
    Gpu(Option<usize>),
    /// An NVIDIA GPU through CUDA (feature "cuda").
    #[cfg(feature = "cuda")]
    Cuda,
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if let Some(number) = s.strip_prefix("gpu:").and_then(|n| n.parse().ok()) {
            return Ok(Self::Gpu(Some(number)));
        }
        match s {
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            #[cfg(feature = "cuda")]
            "cuda" => Ok(Self::Cuda),
            _ => Err(Error::invalid(
                "device",
                "cpu, gpu, or gpu:N for the N-th discrete GPU",
                format!("{s:?}"),
                "run `mixwell doctor` to list the devices",
            )),
        }
    }
}

impl DeviceName {
    /// Opens the device; returns it with its display name.
    ///
    /// # Errors
    /// [`Error::Device`] when no graphics adapter can be opened.
    pub fn open(self) -> Result<(Device, String)> {
        match self {
            Self::Cpu => {
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                Ok((Device::flex(), format!("CPU, {threads} threads (flex)")))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok((Device::cuda(0), "CUDA device 0".into())),
            Self::Gpu(number) => {
                let kind = match number {
                    Some(n) => DeviceKind::DiscreteGpu(n),
                    None => DeviceKind::DefaultDevice,
                };
                let (device, setup) = Device::wgpu_options()
                    .device_kind(kind)
                    .init_with_setup()
                    .map_err(|e| Error::Device {
                        problem: format!("no graphics adapter could be opened: {e}"),
                        fix: "install a Vulkan driver (Mesa's mesa-vulkan-drivers runs on any CPU), or use --device cpu".into(),
                    })?;
                let info = setup.adapter.get_info();
                if is_software(info.device_type) {
                    eprintln!(
                        "warning: {} computes on the CPU; --device cpu gives the same and is faster",
                        info.name
                    );
                }
                Ok((device, format!("{} ({:?}, wgpu)", info.name, info.backend)))
            }
        }
    }
}

/// Whether an adapter of this type (`wgpu::DeviceType`) is a program on the CPU.
pub(super) fn is_software(device_type: impl Debug) -> bool {
    format!("{device_type:?}") == "Cpu"
}
