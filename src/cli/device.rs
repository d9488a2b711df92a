//! Where to compute.

use burn::tensor::{Device, DeviceKind};
use clap::ValueEnum;

use crate::error::{Error, Result};

/// A compute device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// The processor (burn's flex backend).
    Cpu,
    /// The graphics processor (wgpu: Vulkan, Metal or DirectX 12).
    Gpu,
    /// An NVIDIA GPU through CUDA (feature "cuda").
    #[cfg(feature = "cuda")]
    Cuda,
}

impl DeviceName {
    /// Opens the device; returns it with a name for people.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no graphics adapter.
    pub fn open(self) -> Result<(Device, String)> {
        match self {
            Self::Cpu => {
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                Ok((Device::flex(), format!("CPU, {threads} threads (flex)")))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok((Device::cuda(0), "CUDA device 0".into())),
            Self::Gpu => {
                let (device, setup) = Device::wgpu_options()
                    .device_kind(DeviceKind::DefaultDevice)
                    .init_with_setup()
                    .map_err(|e| Error::Device {
                        problem: format!("no graphics adapter could be opened: {e}"),
                        fix: "install a Vulkan driver (Mesa's mesa-vulkan-drivers runs on any CPU), or use --device cpu".into(),
                    })?;
                let info = setup.adapter.get_info();
                Ok((device, format!("{} ({:?}, wgpu)", info.name, info.backend)))
            }
        }
    }
}
