//! `cargo xtask bench`: ratios of speeds, all measured in one run. Ratios are more portable between
//! machines than seconds. Writes `docs/bench/native.json`.

mod native;

use std::{sync::Arc, time::Instant};

use burn::tensor::{Device, Tensor};
use mixwell::{
    data::folder,
    diagnostics::{Draws, Rule, summarise},
    energy::{Energy, Gaussian},
    nn::{
        layers::Init,
        resnet::{EnergyNet, Precision},
    },
    rng::{Purpose, Rng},
    sampler::{REGISTRY, Run, SamplerConfig},
    system::{
        self, clel,
        flow_ebm::{FlowTraining, PRESETS},
    },
    train::{Batches, dequantised},
};

/// Best of five, in milliseconds, after one warm-up.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    (0..5)
        .map(|_| {
            let began = Instant::now();
            f();
            began.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

fn gradient(target: &dyn Energy, x: &Tensor<2>) -> f64 {
    time(|| {
        let point = target.point(x.clone());
        // Reading one number synchronises with the device.
        let _ = point.gradient.sum().into_data();
    })
}

/// ArviZ's milliseconds in the same run, if it is installed.
fn arviz(chains: usize, draws: usize) -> Option<f64> {
    let python = std::env::var("MIXWELL_PYTHON").unwrap_or_else(|_| "python3".into());
    let out = std::process::Command::new(python)
        .arg("examples/bench/arviz.py")
        .args([chains.to_string(), draws.to_string()])
        .output()
        .ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

/// Cost of a transition relative to its gradients, for 64 chains in the plane.
fn samplers(device: &Device) {
    let target = (mixwell::energy::find("banana").map(|r| r.build)).map(|build| build(device));
    let Ok(target) = target else { return };
    let x = Rng::new(1).normal_tensor(Purpose::Start, 0, 64, 2, device);
    let one = time(|| {
        for _ in 0..100 {
            let _ = target.point(x.clone());
        }
    });
    for r in REGISTRY.iter().filter(|r| r.name != "gibbs") {
        let config = SamplerConfig {
            sampler: r.name.into(),
            step_size: Some(0.1),
            warmup: 0,
            ..SamplerConfig::default()
        };
        let Ok(mut run) = Run::new(target.clone(), &config, Rng::new(1), x.clone()) else {
            continue;
        };
        let mut gradients = 0.0;
        let ms = time(|| {
            let before = run.gradients();
            let _ = pollster::block_on(run.advance(100));
            gradients = run.gradients() - before;
        });
        println!(
            "{}: time of a transition ÷ time of its gradients: {:.1}",
            r.name,
            ms / (one * gradients / 100.0)
        );
    }
}

/// Cost of reading and preparing images, relative to the training that waits for them.
fn data(device: &Device) -> Result<(), mixwell::Error> {
    let root = std::env::temp_dir().join(format!("mixwell-bench-{}", std::process::id()));
    std::fs::create_dir_all(&root).map_err(mixwell::Error::io("create", &root))?;
    let files: Vec<_> = (0..64u32).map(|k| root.join(format!("{k}.png"))).collect();
    for (k, file) in (0u32..).zip(&files) {
        let picture = image::RgbImage::from_fn(256, 256, |x, y| {
            image::Rgb([(x * (k + 1)) as u8, (y * 3) as u8, (x ^ y) as u8])
        });
        if let Err(e) = picture.save(file) {
            return Err(mixwell::Error::invalid(
                "picture",
                "to be written",
                e,
                "free disk space",
            ));
        }
    }
    let shape = [3, 32, 32];
    let serial = time(|| {
        for file in &files {
            let _ = folder::decode(file, shape);
        }
    });
    let parallel = time(|| {
        let _ = folder::load(&root, shape, usize::MAX);
    });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "decoding 64 pictures of 256×256 one by one ÷ in parallel: {:.1} ({threads} threads)",
        serial / parallel
    );
    let images = Arc::new(folder::load(&root, [1, 28, 28], usize::MAX)?);
    let _ = std::fs::remove_dir_all(&root);

    // Iterations of the cpu recipe's flow with prefetched batches; and the cost of making a batch.
    let Some((_, recipe)) = PRESETS.iter().find(|(name, _)| *name == "cpu") else {
        return Ok(());
    };
    let stage = recipe().flow;
    let mut batches = Batches::new(&images, 1, 64, 4, device);
    let mut training = FlowTraining::new(&stage, 0.99, 1, batches.get(0))?;
    let began = Instant::now();
    let before = batches.waited();
    for i in 1..9 {
        pollster::block_on(training.step(&stage, batches.get(i)))?;
    }
    let all = began.elapsed().as_secs_f64();
    println!(
        "share of flow training spent waiting for batches: {:.2} %",
        100.0 * (batches.waited() - before) / all
    );
    let indices: Vec<usize> = (0..64).collect();
    let alone = time(|| {
        let _ = dequantised(&images, &indices, 4, &Rng::new(1), 0, device);
    });
    println!(
        "making a batch ÷ an iteration: {:.2} %, hidden by the prefetch thread",
        100.0 * alone / (all / 8.0 * 1e3)
    );
    Ok(())
}

/// A batch split over copies of the CPU device, against operations that each use all cores.
fn several(device: &Device) -> Result<(), mixwell::Error> {
    let Some((_, recipe)) = clel::PRESETS.iter().find(|(name, _)| *name == "cpu") else {
        return Ok(());
    };
    let mut stage = recipe().clel;
    // A shorter iteration with the same structure.
    stage.chains.steps = 5;
    let rng = Rng::new(1);
    let dim = stage.energy.dim();
    let x = rng.uniform_rows(Purpose::Data, 0, 0, stage.batch, dim, device);
    let iteration = |others: usize| -> Result<f64, mixwell::Error> {
        let mut training = clel::learn::Training::new(&stage, 1, device)?;
        training.others = vec![device.clone(); others];
        Ok(time(|| {
            let _ = pollster::block_on(training.step(&stage, x.clone()));
        }))
    };
    let ratio = iteration(0)? / iteration(1)?;
    println!("an iteration of CLEL, --device cpu ÷ cpu,cpu: {ratio:.2}");
    let gradient = |precision: Precision| -> Result<f64, mixwell::Error> {
        let tracked = device.clone().autodiff();
        let net = EnergyNet::new(&stage.energy, &mut Init::new(1, &tracked))?.frozen();
        let net = net.in_precision(precision);
        Ok(time(|| {
            let _ = net.energy_and_gradient(x.clone()).1.into_data();
        }))
    };
    let full = gradient(Precision::F32)?;
    for precision in [Precision::F16, Precision::Bf16] {
        let ratio = gradient(precision)? / full;
        println!("CLEL's gradient, {precision:?} ÷ F32: {ratio:.2}");
    }
    Ok(())
}

fn main() -> Result<(), mixwell::Error> {
    let device = Device::flex();
    if std::env::args().any(|a| a == "--native") {
        return native::write(&device);
    }
    let (_, model) = system::read_model("flow-ebm-mnist", &device)?;
    let rng = Rng::new(1);
    let mut at = Vec::new();
    for space in model.spaces() {
        for chains in [4, 16, 64] {
            let x = model.starts(space, &rng, chains, 1.0)?;
            at.push((space, chains, gradient(&*model.target(space)?, &x)));
        }
    }
    for (space, chains, ms) in &at {
        println!("gradient, {space} space, {chains} chains: {ms:.1} ms");
    }
    let of = |s: &str, n: usize| {
        at.iter()
            .find(|(space, chains, _)| *space == s && *chains == n)
            .map_or(f64::NAN, |a| a.2)
    };
    println!(
        "pixel ÷ latent gradient, 16 chains: {:.2}",
        of("pixel", 16) / of("latent", 16)
    );
    println!(
        "64 ÷ 4 chains, latent: {:.1} (16 without batching)",
        of("latent", 64) / of("latent", 4)
    );

    let gaussian: Arc<dyn Energy> = Arc::new(Gaussian::new(&[0.0; 784], &[1.0; 784], &device));
    let x = rng.normal_tensor(Purpose::Start, 0, 16, 784, &device);
    println!(
        "latent gradient ÷ gradient of a Gaussian, 16 chains: {:.0}",
        of("latent", 16) / gradient(&*gaussian, &x)
    );

    let normals = rng.normals(Purpose::Data, 0, 1000, 1000);
    let chains: Vec<Vec<f64>> = normals
        .chunks(1000)
        .map(|c| c.iter().map(|&v| f64::from(v)).collect())
        .collect();
    let draws = Draws::new(&chains)?;
    let all = time(|| {
        let _ = summarise("x", &draws, &Rule::default());
    });
    let sort = time(|| {
        let mut v: Vec<f64> = chains.concat();
        v.sort_by(f64::total_cmp);
    });
    println!(
        "diagnostics of 1,000 × 1,000 draws: {all:.0} ms, {:.1} times the time of one sort",
        all / sort
    );
    match arviz(1000, 1000) {
        Some(ms) => println!("ArviZ ÷ ours, for the same statistics: {:.1}", ms / all),
        None => println!(
            "ArviZ ÷ ours: not measured (pip install arviz-stats; MIXWELL_PYTHON names the interpreter)"
        ),
    }
    samplers(&device);
    several(&device)?;
    data(&device)?;
    native::write(&device)
}
