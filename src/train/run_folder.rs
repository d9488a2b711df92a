//! The folder of a training run: config, metrics, checkpoint.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    artifact::write_atomically,
    error::{Error, Result},
};

/// `runs/NAME/`: `run.json`, `config.toml`, `metrics.jsonl`, `incidents.jsonl`, `log.txt`, `tensorboard/`,
/// grids, `checkpoint/`, and `kept/` with older checkpoints for recovery.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held while the run is trained, so that two processes cannot mix their files.
    _lock: Option<fs::File>,
}

/// Purpose of opening a run's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intent {
    /// A new run.
    #[default]
    Begin,
    /// Resume an existing run.
    Resume,
    /// Export the last checkpoint as a model; another process may be training the run.
    Export,
}

/// A complete older checkpoint, kept for recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its iteration.
    pub iteration: u64,
    /// Its folder.
    pub path: PathBuf,
}

impl RunFolder {
    /// Opens the folder of a new or an existing run.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a new run's name is taken, a run to resume or export does not exist, or
    /// another process is training it; [`Error::Io`].
    pub fn open(runs: &Path, name: &str, intent: Intent) -> Result<Self> {
        let path = runs.join(name);
        let exists = path.join("config.toml").is_file();
        let begins = intent == Intent::Begin;
        if exists == begins {
            return Err(Error::invalid(
                "run",
                match intent {
                    Intent::Begin => "a new name",
                    Intent::Resume => "a run to resume",
                    Intent::Export => "a run",
                },
                path.display(),
                if begins {
                    "give --resume to continue it, or another --name"
                } else {
                    "`mixwell runs` lists the runs; `mixwell train` starts one"
                },
            ));
        }
        if intent == Intent::Export {
            return Ok(Self { path, _lock: None });
        }
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let file = path.join("lock");
        let lock = fs::File::create(&file).map_err(Error::io("create", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::invalid(
                    "run",
                    "one process at a time",
                    format!("another process training {}", path.display()),
                    "wait for it, stop it, or give another --name",
                ));
            }
            // Some network file systems have no locks: continue without one.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let folder = Self {
            path,
            _lock: Some(lock),
        };
        folder.put_in_order()?;
        Ok(folder)
    }

    /// Repairs the state after a kill between two steps of [`write_checkpoint`](Self::write_checkpoint):
    /// afterwards `checkpoint/` is the newest complete checkpoint, if there is one.
    fn put_in_order(&self) -> Result<()> {
        let [new, now, old] = self.slots();
        if complete(&now) {
            return remove(&old);
        }
        let kept = self.kept().pop().map(|k| k.path);
        if let Some(whole) = [new, old].into_iter().chain(kept).find(|p| complete(p)) {
            remove(&now)?;
            fs::rename(&whole, &now).map_err(Error::io("rename", &whole))?;
        }
        Ok(())
    }

    /// Folders of the checkpoint being written, the current one, and the one being replaced.
    fn slots(&self) -> [PathBuf; 3] {
        ["checkpoint.new", "checkpoint", "checkpoint.old"].map(|name| self.path.join(name))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the recipe, as TOML.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_config(&self, config: &str) -> Result<()> {
        write_atomically(&self.path.join("config.toml"), config.as_bytes())
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
            fix: "resume with the version of mixwell that started the run".into(),
        })
    }

    /// Rewrites a file of JSON lines.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_lines(&self, file: &str, values: &[impl Serialize]) -> Result<()> {
        let lines: Result<String> = values.iter().map(|value| line(file, value)).collect();
        let text = lines?;
        write_atomically(&self.path.join(file), text.as_bytes())
    }

    /// Appends a line of JSON to a file of the run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&self, file: &str, value: &impl Serialize) -> Result<()> {
        append_text(self.path.join(file), &line(file, value)?)
    }

    fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Length of the metrics file; 0 if there is none.
    pub fn metrics_bytes(&self) -> u64 {
        fs::metadata(self.metrics()).map_or(0, |m| m.len())
    }

    /// Truncates the metrics file to an earlier length.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn cut_metrics(&self, bytes: u64) -> Result<()> {
        let path = self.metrics();
        if self.metrics_bytes() <= bytes {
            return Ok(());
        }
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(bytes))
            .map_err(Error::io("cut", path))
    }

    /// Writes a checkpoint: `fill` writes its files into an empty folder, which then replaces the old
    /// checkpoint. If `keep` is given, the old one is kept under that iteration. A kill at any moment
    /// leaves a complete checkpoint. So does a power failure: everything is flushed to disk before a
    /// rename, including the metrics file, whose length the checkpoint stores.
    ///
    /// # Errors
    /// [`Error::Io`], and whatever `fill` returns.
    pub fn write_checkpoint(
        &self,
        keep: Option<u64>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let [new, now, old] = self.slots();
        let old = match keep {
            Some(iteration) => self.path.join(KEPT).join(format!("{iteration:09}")),
            None => old,
        };
        remove(&new)?;
        fs::create_dir_all(&new).map_err(Error::io("create", &new))?;
        if let Err(e) = fill(&new) {
            // Remove partial files, which would keep a full disk full.
            let _ = remove(&new);
            return Err(e);
        }
        flush(&new)?;
        let metrics = self.metrics();
        if metrics.is_file() {
            flush_file(&metrics)?;
        }
        remove(&old)?;
        if now.is_dir() {
            if let Some(parent) = old.parent() {
                fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            }
            fs::rename(&now, &old).map_err(Error::io("rename", &now))?;
        }
        fs::rename(&new, &now).map_err(Error::io("rename", &new))?;
        if keep.is_none() {
            // Flush the renames first; otherwise only the removal might reach the disk.
            flush_entries(&self.path)?;
            remove(&old)?;
        }
        Ok(())
    }

    /// The newest complete checkpoint, if there is one.
    pub fn checkpoint(&self) -> Option<PathBuf> {
        let newest = self.kept().pop().map(|k| k.path);
        let [new, now, old] = self.slots();
        [now, new, old]
            .into_iter()
            .chain(newest)
            .find(|p| complete(p))
    }

    /// The checkpoints kept for recovery, newest last.
    pub fn kept(&self) -> Vec<Kept> {
        let entries = fs::read_dir(self.path.join(KEPT));
        let mut found: Vec<Kept> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| {
                let iteration = e.file_name().to_str()?.parse().ok()?;
                let path = e.path();
                complete(&path).then_some(Kept { iteration, path })
            })
            .collect();
        found.sort_by_key(|k| k.iteration);
        found
    }

    /// Removes a kept checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget(&self, kept: &Kept) -> Result<()> {
        remove(&kept.path)
    }
}

