//! `cargo xtask bench`: ratios of speeds, each measured in this one run. Ratios travel between
//! machines better than seconds do.

use std::{sync::Arc, time::Instant};

use burn::tensor::{Device, Tensor};
use mixwell::{
    artifact,
    diagnostics::{Draws, Rule, summarise},
    energy::{Energy, Gaussian},
    rng::{Purpose, Rng},
    sampler::{REGISTRY, Run, SamplerConfig},
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
        // Reading one number waits for the device.
        let _ = point.gradient.sum().into_data();
    })
}

/// ArviZ's milliseconds in this very run, where it is installed.
fn arviz(chains: usize, draws: usize) -> Option<f64> {
    let python = std::env::var("MIXWELL_PYTHON").unwrap_or_else(|_| "python3".into());
    let out = std::process::Command::new(python)
        .arg("examples/arviz_bench.py")
        .args([chains.to_string(), draws.to_string()])
        .output()
        .ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

/// What a transition costs beyond its gradients, 64 chains in the plane.
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
            "{}: time of a transition ÷ its gradients' {:.1}",
            r.name,
            ms / (one * gradients / 100.0)
        );
    }
}

fn main() -> Result<(), mixwell::Error> {
    let device = Device::flex();
    let (_, model) = artifact::read_model("flow-ebm-mnist", &device)?;
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
        "latent gradient ÷ Gaussian's, 16 chains: {:.0}",
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
        "diagnostics of 1,000 × 1,000 draws: {all:.0} ms, {:.1} times one sort of them",
        all / sort
    );
    match arviz(1000, 1000) {
        Some(ms) => println!("ArviZ ÷ ours, the same statistics: {:.1}", ms / all),
        None => println!(
            "ArviZ ÷ ours: not measured (pip install arviz-stats; MIXWELL_PYTHON names the interpreter)"
        ),
    }
    samplers(&device);
    Ok(())
}
