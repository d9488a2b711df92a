//! The user's own data sets: a folder of images, or parquet files in Hugging Face's layout.
//!
//! Folders named `train` and `test` (or `val`, `valid`, `validation`) are the splits, as are parquet
//! files whose names start with these words. Without them, a tenth of the images is held out, selected
//! by a checksum of their names, so that adding images moves none of the others. Subfolders are
//! classes; in parquet files the class is the column `label`, with names from the file's metadata.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    str::FromStr,
};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, Row},
};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Dataset, DatasetName, Source, Split, folder, load};
use crate::error::{Error, Result};

/// Training data as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataRef {
    /// A built-in data set.
    Known(DatasetName),
    /// A folder of images, a folder of parquet files, or one such file.
    Own(PathBuf),
}

impl FromStr for DataRef {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if let Ok(name) = s.parse() {
            return Ok(Self::Known(name));
        }
        if Path::new(s).exists() {
            return Ok(Self::Own(s.into()));
        }
        let known = DatasetName::ALL.map(|name| name.spec().name).join(", ");
        Err(Error::invalid(
            "data set",
            format!("one of {known}, or a folder with images or parquet files"),
            format!("{s:?}"),
            "choose one of these names, or give the path of a folder that exists",
        ))
    }
}

/// The reference as given.
impl fmt::Display for DataRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => name.fmt(f),
            Self::Own(path) => path.display().fmt(f),
        }
    }
}

impl DataRef {
    /// A short name for models and runs: lower-case letters, digits and hyphens.
    pub fn slug(&self) -> String {
        let Self::Own(path) = self else {
            return self.to_string();
        };
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let name = if whole.is_dir() {
            whole.file_name()
        } else {
            whole.file_stem()
        };
        let name = name.unwrap_or_default().to_string_lossy();
        let words: Vec<String> = name
            .to_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect();
        let slug = words.join("-");
        match slug.is_empty() || slug.parse::<DatasetName>().is_ok() {
            true => format!("own-{slug}").trim_end_matches('-').to_owned(),
            false => slug,
        }
    }

