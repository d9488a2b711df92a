//! `mixwell runs`: what was trained, how far, and what differed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Outcome, print_json};
use crate::{
    error::{Error, Result},
    train::{Event, State, read_json},
};

/// List training runs, or compare some: their last metrics and the settings that differ.
#[derive(clap::Args)]
pub struct RunsArgs {
    /// Runs to compare, by name; all are listed if none is named.
    names: Vec<String>,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A run as its folder shows it.
#[derive(Serialize)]
struct Found {
    name: String,
    /// Settings by dotted key.
    config: BTreeMap<String, String>,
    /// Of the last checkpoint; none before the first.
    state: Option<State>,
    /// The last line of metrics: phase, iteration, values.
    last: Option<(String, u64, BTreeMap<String, f64>)>,
}

impl RunsArgs {
    /// Lists or compares.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a run that there is not; [`Error::Io`] or [`Error::Data`] for a folder
    /// that cannot be read.
    pub fn run(self) -> Result<Outcome> {
        let names = if self.names.is_empty() {
            list(&self.runs)?
        } else {
            self.names.clone()
        };
        let found: Vec<Found> = names
            .iter()
            .map(|name| read(&self.runs, name))
            .collect::<Result<_>>()?;
        if self.json {
            print_json(&found)?;
        } else if self.names.is_empty() {
            table(&found, &self.runs);
        } else {
            compare(&found);
        }
        Ok(Outcome::Done)
    }
}

fn list(runs: &Path) -> Result<Vec<String>> {
    if !runs.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(runs).map_err(Error::io("list", runs))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|e| e.path().join("config.toml").is_file())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

fn read(runs: &Path, name: &str) -> Result<Found> {
    let folder = runs.join(name);
    let path = folder.join("config.toml");
    if !path.is_file() {
        let known = list(runs)?.join(", ");
        return Err(Error::invalid(
            "run",
            format!("one of: {known}"),
            name,
            "choose one of these, or name their folder with --runs",
        ));
    }
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let table = text.parse::<toml::Table>().map_err(|e| Error::Data {
        path: path.clone(),
        problem: e.to_string(),
        fix: "start the run anew".into(),
    })?;
    let mut config = BTreeMap::new();
    flatten("", &toml::Value::Table(table), &mut config);
    let state = folder.join("checkpoint/state.json");
    let state = state.is_file().then(|| read_json(&state)).transpose()?;
    // A line that a kill cut short is none.
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    let last = metrics
        .lines()
        .rev()
        .find_map(|line| match serde_json::from_str(line) {
            Ok(Event::Metrics {
                phase,
                iteration,
                values,
                ..
            }) if !values.contains_key("held_out_loss") => Some((phase, iteration, values)),
            _ => None,
        });
    Ok(Found {
        name: name.into(),
        config,
        state,
        last,
    })
}

/// Leaves of a table under dotted keys.
fn flatten(prefix: &str, value: &toml::Value, to: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = match prefix {
                    "" => key.clone(),
                    _ => format!("{prefix}.{key}"),
                };
                flatten(&key, value, to);
            }
        }
        leaf => {
            to.insert(prefix.into(), leaf.to_string());
        }
    }
}

fn table(found: &[Found], runs: &Path) {
    if found.is_empty() {
        println!("no runs in {}: `mixwell train` makes them", runs.display());
        return;
    }
    let width = found.iter().map(|r| r.name.len()).max().unwrap_or(0).max(4);
    println!(
        "{:width$}  preset   phase    iteration  hours  device, last metrics",
        "run"
    );
    for run in found {
        let (preset, phase, iteration, hours, device) = match &run.state {
            Some(s) => (
                s.preset.as_str(),
                s.phase.as_str(),
                s.iteration.to_string(),
                format!("{:.2}", s.seconds / 3600.0),
                s.device.as_str(),
            ),
            None => ("", "", "–".into(), "–".into(), "no checkpoint yet"),
        };
        println!(
            "{:width$}  {preset:<8} {phase:<8} {iteration:>9}  {hours:>5}  {device}",
            run.name
        );
        if let Some((_, _, values)) = &run.last {
            let text: Vec<String> = values.iter().map(|(k, v)| format!("{k} {v:.4}")).collect();
            println!("{:width$}  {}", "", text.join("  "));
        }
    }
}

fn compare(found: &[Found]) {
    let keys = |of: &dyn Fn(&Found) -> Vec<String>| -> BTreeSet<String> {
        found.iter().flat_map(of).collect()
    };
    let metrics = keys(&|r| {
        let last = r.last.as_ref();
        last.map_or_else(Vec::new, |(.., v)| v.keys().cloned().collect())
    });
    let settings = keys(&|r| r.config.keys().cloned().collect());
    let width = metrics
        .iter()
        .chain(&settings)
        .map(String::len)
        .max()
        .unwrap_or(0)
        .max(9);
    let row = |name: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|c| format!("{c:>20}")).collect();
        println!("{name:width$} {}", cells.join(" "));
    };
    row("", found.iter().map(|r| r.name.clone()).collect());
    let at = |f: &dyn Fn(&Found) -> Option<String>| -> Vec<String> {
        found
            .iter()
            .map(|r| f(r).unwrap_or_else(|| "–".into()))
            .collect()
    };
    row(
        "iteration",
        at(&|r| r.last.as_ref().map(|l| l.1.to_string())),
    );
    row(
        "seconds",
        at(&|r| r.state.as_ref().map(|s| format!("{:.0}", s.seconds))),
    );
    for key in &metrics {
        let value = |r: &Found| Some(format!("{:.5}", r.last.as_ref()?.2.get(key)?));
        row(key, at(&value));
    }
    println!("\nsettings that differ");
    for key in &settings {
        let values = at(&|r| r.config.get(key).cloned());
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            row(key, values);
        }
    }
}
