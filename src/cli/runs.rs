//! `mixwell runs` and `mixwell watch`: training runs, their progress, settings and metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{Outcome, print_json};
use crate::{
    error::{Error, Result},
    train::{Event, Incident, State, read_json},
};

/// List training runs, or compare some: their last metrics and the settings that differ.
#[derive(clap::Args)]
pub struct RunsArgs {
    /// Runs to compare; without names, all runs are listed.
    names: Vec<String>,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A run as read from its folder.
#[derive(Serialize)]
struct Found {
    name: String,
    /// Settings by dotted key.
    config: BTreeMap<String, String>,
    /// State at the last checkpoint; none before the first.
    state: Option<State>,
    /// Latest metrics: phase, iteration, newest value of each.
    last: Option<(String, u64, BTreeMap<String, f64>)>,
    /// Divergences, and the action taken after each.
    incidents: Vec<Incident>,
}

impl RunsArgs {
    /// Lists the runs, or compares those named.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown run; [`Error::Io`] or [`Error::Data`] for a folder that cannot
    /// be read.
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
            "choose one of these, or give another folder with --runs",
        ));
    }
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let table = text.parse::<toml::Table>().map_err(|e| Error::Data {
        path: path.clone(),
        problem: e.to_string(),
        fix: "start the run again".into(),
    })?;
    let mut config = BTreeMap::new();
    flatten("", &toml::Value::Table(table), &mut config);
    let state = folder.join("checkpoint/state.json");
    let state = state.is_file().then(|| read_json(&state)).transpose()?;
    // The newest value of every metric of the newest phase.
    let mut last: Option<(String, u64, BTreeMap<String, f64>)> = None;
    for (phase, iteration, values) in metrics(&folder) {
        match &mut last {
            Some((of, at, all)) if *of == phase => {
                *at = iteration;
                all.extend(values);
            }
            _ => last = Some((phase, iteration, values)),
        }
    }
    let incidents = fs::read_to_string(folder.join("incidents.jsonl")).unwrap_or_default();
    let incidents = incidents
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    Ok(Found {
        name: name.into(),
        config,
        state,
        last,
        incidents,
    })
}

/// The lines of a run's metrics: phase, iteration, values. Incomplete lines (cut short by a kill, or
/// still being written) are skipped.
fn metrics(folder: &Path) -> Vec<(String, u64, BTreeMap<String, f64>)> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| match serde_json::from_str(line) {
            Ok(Event::Metrics {
                phase,
                iteration,
                values,
                ..
            }) => Some((phase, iteration, values)),
            _ => None,
        })
        .collect()
}

/// Writes the leaves of a table under dotted keys.
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
        if !run.incidents.is_empty() {
            println!("{:width$}  {} divergence(s)", "", run.incidents.len());
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

/// Watch a run from another terminal: each metric's latest value, history and range.
#[derive(clap::Args)]
pub struct WatchArgs {
    /// Name of the run.
    name: String,
    /// Folder of all runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Seconds between updates.
    #[arg(long, default_value_t = 2.0)]
    every: f64,
    /// Print once and exit.
    #[arg(long)]
    once: bool,
}

/// One metric over a run.
type History = Vec<(u64, f64)>;

/// Characters per sparkline in a terminal.
const COLUMNS: usize = 48;

impl WatchArgs {
    /// Shows the run until Ctrl-C.
    ///
    /// # Errors
    /// As [`RunsArgs::run`].
    pub fn run(self) -> Result<Outcome> {
        if !(self.every.is_finite() && self.every > 0.0) {
            let fix = "give a positive number";
            return Err(Error::invalid("--every", "seconds", self.every, fix));
        }
        let terminal = std::io::stdout().is_terminal();
        let mut shown = String::new();
        loop {
            let found = read(&self.runs, &self.name)?;
            let text = dashboard(&found, &histories(&self.runs.join(&self.name)), &self.runs);
            if text != shown {
                if terminal && !self.once {
                    // Clear the screen and move the cursor to the top left.
                    print!("\x1b[2J\x1b[H");
                }
                println!("{text}");
                if terminal && let Some(path) = newest_picture(&self.runs.join(&self.name)) {
                    print!("{}", in_blocks(&path, 2 * COLUMNS as u32));
                }
                shown = text;
            }
            if self.once {
                return Ok(Outcome::Done);
            }
            std::thread::sleep(Duration::from_secs_f64(self.every));
        }
    }
}

/// The history of every metric in a run's file, by phase and name.
fn histories(folder: &Path) -> BTreeMap<(String, String), History> {
    let mut histories: BTreeMap<(String, String), History> = BTreeMap::new();
    for (phase, iteration, values) in metrics(folder) {
        for (name, value) in values {
            let history = histories.entry((phase.clone(), name)).or_default();
            history.push((iteration, value));
        }
    }
    histories
}

fn dashboard(
    found: &Found,
    histories: &BTreeMap<(String, String), History>,
    runs: &Path,
) -> String {
    let mut lines = Vec::new();
    match &found.state {
        Some(s) => lines.push(format!(
            "{}: {} {} (checkpoint), {:.2} h, {}, preset {}",
            found.name,
            s.phase,
            s.iteration,
            s.seconds / 3600.0,
            s.device,
            s.preset
        )),
        None => lines.push(format!("{}: no checkpoint yet", found.name)),
    }
    for incident in &found.incidents {
        lines.push(incident.to_string());
    }
    let width = histories.keys().map(|(_, n)| n.len()).max().unwrap_or(0);
    let mut phase = "";
    for ((of, name), history) in histories {
        if of != phase {
            let last = history.last().map_or(0, |p| p.0);
            lines.push(format!("\n{of}, iteration {last}"));
            phase = of;
        }
        let values: Vec<f64> = history.iter().map(|p| p.1).collect();
        let (low, high) = range(&values);
        let last = values.last().copied().unwrap_or(f64::NAN);
        lines.push(format!(
            "  {name:width$} {:>12}  {}  {} … {}",
            number(last),
            sparkline(&values),
            number(low),
            number(high)
        ));
    }
    if let Some(path) = newest_picture(&runs.join(&found.name)) {
        lines.push(format!("\nnewest picture: {}", path.display()));
    }
    lines.join("\n")
}

fn newest_picture(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "png"))
        .max_by_key(|p| fs::metadata(p).and_then(|m| m.modified()).ok())
}

