//! A strict reader for the idx format of the MNIST family, raw or gzip-compressed.
//!
//! An idx file is `00 00 08 N` (unsigned bytes, `N` dimensions), `N` big-endian `u32` sizes, and
//! exactly as many bytes as the product of the sizes. Anything else is an error.

use std::{borrow::Cow, io::Read, path::Path};

use flate2::bufread::GzDecoder;

use crate::error::{Error, Result};

/// Largest decompressed size accepted by [`parse_images`] and [`parse_labels`]: 256 MiB, five times the
/// largest MNIST file. A decompression bomb is an error.
pub const MAX_BYTES: usize = 1 << 28;

/// Grey images: `count` × `rows` × `cols` bytes, row by row from the top left, all sizes ≥ 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxImages {
    /// Number of images.
    pub count: usize,
    /// Height of each, in pixels.
    pub rows: usize,
    /// Width of each, in pixels.
    pub cols: usize,
    /// `count × rows × cols` intensities, 0–255.
    pub pixels: Vec<u8>,
}

/// Parses an idx3 file of unsigned bytes, raw or gzip; `origin` is used in errors only.
///
/// # Errors
/// [`Error::Data`] for a broken gzip stream, one larger than [`MAX_BYTES`], a wrong magic number,
/// element type or number of dimensions, a dimension of 0, and missing or trailing bytes.
pub fn parse_images(bytes: &[u8], origin: &Path) -> Result<IdxImages> {
    let parsed = inflate(bytes, MAX_BYTES).and_then(|raw| {
        let ([count, rows, cols], pixels) = elements(&raw)?;
        let pixels = pixels.to_vec();
        Ok(IdxImages {
            count,
            rows,
            cols,
            pixels,
        })
    });
    parsed.map_err(|problem| bad_file(origin, problem))
}

/// Parses an idx1 file of unsigned bytes, raw or gzip: one class per item.
///
/// # Errors
/// As [`parse_images`].
pub fn parse_labels(bytes: &[u8], origin: &Path) -> Result<Vec<u8>> {
    inflate(bytes, MAX_BYTES)
        .and_then(|raw| elements::<1>(&raw).map(|(_, labels)| labels.to_vec()))
        .map_err(|problem| bad_file(origin, problem))
}

/// A result whose error says what was expected and found, but not in which file.
pub(super) type Checked<T> = std::result::Result<T, String>;

fn bad_file(path: &Path, problem: String) -> Error {
    Error::Data {
        path: path.to_owned(),
        problem,
        fix: "give the original idx file, raw or as .gz".into(),
    }
}

/// Whether `bytes` start as a gzip stream does.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// The bytes themselves, or the content of their single gzip stream, of at most `cap` bytes.
pub(super) fn inflate(bytes: &[u8], cap: usize) -> Checked<Cow<'_, [u8]>> {
    if !is_gzip(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut decoder = GzDecoder::new(bytes);
    let mut raw = Vec::new();
    // Read one byte past the cap, to distinguish "exactly full" from "too large".
    let read = decoder.by_ref().take(cap as u64 + 1).read_to_end(&mut raw);
    read.map_err(|e| format!("expected a complete gzip stream, found a broken one ({e})"))?;
    if raw.len() > cap {
        return Err(format!(
            "expected at most {cap} bytes when decompressed, found more"
        ));
    }
    match decoder.into_inner().len() {
        0 => Ok(Cow::Owned(raw)),
        n => Err(format!(
            "expected the file to end with its gzip stream, found {n} trailing bytes"
        )),
    }
}

/// The `N` sizes and the elements. Nothing is allocated according to the (untrusted) sizes.
fn elements<const N: usize>(raw: &[u8]) -> Checked<([usize; N], &[u8])> {
    let header = 4 + 4 * N;
    let too_short = || {
        let found = raw.len();
        format!("expected an idx header of {header} bytes, found a file of {found} bytes")
    };
    let magic @ [zero, zero2, kind, dims] = *raw.first_chunk().ok_or_else(too_short)?;
    if [zero, zero2] != [0, 0] {
        return Err(format!(
            "expected an idx file (first bytes [0, 0, 8, {N}]), found first bytes {magic:?}"
        ));
    }
    if kind != 0x08 {
        return Err(format!(
            "expected idx element type 0x08 (unsigned byte), found 0x{kind:02x}"
        ));
    }
    if usize::from(dims) != N {
        return Err(format!("expected {N} idx dimension(s), found {dims}"));
    }
    let (sizes, data) = raw[4..].split_at_checked(4 * N).ok_or_else(too_short)?;
    let mut shape = [0; N];
    for (size, word) in shape.iter_mut().zip(sizes.chunks_exact(4)) {
        *size = word.iter().fold(0, |n, &b| n << 8 | usize::from(b));
    }
    if shape.contains(&0) {
        return Err(format!(
            "expected dimensions of at least 1, found {shape:?}"
        ));
    }
    let claimed = shape.iter().try_fold(1u64, |n, &s| n.checked_mul(s as u64));
    match claimed {
        Some(n) if n == data.len() as u64 => Ok((shape, data)),
        _ => Err(format!(
            "expected dimensions {shape:?} and so {} bytes after the header, found {}",
            claimed.map_or("more than 2^64".into(), |n| n.to_string()),
            data.len(),
        )),
    }
}
