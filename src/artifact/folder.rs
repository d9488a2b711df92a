//! Model folders on disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::card::Card;
use crate::error::{Error, Result};

const FILES: [&str; 2] = ["card.json", "weights.safetensors"];

/// File of the reference scores, written by `eval`.
pub const SCORES: &str = "scores.json";

/// Writes a file atomically (a temporary file beside it, flushed, then renamed): readers see the old
/// content or the new content, never a part.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial).map_err(Error::io("create", &partial))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", &partial))?;
    fs::rename(&partial, path).map_err(Error::io("rename into", path))
}

/// Writes a model folder: the weights first, the card last.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_model(folder: &Path, card: &Card, weights: &[u8]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    write_atomically(&folder.join(FILES[1]), weights)?;
    write_atomically(&folder.join(FILES[0]), &pretty(card)?)
}

fn pretty(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::model("export", e, "report this as a bug"))?;
    text.push(b'\n');
    Ok(text)
}

/// A model's folder, from a path or a name under `models/`.
///
/// # Errors
/// [`Error::Model`] when there is no such model.
pub fn find_model(name: &str) -> Result<PathBuf> {
    [PathBuf::from(name), Path::new("models").join(name)]
        .into_iter()
        .find(|p| p.join(FILES[0]).is_file())
        .ok_or_else(|| {
            let known: Vec<String> = fs::read_dir("models")
                .into_iter()
                .flatten()
                .flatten()
                .filter(|e| e.path().join(FILES[0]).is_file())
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect();
            Error::model(
                name,
                format!("expected a folder with {}, found none", FILES[0]),
                if known.is_empty() {
                    "run from the repository's root, or give the folder's path".into()
                } else {
                    format!("available models: {}", known.join(", "))
                },
            )
        })
}

/// Reads a model's card.
///
/// # Errors
/// [`Error::Model`] when there is no such model or its card is invalid; [`Error::Io`].
pub fn read_card(name: &str) -> Result<Card> {
    let path = find_model(name)?.join(FILES[0]);
    Card::parse(&fs::read(&path).map_err(Error::io("read", path))?, name)
}

/// Reads a model's card and its weights (bytes).
///
/// # Errors
/// As [`read_card`].
pub fn read_files(name: &str) -> Result<(Card, Vec<u8>)> {
    let card = read_card(name)?;
    let path = find_model(name)?.join(FILES[1]);
    Ok((card, fs::read(&path).map_err(Error::io("read", path))?))
}

/// Writes a value as pretty-printed JSON.
///
/// # Errors
/// [`Error::Io`].
pub fn write_pretty(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, &pretty(value)?)
}

/// `models/manifest.json`: every file of every model.
#[derive(Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Manifest {
    version: u32,
    models: Vec<ManifestModel>,
}

/// A model in the manifest.
#[derive(Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct ManifestModel {
    name: String,
    title: String,
    /// Name in the registry of systems.
    system: String,
    /// Spaces with recommended step sizes: each room offers the models that have the spaces it needs.
    spaces: Vec<String>,
    files: Vec<ManifestFile>,
}

/// One file of a model.
#[derive(Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct ManifestFile {
    /// Path relative to `models/NAME/`.
    path: String,
    /// Length in bytes.
    bytes: usize,
    /// SHA-256, 64 lower-case hex digits.
    sha256: String,
}

/// Systems in the order in which the manifest lists their models: a room of the page opens with the
/// first suitable model.
pub const SYSTEMS: [&str; 4] = ["flow-ebm", "clel", "latent-prior", "classifier"];

/// Writes `models/manifest.json` from the model folders beside it.
///
/// # Errors
/// [`Error::Io`], or [`Error::Model`] for a folder whose card cannot be read.
pub fn write_manifest(models: &Path) -> Result<()> {
    let folders: Vec<PathBuf> = fs::read_dir(models)
        .map_err(Error::io("list", models))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.join(FILES[0]).is_file())
        .collect();
    let mut entries = Vec::new();
    for folder in folders {
        let name = folder
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut files = Vec::new();
        let (mut title, mut system, mut spaces) = (String::new(), String::new(), Vec::new());
        let more = Some(SCORES).filter(|file| folder.join(file).is_file());
        for file in FILES.into_iter().chain(more) {
            let path = folder.join(file);
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            if file == FILES[0] {
                let card = Card::parse(&bytes, &name)?;
                (title, system) = (card.title, card.system);
                spaces = card.step_sizes.into_keys().collect();
            }
            files.push(ManifestFile {
                path: file.into(),
                bytes: bytes.len(),
                sha256: Sha256::digest(&bytes)
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect(),
            });
        }
        entries.push(ManifestModel {
            name,
            title,
            system,
            spaces,
            files,
        });
    }
    // MNIST before Fashion-MNIST, and baselines last.
    entries.sort_by_key(|e| {
        let system = SYSTEMS.iter().position(|s| *s == e.system);
        let baseline = e.name.ends_with("-unguided");
        (baseline, system, std::cmp::Reverse(e.name.clone()))
    });
    let manifest = Manifest {
        version: 1,
        models: entries,
    };
    write_atomically(&models.join("manifest.json"), &pretty(&manifest)?)
}
