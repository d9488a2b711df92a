//! `docs/bench/native.json`: our kernels beside the tensor library's and beside PyTorch, in one run.

use std::{path::Path, process::Command};

use burn::tensor::{Device, Tensor};
use mixwell::{
    Error,
    energy::Energy,
    eval::inception::Inception,
    nn::{layers::Init, resnet::EnergyNet, use_kernels},
    rng::{Purpose, Rng},
    system::{self, clel, flow_ebm, latent_prior},
};
use serde_json::{Value, json};

use super::time;

/// Images of a gradient's batch.
const BATCH: usize = 32;

const FILE: &str = "docs/bench/native.json";

/// Milliseconds with our kernels, and with the tensor library's.
fn both(mut f: impl FnMut()) -> (f64, f64) {
    let ours = time(&mut f);
    use_kernels(false);
    let before = time(&mut f);
    use_kernels(true);
    (ours, before)
}

fn ran(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    out.status.success().then(|| text.trim().to_string())
}

/// What PyTorch takes on as many threads, if it is installed.
fn pytorch(threads: usize) -> Value {
    let python = std::env::var("MIXWELL_PYTHON").unwrap_or_else(|_| "python3".into());
    let text = ran(
        &python,
        &[
            "examples/bench/pytorch.py",
            &BATCH.to_string(),
            &threads.to_string(),
        ],
    );
    text.and_then(|t| serde_json::from_str(&t).ok())
        .unwrap_or_default()
}

fn gradient(target: &dyn Energy, x: &Tensor<2>) -> Value {
    let (ms, flex) = both(|| {
        let _ = target.point(x.clone()).gradient.sum().into_data();
    });
    json!({ "ms": ms, "flex_ms": flex })
}

/// One iteration of each system's `cpu` preset.
fn trainings(device: &Device) -> Result<Value, Error> {
    let rng = Rng::new(1);
    let images = |batch, dim| rng.uniform_rows(Purpose::Data, 0, 0, batch, dim, device);
    let pair = |(ms, before): (f64, f64)| json!({ "ms_per_iteration": ms, "before_ms": before });
    let mut all = json!({});
    if let Some((_, recipe)) = clel::PRESETS.iter().find(|(name, _)| *name == "cpu") {
        let stage = recipe().clel;
        let x = images(stage.batch, stage.energy.dim());
        let mut training = clel::learn::Training::new(&stage, 1, device)?;
        all["clel"] = pair(both(|| {
            let _ = pollster::block_on(training.step(&stage, x.clone()));
        }));
    }
    if let Some((_, recipe)) = flow_ebm::PRESETS.iter().find(|(name, _)| *name == "cpu") {
        let recipe = recipe();
        let stage = recipe.flow;
        let x = images(recipe.batch, stage.architecture.dim());
        let mut training = flow_ebm::FlowTraining::new(&stage, 0.99, 1, x.clone())?;
        all["flow_ebm"] = pair(both(|| {
            let _ = pollster::block_on(training.step(&stage, x.clone()));
        }));
    }
    if let Some((_, recipe)) = latent_prior::PRESETS
        .iter()
        .find(|(name, _)| *name == "cpu")
    {
        let stage = recipe().latent;
        let x = images(stage.batch, stage.generator.dim());
        let mut training = latent_prior::Training::new(&stage, 1, device)?;
        all["latent_prior"] = pair(both(|| {
            let _ = pollster::block_on(training.step(&stage, x.clone()));
        }));
    }
    Ok(all)
}

/// Images a second through the FID network, which `MIXWELL_INCEPTION` names.
fn inception(device: &Device) -> Result<Value, Error> {
    const IMAGES: usize = 8;
    let Ok(file) = std::env::var("MIXWELL_INCEPTION") else {
        return Ok(Value::Null);
    };
    let net = Inception::open(Path::new(&file), device)?;
    let x = Rng::new(1)
        .uniform_rows(Purpose::Data, 0, 0, IMAGES, 784, device)
        .reshape([IMAGES, 1, 28, 28]);
    let (ours, before) = both(|| {
        let _ = net.features(x.clone()).sum().into_data();
    });
    let rate = |ms: f64| IMAGES as f64 / ms * 1e3;
    Ok(json!({ "images_per_second": rate(ours), "before": rate(before) }))
}

/// Measures everything and writes the file.
pub fn write(device: &Device) -> Result<(), Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(threads);
    let rng = Rng::new(1);

    let Some((_, recipe)) = clel::PRESETS.iter().find(|(name, _)| *name == "cpu") else {
        return Ok(());
    };
    let config = recipe().clel.energy;
    let tracked = device.clone().autodiff();
    let net = EnergyNet::new(&config, &mut Init::new(1, &tracked))?.frozen();
    let x = rng.uniform_rows(Purpose::Data, 0, 0, BATCH, config.dim(), device);
    let (ms, flex) = both(|| {
        let _ = net.energy_and_gradient(x.clone()).1.sum().into_data();
    });
    let torch = pytorch(threads);
    let clel = json!({
        "batch": BATCH,
        "ms": ms,
        "flex_ms": flex,
        "pytorch_ms": torch["clel_gradient"]["eager"],
        "pytorch_channels_last_ms": torch["clel_gradient"]["channels_last"],
    });

    let mut report = json!({
        "date": ran("date", &["-u", "+%F"]),
        "commit": ran("git", &["rev-parse", "--short", "HEAD"]),
        "machine": {
            "cpu": ran("sh", &["-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"]),
            "avx512": std::arch::is_x86_feature_detected!("avx512f"),
            "threads": threads,
            "pytorch": torch["version"],
        },
        "clel_gradient": clel,
    });
    for (model, spaces) in [
        ("flow-ebm-mnist", ["latent", "pixel"]),
        ("latent-prior-mnist", ["latent", "pixel"]),
    ] {
        let (_, loaded) = system::read_model(model, device)?;
        for space in spaces {
            let x = loaded.starts(space, &rng, BATCH, 1.0)?;
            report["gradient"][format!("{model}/{space}")] = gradient(&*loaded.target(space)?, &x);
        }
    }
    report["training"] = trainings(device)?;
    report["inception"] = inception(device)?;
    let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    print!("{text}");
    let path = Path::new(FILE);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    std::fs::write(path, text).map_err(Error::io("write", path))
}