    /// As it was given, with a path made whole: what another process finds from anywhere.
    pub fn absolute(&self) -> String {
        match self {
            Self::Known(name) => name.to_string(),
            Self::Own(path) => fs::canonicalize(path)
                .unwrap_or_else(|_| path.clone())
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// Loads one split with images `[channels, height, width]`: a known set must have that shape; the
    /// user's own images are cropped and scaled to it.
    ///
    /// # Errors
    /// As [`load`]; [`Error::Invalid`] for a known set of another shape; [`Error::Data`] for files that
    /// are not images or parquet.
    pub fn load(&self, split: Split, source: &Source, shape: [usize; 3]) -> Result<Dataset> {
        match self {
            Self::Known(name) => {
                let data = load(*name, split, source)?;
                if data.shape() == shape {
                    return Ok(data);
                }
                Err(Error::invalid(
                    "data set",
                    format!("images of the recipe's shape {shape:?}"),
                    format!("{:?}", data.shape()),
                    "choose a preset for this data set, or set the shapes in the recipe",
                ))
            }
            Self::Own(path) => own(path, &self.slug(), split, shape),
        }
    }
}

/// Images before they are decoded.
#[derive(Default)]
struct Raw {
    items: Vec<Item>,
    classes: Vec<String>,
}

/// One image before decoding.
struct Item {
    /// Its file, or its file and row.
    name: PathBuf,
    /// Index of its class; out of range if its class is unknown.
    label: usize,
    /// Its bytes, if it has no file of its own.
    bytes: Option<Vec<u8>>,
}

/// Names that other tools use for held-out splits.
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];

fn split_of(name: &str) -> Option<Split> {
    let word = name.split(['-', '_', '.']).next().unwrap_or_default();
    match word.to_lowercase().as_str() {
        "train" => Some(Split::Train),
        word if TEST.contains(&word) => Some(Split::Test),
        _ => None,
    }
}

fn own(path: &Path, name: &str, split: Split, shape: [usize; 3]) -> Result<Dataset> {
    let files = parquet_files(path)?;
    // Both splits use the classes of the training images, so that labels mean the same.
    let (mut raw, divided) = if files.is_empty() {
        let folders = split_folders(path)?;
        let divided = folders.is_some();
        let [train, test] = folders.unwrap_or_else(|| [path.into(), path.into()]);
        let mut raw = images(&train, &[])?;
        if divided && split == Split::Test {
            raw = images(&test, &raw.classes)?;
        }
        (raw, divided)
    } else {
        let of = |file: &PathBuf| split_of(&file.file_name().unwrap_or_default().to_string_lossy());
        let [train, test] = [Split::Train, Split::Test].map(|wanted| -> Vec<PathBuf> {
            let matching = files.iter().filter(|f| of(f) == Some(wanted));
            matching.cloned().collect()
        });
        let divided = !train.is_empty() && !test.is_empty();
        let mut raw = parquet(if divided { &train } else { &files })?;
        if divided && split == Split::Test {
            raw.items = parquet(&test)?.items;
        }
        (raw, divided)
    };
    let bad = |problem: String, fix: &str| Error::Data {
        path: path.into(),
        problem,
        fix: fix.into(),
    };
    if raw.items.is_empty() {
        return Err(bad(
            format!("expected images for the {split} split, found none"),
            "give a folder with images (PNG, JPEG, GIF, WebP, BMP) or parquet files",
        ));
    }
    if raw.classes.len() > MOST_CLASSES {
        return Err(bad(
            format!(
                "expected at most {MOST_CLASSES} classes, found {}",
                raw.classes.len()
            ),
            "put images of one class into one folder",
        ));
    }
    if let Some(item) = raw.items.iter().find(|i| i.label >= raw.classes.len()) {
        return Err(bad(
            format!(
                "expected classes of the training images ({}), found another at {}",
                raw.classes.join(", "),
                item.name.display()
            ),
            "give every class training images",
        ));
    }
    // Sort by a checksum of the names, so that the first or last N images contain every class.
    let digest = |item: &Item| -> [u8; 32] {
        let name = item.name.strip_prefix(path).unwrap_or(&item.name);
        Sha256::digest(name.to_string_lossy().as_bytes()).into()
    };
    raw.items.sort_by_cached_key(digest);
    if !divided {
        if raw.items.len() < 2 {
            return Err(bad(
                "expected at least two images, one of them to be held out, found one".into(),
                "give more images",
            ));
        }
        hold_out(&mut raw.items, digest, split);
    }
    let pixels: Vec<Vec<u8>> = raw
        .items
        .par_iter_mut()
        .map(|item| match item.bytes.take() {
            None => folder::decode(&item.name, shape),
            Some(bytes) => folder::decode_bytes(&bytes, &item.name, shape),
        })
        .collect::<Result<_>>()?;
    let [channels, height, width] = shape;
    let colour = if channels == 1 { "grey by luma" } else { "RGB" };
    Ok(Dataset {
        title: name.replace('-', " "),
        classes: raw.classes,
        preprocessing: format!(
            "centre-cropped to a square, scaled to {height} × {width} by area averaging, transparent parts \
             on black, {colour}"
        ),
        images: pixels.concat(),
        labels: raw.items.iter().map(|i| i.label as u8).collect(),
        count: raw.items.len(),
        height,
        width,
        channels,
        ..Dataset::empty(name, split)
    })
}

/// A label is a byte.
const MOST_CLASSES: usize = 256;

/// The folders of the training and the test split, if the data set has both.
fn split_folders(path: &Path) -> Result<Option<[PathBuf; 2]>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let entries = fs::read_dir(path).map_err(Error::io("list", path))?;
    let folders: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect();
    let named = |wanted: &str| {
        folders.iter().find(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            name.to_lowercase() == wanted
        })
    };
    // Both, or neither: a class may happen to be called "test".
    let test = TEST.iter().find_map(|name| named(name));
    Ok(named("train")
        .zip(test)
        .map(|(a, b)| [a.clone(), b.clone()]))
}

/// Image files below a folder; the first folder of each relative path is the class. With `known`
/// classes, labels are indices into them, and an unknown class gets an index out of range.
fn images(path: &Path, known: &[String]) -> Result<Raw> {
    let mut names = Vec::new();
    if path.is_dir() {
        folder::list(path, &mut names)?;
    }
    names.sort();
    let class = |file: &PathBuf| -> String {
        let mut parts = file.strip_prefix(path).unwrap_or(file).components();
        match (parts.next(), parts.next()) {
            (Some(folder), Some(_)) => folder.as_os_str().to_string_lossy().into_owned(),
            _ => "image".into(),
        }
    };
    let mut classes: Vec<String> = known.to_vec();
    if classes.is_empty() {
        classes = names.iter().map(class).collect();
        classes.sort();
        classes.dedup();
    }
    let items = names
        .into_iter()
        .map(|name| Item {
            label: classes.binary_search(&class(&name)).unwrap_or(usize::MAX),
            name,
            bytes: None,
        })
        .collect();
    Ok(Raw { items, classes })
}

/// Keeps nine tenths for training, or the other tenth (at least one) for testing, by digests of the
/// names.
fn hold_out(items: &mut Vec<Item>, digest: impl Fn(&Item) -> [u8; 32], split: Split) {
    let sums: Vec<u16> = items
        .iter()
        .map(|item| {
            let sum = digest(item);
            u16::from_be_bytes([sum[0], sum[1]])
        })
        .collect();
    let mut held_out: Vec<bool> = sums.iter().map(|sum| sum % 10 == 0).collect();
    // With few images, none or all may be selected: then hold out exactly one.
    if held_out.iter().all(|h| *h == held_out[0]) {
        let first = (0..sums.len()).min_by_key(|&i| sums[i]);
        held_out = (0..sums.len()).map(|i| Some(i) == first).collect();
    }
    let mut held_out = held_out.into_iter();
    items.retain(|_| held_out.next() == Some(split == Split::Test));
}

