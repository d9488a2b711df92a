//! `mixwell doctor`: devices, limits and speed of this machine.

use std::time::Instant;

use burn::tensor::{Device, DeviceKind, Tensor};
use serde::Serialize;

use super::{Outcome, device::is_software, print_json};
use crate::{
    error::{Error, Result},
    nn::{
        layers::{Conv, Init},
        resnet::{EnergyNet, EnergyNetConfig, Precision},
        tilt::{Tilt, TiltConfig},
    },
    rng::{Purpose, Rng},
};

/// Inspect the machine: devices, driver, limits, speed, and whether GPU and CPU compute the same
/// energies.
#[derive(clap::Args)]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    threads: usize,
    gpu: Option<Adapter>,
    /// Why no GPU could be opened.
    gpu_problem: Option<String>,
    speeds: Vec<Speed>,
}

#[derive(Serialize)]
struct Adapter {
    name: String,
    backend: String,
    driver: String,
    kind: String,
    /// Whether the adapter is a software renderer on the CPU.
    software: bool,
    max_buffer_bytes: u64,
    max_workgroup: u32,
    /// Largest difference of an energy from the CPU's, relative to the largest CPU energy.
    difference_from_cpu: f64,
    agrees: bool,
}

#[derive(Serialize)]
struct Speed {
    device: &'static str,
    /// Product of two 512 × 512 matrices.
    matrix_gflops: f64,
    /// 3×3 convolution, 32 → 32 channels, 32 images of 28×28.
    convolution_gflops: f64,
    /// Gradient of a small energy for 32 images of 28×28, in milliseconds.
    gradient_ms: f64,
    /// Gradient of CLEL's energy in milliseconds, for each precision of its trunks; `None` where the
    /// device does not support it. If a 16-bit precision is faster than 32 bits, set `clel.precision`
    /// to it. A CPU is measured with the network and batch of the preset `cpu`, a GPU with those of
    /// `small`: on the smaller network, kernel launches would dominate.
    clel_gradient_ms: Precisions,
}

#[derive(Serialize)]
struct Precisions {
    f32: Option<f64>,
    f16: Option<f64>,
    bf16: Option<f64>,
}

/// Largest accepted relative difference from the CPU.
const TOLERANCE: f64 = 1e-4;

impl DoctorArgs {
    /// Measures and prints.
    ///
    /// # Errors
    /// [`Error::Device`] when a device cannot be read, or when the GPU's energies differ from the CPU's.
    /// A missing GPU is not an error.
    pub fn run(self) -> Result<Outcome> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let opened = Device::wgpu_options()
            .device_kind(DeviceKind::DefaultDevice)
            .init_with_setup();
        let mut speeds = vec![speed("CPU", &Device::flex(), true)?];
        let (gpu, gpu_problem) = match opened {
            Ok((device, setup)) => {
                let info = setup.adapter.get_info();
                let limits = setup.adapter.limits();
                let difference = difference(&device)?;
                let software = is_software(info.device_type);
                speeds.push(speed("GPU", &device, software)?);
                let adapter = Adapter {
                    name: info.name,
                    backend: format!("{:?}", info.backend),
                    driver: format!("{} {}", info.driver, info.driver_info)
                        .trim()
                        .into(),
                    software,
                    kind: format!("{:?}", info.device_type),
                    max_buffer_bytes: limits.max_buffer_size,
                    max_workgroup: limits.max_compute_invocations_per_workgroup,
                    difference_from_cpu: difference,
                    agrees: difference <= TOLERANCE,
                };
                (Some(adapter), None)
            }
            Err(e) => (None, Some(e.to_string())),
        };
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            threads,
            gpu,
            gpu_problem,
            speeds,
        };
        if self.json {
            print_json(&report)?;
        } else {
            print(&report);
        }
        match &report.gpu {
            Some(gpu) if !gpu.agrees => Err(Error::Device {
                problem: format!(
                    "{} computes energies that differ from the CPU's by {:.1e}, allowed {TOLERANCE:.0e}",
                    gpu.name, gpu.difference_from_cpu
                ),
                fix: "update the graphics driver, or use --device cpu".into(),
            }),
            _ => Ok(Outcome::Done),
        }
    }
}

