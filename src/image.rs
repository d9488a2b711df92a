//! Grids of images as PNG files.

use std::{fs, io::BufWriter, path::Path};

use crate::{
    error::{Error, Result},
    pixels::byte,
};

/// Every image pixel becomes a square of this many pixels per side, so that 28×28 images are visible.
const ZOOM: usize = 3;
/// Pixels between images.
const GAP: usize = 3;
/// Grey value between images.
const PAPER: u8 = 128;

/// Writes `n` images `[n, C, H, W]` with values in about [0, 1] (values outside are clamped) as a
/// near-square grid, row by row.
///
/// # Errors
/// [`Error::Invalid`] unless C is 1 or 3 and there is at least one image; [`Error::Io`].
pub fn write_grid(path: &Path, values: &[f32], n: usize, shape: [usize; 3]) -> Result<()> {
    let columns = n.isqrt() + usize::from(n.isqrt().pow(2) < n);
    write_rows(path, values, n, shape, columns)
}

/// As [`write_grid`], with `columns` images per row.
///
/// # Errors
/// As [`write_grid`].
pub fn write_rows(
    path: &Path,
    values: &[f32],
    n: usize,
    [c, h, w]: [usize; 3],
    columns: usize,
) -> Result<()> {
    let colour = match c {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => {
            return Err(Error::invalid(
                "image",
                "1 or 3 channels",
                c,
                "write one channel at a time",
            ));
        }
    };
    if n == 0 || values.len() != n * c * h * w {
        return Err(Error::invalid(
            "image grid",
            format!("{n} × {c} × {h} × {w} values, at least one image"),
            values.len(),
            "report this as a bug",
        ));
    }
    let columns = columns.max(1);
    let rows = n.div_ceil(columns);
    let (tile_w, tile_h) = (w * ZOOM + GAP, h * ZOOM + GAP);
    let (width, height) = (columns * tile_w + GAP, rows * tile_h + GAP);
    let mut pixels = vec![PAPER; width * height * c];
    for image in 0..n {
        let (top, left) = (
            GAP + image / columns * tile_h,
            GAP + image % columns * tile_w,
        );
        for y in 0..h * ZOOM {
            for x in 0..w * ZOOM {
                for channel in 0..c {
                    let v = values[((image * c + channel) * h + y / ZOOM) * w + x / ZOOM];
                    pixels[((top + y) * width + left + x) * c + channel] = byte(v);
                }
            }
        }
    }
    let file = fs::File::create(path).map_err(Error::io("create", path))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), width as u32, height as u32);
    encoder.set_color(colour);
    encoder
        .write_header()
        .and_then(|mut w| w.write_image_data(&pixels))
        .map_err(|e| Error::Io {
            action: "write",
            path: path.into(),
            source: std::io::Error::other(e),
        })
}
