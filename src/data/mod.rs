//! Data sets: read from a folder, from the cache, or downloaded once and verified.
//!
//! No unverified file is ever used: every file, from any source, must have the length and SHA-256 of its
//! [`FileSpec`].

pub mod folder;
pub mod idx;
mod own;
mod registry;
mod source;

use std::{fmt, path::Path};

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use own::DataRef;
pub use registry::{ArchiveSpec, DatasetName, DatasetSpec, FileSpec, Files, GzSpec, SplitSpec};
pub use source::{DownloadProgress, Source};

/// Part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Training data.
    Train,
    /// Test data.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// One split in memory: images and their classes, in the published order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The data set's name, as [`DatasetName`] displays it.
    pub name: String,
    /// Display name.
    pub title: String,
    /// Names of its classes, by label.
    pub classes: Vec<String>,
    /// Preprocessing of the user's own images; empty for published sets.
    pub preprocessing: String,
    /// Which split this is.
    pub split: Split,
    /// Intensities 0–255, `count × channels × height × width`, row by row from the top left.
    pub images: Vec<u8>,
    /// One class per image, each below the number of classes.
    pub labels: Vec<u8>,
    /// Number of images.
    pub count: usize,
    /// Height of an image, in pixels.
    pub height: usize,
    /// Width of an image, in pixels.
    pub width: usize,
    /// Values per pixel; 1 for grey.
    pub channels: usize,
}

impl Dataset {
    /// A data set of no images and one class.
    pub fn empty(name: impl Into<String>, split: Split) -> Self {
        let name = name.into();
        Self {
            title: name.clone(),
            name,
            classes: vec!["image".into()],
            preprocessing: String::new(),
            split,
            images: Vec::new(),
            labels: Vec::new(),
            count: 0,
            height: 0,
            width: 0,
            channels: 0,
        }
    }

    /// The complete preprocessing, in words, for the card; `bits` bits of each value are kept.
    pub fn preparation(&self, bits: u32) -> String {
        let first = match self.preprocessing.as_str() {
            "" => String::new(),
            text => format!("{text}; "),
        };
        let reduced = match bits {
            8 => String::new(),
            bits => format!(" reduced to {bits} bits"),
        };
        format!("{first}8-bit values{reduced}, uniformly dequantised, scaled to [0, 1)")
    }

    /// `[channels, height, width]`
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}

/// Images as model inputs without randomness: (v + ½)/256, the mean of the dequantised values of v.
/// `[n, D]`, flattened `[C, H, W]`.
pub fn images(data: &Dataset, indices: &[usize], device: &Device) -> Tensor<2> {
    let dim = data.shape().iter().product();
    let values: Vec<f32> = indices
        .iter()
        .flat_map(|&i| &data.images[i * dim..(i + 1) * dim])
        .map(|&v| crate::pixels::centre(v))
        .collect();
    Tensor::from_data(TensorData::new(values, [indices.len(), dim]), device)
}

/// Loads one split of a known data set, without progress reports; see [`load_with`].
///
/// # Errors
/// As [`load_with`].
pub fn load(name: DatasetName, split: Split, source: &Source) -> Result<Dataset> {
    load_with(name.spec(), split, source, &mut |_| {})
}

/// Loads one split of the data set described by `spec`; `progress` receives every download's progress.
///
/// # Errors
/// [`Error::Data`] for a file in the data folder that is missing or not the published one,
/// [`Error::Network`] if no mirror served the published file or `source` is offline without one,
/// [`Error::Io`] if a folder cannot be read or written.
pub fn load_with(
    spec: &DatasetSpec,
    split: Split,
    source: &Source,
    progress: &mut dyn FnMut(DownloadProgress<'_>),
) -> Result<Dataset> {
    let files = match split {
        Split::Train => &spec.train,
        Split::Test => &spec.test,
    };
    let mut fetch = |file| source.fetch(spec, file, progress);
    let (sizes, pixels, labels) = match &files.files {
        Files::Idx { images, labels } => {
            let images = idx::parse_images(&fetch(images)?, Path::new(images.name))?;
            let labels = idx::parse_labels(&fetch(labels)?, Path::new(labels.name))?;
            let sizes = [images.count, images.rows, images.cols];
            (sizes, images.pixels, labels)
        }
        Files::Records(files) => {
            let dim = spec.channels * spec.height * spec.width;
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            for file in *files {
                for record in fetch(file)?.chunks(1 + dim) {
                    labels.push(record[0]);
                    pixels.extend_from_slice(&record[1..]);
                }
            }
            (
                [pixels.len() / dim, spec.height, spec.width],
                pixels,
                labels,
            )
        }
    };

    // The files are verified by now: a mismatch means a wrong entry in the table.
    let found = [sizes[0], sizes[1], sizes[2], labels.len()];
    let expected = [files.count, spec.height, spec.width, files.count];
    let beyond = labels
        .iter()
        .find(|&&label| usize::from(label) >= spec.class_names.len());
    if found != expected || beyond.is_some() {
        let of = "[images, height, width, labels]";
        return Err(Error::invalid(
            format!("data set {} ({split})", spec.name),
            format!("{of} {expected:?} and {} classes", spec.class_names.len()),
            format!("{found:?}, classes beyond: {beyond:?}"),
            "correct its entry in the table of data sets",
        ));
    }
    Ok(Dataset {
        title: spec.title.to_owned(),
        classes: spec.class_names.iter().map(|&c| c.to_owned()).collect(),
        preprocessing: String::new(),
        name: spec.name.to_owned(),
        split,
        images: pixels,
        labels,
        count: files.count,
        height: spec.height,
        width: spec.width,
        channels: spec.channels,
    })
}
