//! `mixwell info` and `mixwell manifest`.

use std::path::PathBuf;

use super::{Outcome, device::DeviceName};
use crate::{
    artifact,
    error::{Error, Result},
    system,
};

/// Show a model's card, and check that the device reproduces the energies stored on it.
#[derive(clap::Args)]
pub struct InfoArgs {
    /// Model: a name under models/, or a folder.
    model: String,
    /// Device for the self-test.
    #[arg(long, default_value = "cpu", value_name = "cpu|gpu|gpu:N")]
    device: DeviceName,
    /// Print JSON: the card and the self-test.
    #[arg(long)]
    json: bool,
}

impl InfoArgs {
    /// Runs the self-test and prints the card.
    ///
    /// # Errors
    /// [`Error`] for a model or device that cannot be used, or when the self-test fails.
    pub fn run(self) -> Result<Outcome> {
        let (device, device_name) = self.device.open()?;
        let (card, model) = system::read_model(&self.model, &device)?;
        let test = pollster::block_on(system::self_test(&*model, &card.known_answer))?;
        if self.json {
            let value = serde_json::json!({
                "card": card,
                "parameters": model.parameters(),
                "device": device_name,
                "self_test": test,
            });
            println!("{value:#}");
        } else {
            println!("{} ({})\n{}\n", card.title, card.name, card.description);
            println!("system      {}", card.system);
            println!(
                "data        {} {:?}, {}",
                card.data.name, card.data.shape, card.data.preprocessing
            );
            println!("parameters  {}", model.parameters());
            println!("spaces      {}", model.spaces().join(", "));
            for (space, sizes) in &card.step_sizes {
                let sizes: Vec<String> = sizes.iter().map(|(s, v)| format!("{s} {v}")).collect();
                println!("step size   {space}: {}", sizes.join(", "));
            }
            println!("\nmetrics");
            for (name, value) in &card.metrics {
                println!("  {name}: {value}");
            }
            println!("\ntraining");
            for key in ["command", "preset", "images", "seconds", "device", "commit"] {
                if let Some(value) = card.training.get(key) {
                    println!("  {key}: {value}");
                }
            }
            println!("\nlicence     {}", card.licence);
            println!("known failures");
            for failure in &card.known_failures {
                println!("  - {failure}");
            }
            println!(
                "\nself-test on {device_name}: largest relative error {:.1e}, allowed {:.1e}",
                test.max_relative_error, test.tolerance
            );
        }
        if test.passed {
            Ok(Outcome::Done)
        } else {
            Err(Error::Device {
                problem: format!(
                    "energies on {device_name} differ by {:.1e} from the card's, allowed is {:.1e}",
                    test.max_relative_error, test.tolerance
                ),
                fix: "use --device cpu, or update the graphics driver".into(),
            })
        }
    }
}

/// Write models/manifest.json, which lists every model's files with length and SHA-256 for the page.
#[derive(clap::Args)]
pub struct ManifestArgs {
    /// Folder of finished models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
}

impl ManifestArgs {
    /// Writes the manifest.
    ///
    /// # Errors
    /// [`Error`] when a folder cannot be read or written.
    pub fn run(self) -> Result<Outcome> {
        artifact::write_manifest(&self.models)?;
        Ok(Outcome::Done)
    }
}