/// The parquet files of a path: the file itself, or those in the folder or in its subfolder `data`.
fn parquet_files(path: &Path) -> Result<Vec<PathBuf>> {
    let is = |p: &Path| p.is_file() && p.extension().is_some_and(|e| e == "parquet");
    if is(path) {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for folder in [path.to_path_buf(), path.join("data")] {
        if folder.is_dir() {
            let entries = fs::read_dir(&folder).map_err(Error::io("list", &folder))?;
            files.extend(entries.flatten().map(|e| e.path()).filter(|p| is(p)));
        }
    }
    files.sort();
    Ok(files)
}

/// All rows of some parquet files: the first column that holds encoded images, and the labels.
fn parquet(files: &[PathBuf]) -> Result<Raw> {
    let mut raw = Raw::default();
    let mut column = None;
    let mut metadata = None;
    for path in files {
        let bad = |problem: String| Error::Data {
            path: path.clone(),
            problem,
            fix: "give parquet files with a column of encoded images, in Hugging Face's layout"
                .into(),
        };
        let file = File::open(path).map_err(Error::io("read", path))?;
        let reader = SerializedFileReader::new(file)
            .map_err(|e| bad(format!("expected a parquet file, found a broken one ({e})")))?;
        if metadata.is_none() {
            let of_file = reader.metadata().file_metadata().key_value_metadata();
            metadata = of_file
                .into_iter()
                .flatten()
                .find(|kv| kv.key == "huggingface")
                .and_then(|kv| kv.value.clone());
        }
        let rows = reader
            .get_row_iter(None)
            .map_err(|e| bad(format!("its rows cannot be read ({e})")))?;
        for (number, row) in rows.enumerate() {
            let row = row.map_err(|e| bad(format!("row {number} cannot be read ({e})")))?;
            let bytes = image_of(&row).ok_or_else(|| {
                let columns: Vec<&String> = row.get_column_iter().map(|(name, _)| name).collect();
                bad(format!(
                    "expected a column with encoded images, found {columns:?}"
                ))
            })?;
            let label = match label_of(&row) {
                None => 0,
                Some((name, Some(label))) if label < MOST_CLASSES => {
                    column.get_or_insert_with(|| name.clone());
                    label
                }
                Some((name, label)) => {
                    return Err(bad(format!(
                        "row {number}: expected a class from 0 to {} in the column {name}, found {label:?}",
                        MOST_CLASSES - 1
                    )));
                }
            };
            raw.items.push(Item {
                name: path.join(format!("row {number}")),
                label,
                bytes: Some(bytes),
            });
        }
    }
    if let (Some(text), Some(column)) = (metadata, column) {
        raw.classes = class_names(&text, &column);
    }
    let most = raw.items.iter().map(|i| i.label + 1).max().unwrap_or(1);
    if raw.classes.len() < most {
        raw.classes = match most {
            1 => vec!["image".into()],
            n => (0..n).map(|k| k.to_string()).collect(),
        };
    }
    Ok(raw)
}

/// The bytes of a row's image: `{bytes, path}`, or a plain binary column.
fn image_of(row: &Row) -> Option<Vec<u8>> {
    row.get_column_iter().find_map(|(_, field)| match field {
        Field::Group(parts) => parts.get_column_iter().find_map(|(name, part)| match part {
            Field::Bytes(bytes) if name == "bytes" => Some(bytes.data().to_vec()),
            _ => None,
        }),
        Field::Bytes(bytes) => Some(bytes.data().to_vec()),
        _ => None,
    })
}

/// The label column of a row, if there is one, and its value, if that is a non-negative integer.
fn label_of(row: &Row) -> Option<(&String, Option<usize>)> {
    let known = |name: &String| ["label", "labels", "fine_label", "class"].contains(&name.as_str());
    let (name, value) = row.get_column_iter().find(|(name, _)| known(name))?;
    let number = match value {
        Field::Byte(v) => i64::from(*v),
        Field::Short(v) => i64::from(*v),
        Field::Int(v) => i64::from(*v),
        Field::Long(v) => *v,
        Field::UByte(v) => i64::from(*v),
        Field::UShort(v) => i64::from(*v),
        Field::UInt(v) => i64::from(*v),
        Field::ULong(v) => i64::try_from(*v).unwrap_or(-1),
        _ => -1,
    };
    Some((name, usize::try_from(number).ok()))
}

/// Class names from Hugging Face's metadata: `info.features.COLUMN.names`.
fn class_names(metadata: &str, column: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(metadata).unwrap_or_default();
    let names = value["info"]["features"][column]["names"].as_array();
    names
        .into_iter()
        .flatten()
        .filter_map(|n| n.as_str().map(str::to_owned))
        .collect()
}
