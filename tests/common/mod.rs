//! Devices and comparisons shared by the tests.

#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, DeviceKind, Tensor, TensorData},
};

/// The CPU and the Vulkan adapter (Mesa's lavapipe on machines without a GPU). On a machine without any
/// Vulkan driver set MIXWELL_NO_GPU=1; otherwise a missing adapter fails the tests, so that the GPU
/// half is never skipped silently.
pub fn devices() -> Vec<(&'static str, Device)> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| {
        std::env::var_os("MIXWELL_NO_GPU").is_none().then(|| {
            // Not `wgpu_options`: they fail on a device that is open already, and reading a checkpoint
            // opens it.
            let device = Device::wgpu(DeviceKind::DefaultDevice);
            let one = host(Tensor::<1>::ones([1], &device));
            assert_eq!(one, [1.0], "a Vulkan adapter (or MIXWELL_NO_GPU=1)");
            device
        })
    });
    let mut all = vec![("cpu", Device::flex())];
    all.extend(gpu.clone().map(|d| ("wgpu", d)));
    all
}

/// The GPU of [`devices`]. Says so if there is none.
pub fn gpu() -> Option<Device> {
    two_devices().into_iter().nth(1).map(|(_, device)| device)
}

/// [`devices`] for a test that compares devices, which means nothing with one alone: the run then says that
/// nothing was compared.
pub fn two_devices() -> Vec<(&'static str, Device)> {
    let all = devices();
    if all.len() < 2 {
        skipped("devices are not compared: MIXWELL_NO_GPU is set, so there is only the CPU");
    }
    all
}

/// Says that a test, or a part of one, did not run. The test harness captures what the print macros write,
/// so this writes to the standard error itself: it is seen although the test passes.
pub fn skipped(why: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "SKIPPED in {test}: {why}");
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

/// Largest difference, relative to the largest expected value.
#[track_caller]
pub fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f - e).abs() / scale)
        .fold(0.0, f64::max);
    println!("{what}: {worst:.1e} of {scale:.2e}, tolerance {tolerance:.0e}");
    // Not `worst > tolerance`: a NaN must fail.
    assert!(
        worst <= tolerance && found.iter().all(|v| v.is_finite()),
        "{what}: off by {worst:e} of {scale:e}, tolerance {tolerance:e}"
    );
}

/// The numbers of a fixture's list.
pub fn numbers(list: &serde_json::Value) -> Vec<f64> {
    let list = list.as_array().unwrap();
    list.iter().map(|v| v.as_f64().unwrap()).collect()
}

/// As fixtures store a tensor: up to `whole` values; of more the norm and `count` projections on the streams
/// from `first` on.
pub fn sketch(values: &[f64], whole: usize, first: u64, count: u64) -> Vec<f64> {
    if values.len() <= whole {
        return values.to_vec();
    }
    let along = |k: u64| -> f64 {
        let direction = pseudo(first + k, values.len());
        let pairs = values.iter().zip(direction);
        pairs.map(|(v, d)| v * f64::from(d)).sum()
    };
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    std::iter::once(norm).chain((0..count).map(along)).collect()
}

/// A parameter of a module.
pub struct Parameter {
    pub path: String,
    /// Whether an optimiser trains it.
    pub trained: bool,
    pub values: Vec<f64>,
}

/// All parameters of a module in visiting order.
pub fn parameters(module: &impl Module) -> Vec<Parameter> {
    #[derive(Default)]
    struct Visitor {
        path: Vec<String>,
        all: Vec<Parameter>,
    }
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            self.all.push(Parameter {
                path: self.path.join("."),
                trained: param.is_require_grad(),
                values: host(match value.is_autodiff() {
                    true => value.inner(),
                    false => value,
                }),
            });
        }
    }
    let mut visitor = Visitor::default();
    module.visit(&mut visitor);
    visitor.all
}

/// The values of all parameters of a module in visiting order.
pub fn values(module: &impl Module) -> Vec<Vec<f64>> {
    let all = parameters(module).into_iter();
    all.map(|parameter| parameter.values).collect()
}

/// n numbers in [−1, 1) of stream `index`, the same as in the fixtures' scripts and exact in f32.
pub fn pseudo(index: u64, n: usize) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let mut h = i + 1 + index * 1_000_003;
            h = h.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h ^= h >> 32;
            h = h.wrapping_mul(0xD6E8_FEB8_6659_FD93);
            h ^= h >> 32;
            (h >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// Overwrites all parameters like the fixtures' `Filler`, one stream each from `first` + 1 on.
pub struct Fill {
    next: u64,
    path: Vec<String>,
}

impl Fill {
    pub fn new(first: u64) -> Self {
        Self {
            next: first,
            path: Vec::new(),
        }
    }
}

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.next += 1;
        let dims = param.dims();
        let h = pseudo(self.next, dims.iter().product());
        let values: Vec<f32> = match self.path.last().map(String::as_str) {
            Some("u" | "v") => {
                let norm = h.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                h.iter().map(|&v| (f64::from(v) / norm) as f32).collect()
            }
            name => {
                let (shift, scale) = match (name, D) {
                    (Some("gamma"), _) => (1.0, 0.3),
                    (Some("running_mean"), _) => (0.0, 0.2),
                    (Some("running_var"), _) => (1.0, 0.5),
                    (_, 4) => (0.0, 0.2),
                    (_, 2) => (0.0, (3.0 / dims[0] as f64).sqrt()),
                    _ => (0.0, 0.1),
                };
                h.iter()
                    .map(|&v| (shift + scale * f64::from(v)) as f32)
                    .collect()
            }
        };
        param.map(|old| {
            let device = old.device().inner();
            let new = Tensor::from_data(TensorData::new(values, dims), &device);
            match (old.is_autodiff(), old.is_require_grad()) {
                (true, true) => new.autodiff().require_grad(),
                (true, false) => new.autodiff(),
                _ => new,
            }
        })
    }
}