fn print(report: &Report) {
    println!("mixwell {}", report.version);
    println!("CPU        {} threads", report.threads);
    match (&report.gpu, &report.gpu_problem) {
        (Some(gpu), _) => {
            println!(
                "GPU        {} ({}, {}{})",
                gpu.name,
                gpu.backend,
                gpu.kind,
                if gpu.software {
                    ": a software renderer, slower than --device cpu"
                } else {
                    ""
                }
            );
            println!("driver     {}", gpu.driver);
            println!(
                "limits     buffers of {} MiB, workgroups of {}",
                gpu.max_buffer_bytes >> 20,
                gpu.max_workgroup
            );
            println!(
                "agreement  energies differ from the CPU's by {:.1e} ({})",
                gpu.difference_from_cpu,
                if gpu.agrees { "good" } else { "bad" }
            );
        }
        (None, problem) => println!(
            "GPU        none ({}): everything runs on the CPU; Vulkan, Metal or DirectX 12 is faster",
            problem.as_deref().unwrap_or("no adapter")
        ),
    }
    println!(
        "\nspeed (rough)               matrix product   3×3 convolution   gradient of a small energy"
    );
    for s in &report.speeds {
        println!(
            "{:<28}{:>8.1} GFLOP/s {:>9.1} GFLOP/s {:>16.1} ms",
            s.device, s.matrix_gflops, s.convolution_gflops, s.gradient_ms
        );
    }
    println!(
        "\nCLEL gradient, for each clel.precision              f32             f16            bf16"
    );
    for s in &report.speeds {
        let Precisions { f32, f16, bf16 } = &s.clel_gradient_ms;
        let [a, b, c] = [f32, f16, bf16].map(|ms| match ms {
            Some(ms) => format!("{ms:.1} ms"),
            None => "unsupported".into(),
        });
        println!("{:<40}{a:>15} {b:>15} {c:>15}", s.device);
    }
}

fn images(device: &Device) -> Tensor<2> {
    Rng::new(1).uniform_rows(Purpose::Data, 0, 0, 32, 784, device)
}

fn energy(device: &Device) -> Tilt {
    let config = TiltConfig::Conv { channels: 16 };
    Tilt::new(&config, [1, 28, 28], &mut Init::new(1, device))
}

fn host(t: Tensor<1>) -> Result<Vec<f64>> {
    pollster::block_on(crate::device::read(t))
}

fn difference(device: &Device) -> Result<f64> {
    let of = |device: &Device| host(energy(device).forward(images(device)));
    let (found, expected) = (of(device)?, of(&Device::flex())?);
    let scale = expected.iter().fold(1e-12f64, |m, v| m.max(v.abs()));
    let worst = found
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0.0, f64::max);
    // f64::max drops NaN, so check for it here.
    Ok(if found.iter().all(|v| v.is_finite()) {
        worst
    } else {
        f64::INFINITY
    })
}

/// Seconds of the fastest of four calls. Reading one value back waits for the whole computation.
fn seconds(mut call: impl FnMut() -> Tensor<1>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let began = Instant::now();
        host(call())?;
        best = best.min(began.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn speed(name: &'static str, device: &Device, software: bool) -> Result<Speed> {
    let square = |k: u32| Rng::new(2).normal_tensor(Purpose::Data, k, 512, 512, device);
    let (a, b) = (square(0), square(1));
    let product = seconds(|| a.clone().matmul(b.clone()).sum())?;
    let conv = Conv::new(&mut Init::new(1, device), 32, 32, 3, 1, 1, 1.0);
    let x = Rng::new(3)
        .normal_tensor(Purpose::Data, 0, 32, 32 * 784, device)
        .reshape([32, 32, 28, 28]);
    let convolution = seconds(|| conv.forward(x.clone()).sum())?;
    let (net, x) = (energy(device), images(device));
    let gradient = seconds(|| {
        let leaf = x.clone().autodiff().require_grad();
        let mut grads = net.forward(leaf.clone()).sum().backward();
        leaf.grad_remove(&mut grads)
            .unwrap_or_else(|| x.zeros_like())
            .sum()
    })?;
    let (clel, batch) = match software {
        true => (EnergyNetConfig::tiny([1, 28, 28], &[0.286], &[0.353]), 32),
        false => (
            EnergyNetConfig::small([3, 32, 32], &[0.5; 3], &[0.25; 3]),
            64,
        ),
    };
    let x = Rng::new(4).uniform_rows(Purpose::Data, 0, 0, batch, clel.dim(), device);
    let tracked = device.clone().autodiff();
    let clel = EnergyNet::new(&clel, &mut Init::new(1, &tracked))?.frozen();
    let in_precision = |precision: Precision| -> Result<Option<f64>> {
        if !precision.is_supported(device) {
            return Ok(None);
        }
        let net = clel.clone().in_precision(precision);
        let gradient = || net.energy_and_gradient(x.clone()).1.sum();
        Ok(Some(seconds(gradient)? * 1e3))
    };
    Ok(Speed {
        clel_gradient_ms: Precisions {
            f32: in_precision(Precision::F32)?,
            f16: in_precision(Precision::F16)?,
            bf16: in_precision(Precision::Bf16)?,
        },
        device: name,
        matrix_gflops: 2.0 * 512f64.powi(3) / product / 1e9,
        convolution_gflops: 2.0 * (32.0 * 32.0 * 9.0) * (32.0 * 784.0) / convolution / 1e9,
        gradient_ms: gradient * 1e3,
    })
}
