//! A folder of images as a data set.
//!
//! Reads every PNG, JPEG, GIF, WebP or BMP below the folder, sorted by path. Each image is
//! centre-cropped to a square and scaled to the requested size, with transparent parts on black; if one
//! channel is requested, colour is converted to grey by luma. There are no labels.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageReader, Limits, imageops::FilterType};
use rayon::prelude::*;

use super::{Dataset, Split};
use crate::error::{Error, Result};

/// Images with more pixels than this (40 megapixels) are refused before decoding.
pub const MOST_PIXELS: u64 = 40_000_000;

const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "gif", "webp", "bmp"];

/// Reads up to `most` images of a folder as `[channels, height, width]`.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be listed; [`Error::Data`] for one without images, and for a
/// file that is not an image, is truncated, or has more than [`MOST_PIXELS`].
pub fn load(folder: &Path, shape: [usize; 3], most: usize) -> Result<Dataset> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    files.truncate(most);
    if files.is_empty() {
        return Err(Error::Data {
            path: folder.into(),
            problem: format!(
                "expected images ({}) in it or below it, found none",
                EXTENSIONS.join(", ")
            ),
            fix: "give a folder with images".into(),
        });
    }
    let [channels, height, width] = shape;
    let images: Vec<Vec<u8>> = files
        .par_iter()
        .map(|file| decode(file, shape))
        .collect::<Result<_>>()?;
    let images = images.concat();
    let name = folder.file_name().map_or_else(
        || folder.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    );
    Ok(Dataset {
        images,
        labels: vec![0; files.len()],
        count: files.len(),
        height,
        width,
        channels,
        ..Dataset::empty(name, Split::Test)
    })
}

/// Lists the image files below a folder, in no particular order.
pub(super) fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let known = path.extension().is_some_and(|e| {
            let e = e.to_string_lossy().to_lowercase();
            EXTENSIONS.contains(&e.as_str())
        });
        if path.is_dir() {
            list(&path, files)?;
        } else if known {
            files.push(path);
        }
    }
    Ok(())
}

/// Decodes one image file to bytes `[channels, height, width]`.
///
/// # Errors
/// As [`load`].
pub fn decode(path: &Path, shape: [usize; 3]) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    decode_bytes(&bytes, path, shape)
}

/// Decodes a file's bytes; `path` is used in errors only.
///
/// # Errors
/// As [`load`].
pub fn decode_bytes(
    bytes: &[u8],
    path: &Path,
    [channels, height, width]: [usize; 3],
) -> Result<Vec<u8>> {
    let bad = |problem: String| Error::Data {
        path: path.into(),
        problem,
        fix: "give a PNG, JPEG, GIF, WebP or BMP of at most 40 megapixels".into(),
    };
    let open = || {
        ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(Error::io("read", path))
    };
    // Read the header first: images that are too large are never decoded.
    let (w, h) = open()?
        .into_dimensions()
        .map_err(|e| bad(format!("expected an image, found none ({e})")))?;
    if u64::from(w) * u64::from(h) > MOST_PIXELS || w == 0 || h == 0 {
        return Err(bad(format!(
            "expected 1 to 40 megapixels, found {w} × {h} pixels"
        )));
    }
    let mut reader = open()?;
    reader.limits(Limits::default());
    let image = reader.decode().map_err(|e| {
        bad(format!(
            "expected a complete image, found a broken one ({e})"
        ))
    })?;
    let side = w.min(h);
    let mut rgba = image.to_rgba8();
    for pixel in rgba.pixels_mut() {
        let [r, g, b, a] = pixel.0;
        let over = |v: u8| ((u32::from(v) * u32::from(a) + 127) / 255) as u8;
        pixel.0 = [over(r), over(g), over(b), 255];
    }
    let square =
        DynamicImage::ImageRgba8(rgba).crop_imm((w - side) / 2, (h - side) / 2, side, side);
    // Area averaging when scaling down, as the page does.
    let (w, h) = (width as u32, height as u32);
    let small = if side >= w.max(h) {
        square.thumbnail_exact(w, h)
    } else {
        square.resize_exact(w, h, FilterType::Triangle)
    };
    let rgb = small.to_rgb8();
    let plane = |of: &dyn Fn([u8; 3]) -> u8| rgb.pixels().map(|p| of(p.0)).collect::<Vec<u8>>();
    Ok(match channels {
        1 => plane(&|[r, g, b]| {
            (0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)).round() as u8
        }),
        _ => (0..channels)
            .flat_map(|c| plane(&|p| p[c.min(2)]))
            .collect(),
    })
}
