//! Trains an energy-based model on a folder of your own images and samples it.
//!
//!     cargo run --release --example own_folder -- FOLDER
//!
//! Without a folder it draws some pictures as training data. All output goes to a temporary folder: the
//! run with its metrics, checkpoints and grids, and the finished model with its card. The command line
//! does the same with `mixwell train clel --data FOLDER`.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use burn::tensor::Device;
use mixwell::{
    Result,
    data::{DataRef, Source},
    rng::Rng,
    sampler::{Run, SamplerConfig},
    system,
    train::{Event, Intent, Request},
};

/// If set, for example by a signal handler, the run ends with a checkpoint.
static CANCEL: AtomicBool = AtomicBool::new(false);

fn main() -> Result<()> {
    let root = std::env::temp_dir().join("mixwell-own-folder");
    let _ = std::fs::remove_dir_all(&root);
    let folder = match std::env::args().nth(1) {
        Some(folder) => folder,
        None => pictures(root.join("shapes")),
    };

    // A recipe is a preset with overrides. "smoke" takes seconds and learns almost nothing; use "cpu"
    // for real training.
    let request = Request {
        preset: "smoke".into(),
        data: folder.parse::<DataRef>()?,
        source: Source::default(),
        set: vec!["clel.iterations=40".into()],
        begun: Vec::new(),
        runs: root.join("runs"),
        name: None,
        intent: Intent::Begin,
        models: root.join("models"),
        device: Device::flex(),
        others: Vec::new(),
        device_name: "CPU".into(),
        cancel: &CANCEL,
    };
    let model = (system::find("clel")?.train)(&request, &mut |event| match event {
        Event::Metrics {
            iteration, values, ..
        } => println!("{iteration:>5}  {values:.3?}"),
        Event::Incident { incident } => println!("{incident}"),
        _ => {}
    })?;

    // Load the finished model and run its own kind of chains.
    let device = Device::flex();
    let (card, model) = system::read_model(&model.to_string_lossy(), &device)?;
    println!("{}: {}", card.title, card.data.preprocessing);
    let rng = Rng::new(1);
    let config = SamplerConfig {
        step_size: card.step_size("pixel", "sgld"),
        warmup: 0,
        ..SamplerConfig::new("sgld")
            .with("noise", 0.001)
            .with("clamp", true)
    };
    let starts = model.starts("pixel", &rng, 4, 1.0)?;
    let mut run = Run::new(model.target("pixel")?, &config, rng, starts)?;
    let draws = pollster::block_on(run.advance(20))?;
    if let (Some(first), Some(last)) = (draws.first(), draws.last()) {
        println!(
            "E of four chains from noise: {:.3?}, after {} steps {:.3?}; T = σ²/(2a) = {:.1e}",
            first.energy,
            draws.len(),
            last.energy,
            run.temperature()
        );
    }
    Ok(())
}

/// A hundred pictures of bars and rings.
fn pictures(folder: PathBuf) -> String {
    for k in 0..100u32 {
        let class = if k % 2 == 0 { "bars" } else { "rings" };
        let picture = image::GrayImage::from_fn(28, 28, |x, y| {
            let (dx, dy) = (f64::from(x) - 14.0, f64::from(y) - 14.0);
            let on = match class {
                "bars" => (x + k) % 9 < 4,
                _ => (dx.hypot(dy) - 5.0 - f64::from(k % 7)).abs() < 1.5,
            };
            image::Luma([if on { 230 } else { 10 }])
        });
        let path = folder.join(class).join(format!("{k}.png"));
        if let Some(parent) = path.parent() {
            let made = std::fs::create_dir_all(parent).map_err(image::ImageError::IoError);
            if let Err(e) = made.and_then(|()| picture.save(&path)) {
                eprintln!("{}: {e}", path.display());
            }
        }
    }
    folder.to_string_lossy().into_owned()
}
