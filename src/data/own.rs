//! Data sets of the user's own: a folder of images, or parquet files as Hugging Face keeps them.
//!
//! Folders named `train` and `test` (or `val`, `valid`, `validation`) are the splits, and so are parquet
//! files whose names begin so; where there are none, a tenth of the images is held out, chosen by a
//! checksum of their names, so that adding images moves none of the others. Folders below are classes;
//! in parquet files the column `label` is, with the names that the file's metadata gives.

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

/// Training data as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataRef {
    /// A data set that mixwell knows.
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

/// As it was given.
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
        let name = whole.file_stem().unwrap_or_default().to_string_lossy();
        let words: Vec<String> = name
            .to_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect();
        match words.is_empty() {
            true => "own".into(),
            false => words.join("-"),
        }
    }

    /// One split, as `[channels, height, width]`: a known set has to have that shape, images of one's own
    /// are cut and scaled to it.
    ///
    /// # Errors
    /// As [`load`]; [`Error::Invalid`] for a known set of another shape; [`Error::Data`] for files that
    /// are no images or no parquet.
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
                    "choose a preset for this data set, or set the shape of the recipe's networks",
                ))
            }
            Self::Own(path) => own(path, &self.slug(), split, shape),
        }
    }
}

/// Images before they are decoded.
#[derive(Default)]
struct Raw {
    /// Where each came from, for errors and for the held-out tenth.
    names: Vec<PathBuf>,
    bytes: Bytes,
    labels: Vec<usize>,
    classes: Vec<String>,
}

/// Where the bytes are: in the files of the same order, or here.
#[derive(Default)]
enum Bytes {
    #[default]
    Files,
    Here(Vec<Vec<u8>>),
}

/// What other tools call the part that is not trained on.
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
    let mut files = parquet_files(path)?;
    let mut divided = false;
    let mut raw = if files.is_empty() {
        let wanted = split_folder(path, split)?;
        divided = wanted.is_some();
        images(&wanted.unwrap_or_else(|| path.into()))?
    } else {
        let of = |file: &PathBuf| split_of(&file.file_name().unwrap_or_default().to_string_lossy());
        if files.iter().any(|f| of(f) == Some(Split::Test)) {
            files.retain(|f| of(f) == Some(split));
            divided = true;
        }
        parquet(&files)?
    };
    if !divided {
        hold_out(&mut raw, path, split);
    }
    let nothing = |what: &str| Error::Data {
        path: path.into(),
        problem: format!("expected {what} for the {split} split, found none"),
        fix: "give a folder with images (PNG, JPEG, GIF, WebP, BMP) or parquet files".into(),
    };
    if raw.names.is_empty() {
        return Err(nothing("images"));
    }
    if raw.classes.len() > 256 {
        return Err(Error::Data {
            path: path.into(),
            problem: format!("expected at most 256 classes, found {}", raw.classes.len()),
            fix: "put images of one kind into one folder".into(),
        });
    }
    let pixels: Vec<Vec<u8>> = match &raw.bytes {
        Bytes::Files => raw
            .names
            .par_iter()
            .map(|file| folder::decode(file, shape))
            .collect::<Result<_>>()?,
        Bytes::Here(bytes) => bytes
            .par_iter()
            .zip(&raw.names)
            .map(|(bytes, name)| folder::decode_bytes(bytes, name, shape))
            .collect::<Result<_>>()?,
    };
    let [channels, height, width] = shape;
    let colour = if channels == 1 { "grey by luma" } else { "RGB" };
    Ok(Dataset {
        title: name.replace('-', " "),
        classes: raw.classes,
        preprocessing: format!(
            "cut to the middle square, scaled to {height} × {width} by averages over areas, transparent \
             parts on black, {colour}"
        ),
        images: pixels.concat(),
        labels: raw.labels.iter().map(|&l| l as u8).collect(),
        count: raw.names.len(),
        height,
        width,
        channels,
        ..Dataset::empty(name, split)
    })
}

/// The folder of a split, where the data set has such folders.
fn split_folder(path: &Path, split: Split) -> Result<Option<PathBuf>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let entries = fs::read_dir(path).map_err(Error::io("list", path))?;
    let mut found = [None, None];
    for entry in entries.flatten().filter(|e| e.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let which = match name.as_str() {
            "train" => 0,
            name if TEST.contains(&name) => 1,
            _ => continue,
        };
        found[which] = Some(entry.path());
    }
    // Both, or neither: a class may happen to be called "test".
    let [Some(train), Some(test)] = found else {
        return Ok(None);
    };
    Ok(Some(match split {
        Split::Train => train,
        Split::Test => test,
    }))
}