/// A picture as coloured half blocks, two pixels per character; empty if it cannot be read (it may be
/// half written).
fn in_blocks(path: &Path, most: u32) -> String {
    let Ok(picture) = image::open(path) else {
        return String::new();
    };
    let picture = match picture.width() > most {
        true => picture.thumbnail(most, u32::MAX),
        false => picture,
    };
    let picture = picture.to_rgb8();
    let (width, height) = picture.dimensions();
    let mut text = String::new();
    for y in (0..height).step_by(2) {
        for x in 0..width {
            let [r, g, b] = picture.get_pixel(x, y).0;
            text.push_str(&format!("\x1b[38;2;{r};{g};{b}m"));
            if y + 1 < height {
                let [r, g, b] = picture.get_pixel(x, y + 1).0;
                text.push_str(&format!("\x1b[48;2;{r};{g};{b}m"));
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

/// Four decimals, or scientific notation for small and large values: a temperature of 5e-9 is not 0.
fn number(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if !(1e-3..1e6).contains(&a) => format!("{v:.3e}"),
        _ => format!("{v:.4}"),
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    })
}

/// Means over equal parts of the history, one per column, as bars of eight heights; `!` marks a mean
/// that is not finite.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = COLUMNS.min(values.len());
    let means: Vec<f64> = (0..columns)
        .map(|k| {
            let part = &values[k * values.len() / columns..(k + 1) * values.len() / columns];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect();
    let (low, high) = range(&means);
    let bars: String = means
        .iter()
        .map(|v| match v.is_finite() {
            true if high > low => BARS[((v - low) / (high - low) * 7.0).round() as usize],
            true => BARS[0],
            false => '!',
        })
        .collect();
    format!("{bars:<COLUMNS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_numbers_are_shown_in_scientific_notation() {
        let shown = [0.0, 5e-9, -0.25, 12.0, 3.5e7, f64::NAN].map(number);
        assert_eq!(
            shown,
            ["0", "5.000e-9", "-0.2500", "12.0000", "3.500e7", "NaN"]
        );
    }

    #[test]
    fn pictures_become_half_blocks() {
        let path = std::env::temp_dir().join(format!("mixwell-blocks-{}.png", std::process::id()));
        let picture = image::GrayImage::from_fn(2, 3, |x, y| image::Luma([(x + 2 * y) as u8]));
        picture.save(&path).unwrap();
        let text = in_blocks(&path, 96);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0],
            "\x1b[38;2;0;0;0m\x1b[48;2;2;2;2m▀\x1b[38;2;1;1;1m\x1b[48;2;3;3;3m▀\x1b[0m"
        );
        assert_eq!(lines[1].matches('▀').count(), 2);
        assert_eq!(in_blocks(Path::new("/nonexistent.png"), 96), "");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn sparklines_show_trends_and_mark_non_finite_values() {
        let rising: Vec<f64> = (0..480).map(f64::from).collect();
        let line: Vec<char> = sparkline(&rising).chars().collect();
        assert_eq!((line.len(), line[0], line[47]), (48, '▁', '█'));
        assert!(line.is_sorted());
        assert_eq!(sparkline(&[1.0, f64::NAN, 3.0]).trim_end(), "▁!█");
        assert_eq!(sparkline(&[2.0, 2.0]).trim_end(), "▁▁");
        assert_eq!(sparkline(&[]).trim_end(), "");
    }
}