const KEPT: &str = "kept";

/// Flushes a folder's files, and then its directory entries, to disk.
fn flush(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.is_dir() {
            flush(&path)?;
        } else {
            flush_file(&path)?;
        }
    }
    flush_entries(folder)
}

fn flush_file(path: &Path) -> Result<()> {
    // Windows flushes only files that are open for writing.
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("flush", path))
}

/// Flushes a folder's directory entries. Windows cannot open folders and journals by itself.
fn flush_entries(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io("flush", folder))?;
    }
    Ok(())
}

/// Appends a line with a timestamp to the log in a run's folder; line breaks become spaces.
///
/// # Errors
/// [`Error::Io`].
pub fn log(folder: &Path, text: &str) -> Result<()> {
    let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    let text = text.replace('\n', " ");
    append_text(folder.join("log.txt"), &format!("{time} {text}\n"))
}

/// A value as a line of JSON for a file.
fn line(file: &str, value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::invalid(file, "finite numbers", e, "report this as a bug"))?;
    Ok(text + "\n")
}

fn append_text(path: PathBuf, text: &str) -> Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(Error::io("append to", path))
}

/// Whether a checkpoint is complete: its state is written last and removed first.
fn complete(checkpoint: &Path) -> bool {
    checkpoint.join("state.json").is_file()
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        let _ = fs::remove_file(folder.join("state.json"));
        fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(to: &Path, text: &str) -> Result<()> {
        fs::write(to.join("state.json"), text).map_err(Error::io("write", to))
    }

    /// The states that a kill between two steps of [`RunFolder::write_checkpoint`] can leave.
    #[test]
    fn a_kill_between_two_renames_leaves_the_newest_checkpoint() {
        let root = std::env::temp_dir().join(format!("mixwell-folder-{}", std::process::id()));
        let open = |intent| RunFolder::open(&root, "r", intent).unwrap();
        let folder = open(Intent::Begin);
        folder.write_config("").unwrap();
        let [new, now, old] = folder.slots();
        let found = || fs::read_to_string(now.join("state.json")).unwrap();
        for text in ["1", "2"] {
            folder.write_checkpoint(None, |to| fill(to, text)).unwrap();
        }
        assert_eq!(found(), "2");
        assert!(!new.exists() && !old.exists(), "one checkpoint is left");
        // While the new one was written.
        fs::create_dir(&new).unwrap();
        drop(folder);
        let folder = open(Intent::Resume);
        assert_eq!(found(), "2");
        // Between the renames: the new one is complete, and none is current.
        fs::rename(&now, &old).unwrap();
        fill(&new, "3").unwrap();
        drop(folder);
        let folder = open(Intent::Resume);
        assert_eq!(found(), "3");
        // Before the replaced one was removed.
        assert!(old.exists());
        drop(folder);
        let folder = open(Intent::Resume);
        assert_eq!(found(), "3");
        assert!(!old.exists());
        // The current one was being removed: its state goes first.
        fs::rename(&now, &old).unwrap();
        fs::create_dir(&now).unwrap();
        drop(folder);
        let folder = open(Intent::Resume);
        assert_eq!(found(), "3");
        // Only a kept one is whole.
        folder
            .write_checkpoint(Some(7), |to| fill(to, "4"))
            .unwrap();
        fs::remove_file(now.join("state.json")).unwrap();
        drop(folder);
        open(Intent::Resume);
        assert_eq!(found(), "3");
        fs::remove_dir_all(root).unwrap();
    }
}