/// Image files below a folder; the first folder of each path is its class.
fn images(path: &Path) -> Result<Raw> {
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
    let mut classes: Vec<String> = names.iter().map(class).collect();
    classes.sort();
    classes.dedup();
    // Every class is in the sorted list it was collected into.
    let labels = names
        .iter()
        .map(|file| classes.binary_search(&class(file)).unwrap_or(0))
        .collect();
    Ok(Raw {
        names,
        bytes: Bytes::Files,
        labels,
        classes,
    })
}

/// Keeps nine tenths for training, or the others. By the SHA-256 of the name within the data set.
fn hold_out(raw: &mut Raw, path: &Path, split: Split) {
    let keep: Vec<bool> = raw
        .names
        .iter()
        .map(|name| {
            let name = name.strip_prefix(path).unwrap_or(name);
            let sum = Sha256::digest(name.to_string_lossy().as_bytes());
            let held_out = u16::from_be_bytes([sum[0], sum[1]]) % 10 == 0;
            held_out == (split == Split::Test)
        })
        .collect();
    fn filter<T>(values: &mut Vec<T>, keep: &[bool]) {
        let mut keep = keep.iter();
        values.retain(|_| keep.next().is_some_and(|k| *k));
    }
    filter(&mut raw.names, &keep);
    filter(&mut raw.labels, &keep);
    if let Bytes::Here(bytes) = &mut raw.bytes {
        filter(bytes, &keep);
    }
}

/// The parquet files of a path: itself, or those in it or in its folder `data`.
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
    let mut raw = Raw {
        classes: Vec::new(),
        ..Raw::default()
    };
    let mut all = Vec::new();
    for path in files {
        let bad = |problem: String| Error::Data {
            path: path.clone(),
            problem,
            fix: "give parquet files with a column of encoded images, as Hugging Face has them"
                .into(),
        };
        let file = File::open(path).map_err(Error::io("read", path))?;
        let reader = SerializedFileReader::new(file)
            .map_err(|e| bad(format!("expected a parquet file, found a broken one ({e})")))?;
        if raw.classes.is_empty() {
            let metadata = reader.metadata().file_metadata().key_value_metadata();
            let text = metadata
                .into_iter()
                .flatten()
                .find(|kv| kv.key == "huggingface")
                .and_then(|kv| kv.value.as_deref());
            raw.classes = text.map(class_names).unwrap_or_default();
        }
        let rows = reader
            .get_row_iter(None)
            .map_err(|e| bad(format!("its rows cannot be read ({e})")))?;
        for (number, row) in rows.enumerate() {
            let row = row.map_err(|e| bad(format!("row {number} cannot be read ({e})")))?;
            let bytes = image_of(&row).ok_or_else(|| {
                let columns: Vec<&String> = row.get_column_iter().map(|(name, _)| name).collect();
                bad(format!(
                    "expected a column with images' bytes, found {columns:?}"
                ))
            })?;
            raw.names.push(path.join(format!("row {number}")));
            raw.labels.push(label_of(&row).unwrap_or(0));
            all.push(bytes);
        }
    }
    raw.bytes = Bytes::Here(all);
    let most = raw.labels.iter().max().map_or(1, |m| m + 1);
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

fn label_of(row: &Row) -> Option<usize> {
    let known = |name: &String| ["label", "labels", "fine_label", "class"].contains(&name.as_str());
    let value = row
        .get_column_iter()
        .find(|(name, _)| known(name))
        .map(|(_, field)| field)?;
    let number = match value {
        Field::Byte(v) => i64::from(*v),
        Field::Short(v) => i64::from(*v),
        Field::Int(v) => i64::from(*v),
        Field::Long(v) => *v,
        Field::UByte(v) => i64::from(*v),
        Field::UShort(v) => i64::from(*v),
        Field::UInt(v) => i64::from(*v),
        Field::ULong(v) => i64::try_from(*v).ok()?,
        _ => return None,
    };
    usize::try_from(number).ok()
}

/// Names of the classes in Hugging Face's metadata: `info.features.label.names`.
fn class_names(metadata: &str) -> Vec<String> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(metadata) else {
        return Vec::new();
    };
    let features = value["info"]["features"].as_object();
    let names = features
        .into_iter()
        .flatten()
        .find_map(|(_, feature)| feature["names"].as_array());
    names
        .into_iter()
        .flatten()
        .filter_map(|n| n.as_str().map(str::to_owned))
        .collect()
}
