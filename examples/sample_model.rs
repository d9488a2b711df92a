//! Samples a shipped model in its latent space and prints convergence diagnostics.
//!
//!     cargo run --release --example sample_model

use burn::tensor::Device;
use mixwell::{
    Result,
    diagnostics::{Rule, largest_rhat, smallest_ess},
    image,
    rng::Rng,
    sampler::{Run, SamplerConfig, Trace},
    system,
};

fn main() -> Result<()> {
    let device = Device::flex();
    let (card, model) = system::read_model("latent-prior-mnist", &device)?;
    let target = model.target("latent")?;
    let config = SamplerConfig {
        sampler: "hmc".into(),
        step_size: card.step_size("latent", "hmc"),
        warmup: 50,
        ..SamplerConfig::default()
    };

    // Starts, noise and acceptance are functions of the seed, so the run is reproducible.
    let rng = Rng::new(1);
    let starts = model.starts("latent", &rng, 16, 1.2)?;
    let mut trace = Trace::new(target.observables(), 16);
    let mut run = Run::new(target.clone(), &config, rng, starts)?;
    for draw in pollster::block_on(run.advance(250))? {
        trace.push(&draw);
    }

    let summaries = trace.summaries(&Rule::default())?;
    println!("{}: T = σ²/(2a) = {:.2}", card.title, run.temperature());
    println!(
        "acceptance {:.2}, worst R-hat {:.3}, smallest bulk ESS {:.0}",
        trace.acceptance(),
        largest_rhat(&summaries).unwrap_or(f64::NAN),
        smallest_ess(&summaries).unwrap_or(f64::NAN),
    );
    if let Some(images) = target.to_image(run.states()) {
        let values: Vec<f32> = images.into_data().iter().collect();
        let path = std::env::temp_dir().join("mixwell-samples.png");
        image::write_grid(&path, &values, 16, model.shape())?;
        println!("the chains' last images are in {}", path.display());
    }
    Ok(())
}
