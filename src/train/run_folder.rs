//! The folder of a training run: config, metrics, checkpoint.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::Event;
use crate::{
    artifact::write_atomically,
    error::{Error, Result},
};

/// `runs/NAME/`: `config.toml`, `metrics.jsonl`, `checkpoint/`.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Opens a new run's folder, or an old one to resume.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a run of this name exists and `resume` is off, or none does and it
    /// is on; [`Error::Io`].
    pub fn open(runs: &Path, name: &str, resume: bool) -> Result<Self> {
        let path = runs.join(name);
        let exists = path.join("config.toml").is_file();
        if exists != resume {
            return Err(Error::invalid(
                "run",
                if resume {
                    "a run to resume"
                } else {
                    "a new name"
                },
                path.display(),
                if resume {
                    "leave --resume out to start it"
                } else {
                    "give --resume to go on with it, or another --name"
                },
            ));
        }
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the recipe as TOML, once, at the start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_config(&self, config: &impl Serialize) -> Result<()> {
        let text = toml::to_string_pretty(config)
            .map_err(|e| Error::invalid("config", "a TOML table", e, "report this as a bug"))?;
        write_atomically(&self.path.join("config.toml"), text.as_bytes())
    }

    /// Reads the recipe of a run to resume.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Data`] when it cannot be parsed.
    pub fn read_config<T: DeserializeOwned>(&self) -> Result<T> {
        let path = self.path.join("config.toml");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        toml::from_str(&text).map_err(|e| Error::Data {
            path,
            problem: format!("not a recipe of this system: {e}"),
            fix: "resume with the version of mixwell that began the run".into(),
        })
    }

    /// Appends a line of metrics.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_metrics(&self, event: &Event) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let mut line = serde_json::to_vec(event)
            .map_err(|e| Error::invalid("metrics", "finite numbers", e, "report this as a bug"))?;
        line.push(b'\n');
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut f| f.write_all(&line))
            .map_err(Error::io("append to", path))
    }

    /// Length of the metrics file; 0 where there is none.
    pub fn metrics_bytes(&self) -> u64 {
        fs::metadata(self.path.join("metrics.jsonl")).map_or(0, |m| m.len())
    }

    /// Cuts the metrics file to a length that it had.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn cut_metrics(&self, bytes: u64) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        if self.metrics_bytes() <= bytes {
            return Ok(());
        }
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(bytes))
            .map_err(Error::io("cut", path))
    }

    /// Writes a checkpoint: `fill` puts its files into an empty folder, which then takes the old
    /// checkpoint's place. A kill at any moment leaves a complete one.
    ///
    /// # Errors
    /// [`Error::Io`], and whatever `fill` returns.
    pub fn write_checkpoint(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (new, now, old) = (
            self.path.join("checkpoint.new"),
            self.path.join("checkpoint"),
            self.path.join("checkpoint.old"),
        );
        remove(&new)?;
        fs::create_dir_all(&new).map_err(Error::io("create", &new))?;
        fill(&new)?;
        remove(&old)?;
        if now.is_dir() {
            fs::rename(&now, &old).map_err(Error::io("rename", &now))?;
        }
        fs::rename(&new, &now).map_err(Error::io("rename", &new))?;
        remove(&old)
    }

    /// The newest complete checkpoint, if there is one.
    pub fn checkpoint(&self) -> Option<PathBuf> {
        ["checkpoint", "checkpoint.old"]
            .into_iter()
            .map(|name| self.path.join(name))
            .find(|p| p.join("state.json").is_file())
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
    }
    Ok(())
}
