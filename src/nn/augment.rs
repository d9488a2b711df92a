//! Random augmentations of batches of images: resized crop, horizontal flip, colour jitter and
//! grayscale. This is the "strong" set of contrastive learning (SimCLR, Chen et al. 2020), which CLEL
//! (Lee et al., ICLR 2023) applies to its views and to the starts of its chains.
//!
//! Images are `[B, C, H, W]` with values in [0, 1] and C = 1 or 3. The parameters of each image are
//! drawn on the host, as functions of (seed, step, image), and uploaded as small tensors. The images
//! stay on the device, and the whole batch is processed by one set of operations.
//!
//! Every transform is defined as in torchvision's functions on float tensors. CLEL's authors use
//! kornia, with the same ranges; its resized crop aligns the corners of box and image by default,
//! whereas here, as in torchvision, pixels are areas (`align_corners=False`).

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// Augmentations and their strengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentConfig {
    /// Random resized crop of every image.
    pub crop: Option<CropConfig>,
    /// Colour jitter.
    pub colour: Option<JitterConfig>,
    /// Probability of conversion to grey. No effect on images of one channel.
    pub grayscale: f64,
    /// Probability of a horizontal flip.
    pub flip: f64,
}

/// Boxes of a random resized crop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropConfig {
    /// Range of the box's area as a fraction of the image's, drawn uniformly.
    pub scale: [f64; 2],
    /// Range of width/height, drawn uniformly in the logarithm.
    pub ratio: [f64; 2],
    /// Interpolation when resizing the box.
    pub interpolation: Interpolation,
}

/// Colour jitter: a factor of each adjustment, drawn uniformly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JitterConfig {
    /// Probability that an image is jittered.
    pub probability: f64,
    /// b: brightness factors in [max(0, 1 − b), 1 + b].
    pub brightness: f64,
    /// As `brightness`, for the contrast.
    pub contrast: f64,
    /// As `brightness`, for the saturation. No effect on images of one channel.
    pub saturation: f64,
    /// h ≤ ½: hue shifts in [−h, h] turns. No effect on images of one channel.
    pub hue: f64,
}

/// Interpolation between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Linear in each direction: two taps.
    Bilinear,
    /// Keys's cubic convolution with a = −0.75, PyTorch's constant: four taps.
    Bicubic,
}

impl AugmentConfig {
    /// The "strong" set of CLEL's authors: bicubic resized crop of 8 % to 100 % of the area, jitter
    /// (0.4, 0.4, 0.4, 0.1) for 80 % of the images, 20 % grey, half of them flipped. No saturation, hue
    /// or grayscale for images of one channel.
    pub fn strong(channels: usize) -> Self {
        let coloured = |v| if channels == 3 { v } else { 0.0 };
        Self {
            crop: Some(CropConfig {
                scale: [0.08, 1.0],
                ratio: [3.0 / 4.0, 4.0 / 3.0],
                interpolation: Interpolation::Bicubic,
            }),
            colour: Some(JitterConfig {
                probability: 0.8,
                brightness: 0.4,
                contrast: 0.4,
                saturation: coloured(0.4),
                hue: coloured(0.1),
            }),
            grayscale: coloured(0.2),
            flip: 0.5,
        }
    }

    /// No augmentation.
    pub fn none() -> Self {
        Self {
            crop: None,
            colour: None,
            grayscale: 0.0,
            flip: 0.0,
        }
    }

    /// Checks that probabilities and ranges are valid.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first invalid value.
    pub fn check(&self) -> Result<()> {
        // A finite limit, far beyond useful strengths.
        const MOST: f64 = 100.0;
        let within = |what: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(
                format!("{what} of the augmentation"),
                format!("a number from {low} to {high}"),
                value,
                "change the augmentation's settings",
            ))
        };
        let range = |what: &str, [low, high]: [f64; 2], most: f64| {
            if 0.0 < low && low <= high && high <= most {
                return Ok(());
            }
            Err(Error::invalid(
                format!("{what} of the augmentation's crop"),
                format!("[low, high] with 0 < low ≤ high ≤ {most}"),
                format!("[{low}, {high}]"),
                "change the augmentation's settings",
            ))
        };
        within("flip", self.flip, 0.0, 1.0)?;
        within("grayscale", self.grayscale, 0.0, 1.0)?;
        if let Some(crop) = &self.crop {
            range("scale", crop.scale, 1.0)?;
            range("ratio", crop.ratio, MOST)?;
        }
        if let Some(colour) = &self.colour {
            within("jitter probability", colour.probability, 0.0, 1.0)?;
            within("brightness", colour.brightness, 0.0, MOST)?;
            within("contrast", colour.contrast, 0.0, MOST)?;
            within("saturation", colour.saturation, 0.0, MOST)?;
            within("hue", colour.hue, 0.0, 0.5)?;
        }
        Ok(())
    }
}

/// Augments images `[B, C, H, W]` in [0, 1]: crop, colour jitter, grayscale, flip.
///
/// Image i of the batch is image `first + i`; its augmentation is a function of (seed, step, `first +
/// i`), independent of the rest of the batch. Different views of the same images use different steps,
/// such as `views · iteration + view`. The order of the colour adjustments is random but common to all
/// images of a step, as torchvision and kornia draw one per call. Images that are not jittered are
/// unchanged up to the rounding of a hue shift of 0.
///
/// `config` must have passed [`check`](AugmentConfig::check).
pub fn augment(
    config: &AugmentConfig,
    rng: &Rng,
    step: u32,
    first: u32,
    images: Tensor<4>,
) -> Tensor<4> {
    let [count, channels, height, width] = images.dims();
    if count == 0 {
        return images;
    }
    let device = images.device();
    let mut images = images;
    if config.crop.is_some() || config.flip > 0.0 {
        let boxes = match &config.crop {
            Some(crop) => crop_boxes(crop, rng, step, first, count, [height, width]),
            None => vec![CropBox::whole([height, width]); count],
        };
        let flipped: Vec<bool> = rng
            .uniforms_from(Purpose::AugmentFlip, step, first, count, 1)
            .into_iter()
            .map(|u| f64::from(u) < config.flip)
            .collect();
        let interpolation = config
            .crop
            .as_ref()
            .map_or(Interpolation::Bilinear, |crop| crop.interpolation);
        // In CLEL the flip comes last. Colour adjustments do not depend on pixel positions, so it can be
        // part of the resampling, where it is free.
        images = resized_crop(images, &boxes, &flipped, interpolation);
    }
    let coloured = channels == 3;
    let draws = ColourDraws::new(config, rng, step, first, count);
    if let Some(jitter) = &config.colour {
        for adjustment in adjustment_order(rng, step) {
            let factors = |values: &[f32]| upload(values, &device);
            images = match adjustment {
                Adjustment::Brightness if jitter.brightness > 0.0 => {
                    adjust_brightness(images, factors(&draws.brightness))
                }
                Adjustment::Contrast if jitter.contrast > 0.0 => {
                    adjust_contrast(images, factors(&draws.contrast))
                }
                Adjustment::Saturation if coloured && jitter.saturation > 0.0 => {
                    adjust_saturation(images, factors(&draws.saturation))
                }
                Adjustment::Hue if coloured && jitter.hue > 0.0 => {
                    adjust_hue(images, factors(&draws.hue))
                }
                _ => images,
            };
        }
    }
    if coloured && config.grayscale > 0.0 {
        let grey = luma(images.clone());
        images = blend(images, grey, upload(&draws.keeps_colour, &device));
    }
    images
}

fn upload(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// A box of pixels inside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl CropBox {
    /// The whole image `[height, width]`.
    pub fn whole([height, width]: [usize; 2]) -> Self {
        Self {
            top: 0,
            left: 0,
            height,
            width,
        }
    }
}

/// Attempts to find a box of the drawn area and ratio inside the image.
const TRIES: usize = 10;

/// Random boxes for the images `first..first + count` of `[height, width]`, by the algorithm of
/// torchvision's `RandomResizedCrop.get_params`: up to ten draws of area and ratio until the rounded box
/// fits, at a uniformly drawn position; otherwise the largest central box whose ratio is in range.
pub fn crop_boxes(
    config: &CropConfig,
    rng: &Rng,
    step: u32,
    first: u32,
    count: usize,
    [height, width]: [usize; 2],
) -> Vec<CropBox> {
    // Area, ratio, row and column of every attempt, used or not: each attempt has its own numbers.
    rng.uniforms_from(Purpose::AugmentCrop, step, first, count, 4 * TRIES)
        .chunks_exact(4 * TRIES)
        .map(|tries| {
            tries
                .chunks_exact(4)
                .find_map(|u| drawn_box(config, u, [height, width]))
                .unwrap_or_else(|| central_box(config.ratio, [height, width]))
        })
        .collect()
}

fn drawn_box(config: &CropConfig, u: &[f32], [height, width]: [usize; 2]) -> Option<CropBox> {
    let between = |[low, high]: [f64; 2], u: f32| low + (high - low) * f64::from(u);
    let area = (height * width) as f64 * between(config.scale, u[0]);
    // The portable libm, so that a seed gives the same boxes on every target.
    let ratio = libm::exp(between(config.ratio.map(libm::log), u[1]));
    let w = (area * ratio).sqrt().round_ties_even() as usize;
    let h = (area / ratio).sqrt().round_ties_even() as usize;
    let fits = (1..=width).contains(&w) && (1..=height).contains(&h);
    let place = |u: f32, slack: usize| (f64::from(u) * (slack + 1) as f64) as usize;
    fits.then(|| CropBox {
        top: place(u[2], height - h),
        left: place(u[3], width - w),
        height: h,
        width: w,
    })
}

fn central_box([low, high]: [f64; 2], [height, width]: [usize; 2]) -> CropBox {
    let ratio = width as f64 / height as f64;
    let (mut h, mut w) = (height, width);
    // Extreme ratios would round a side to 0, where torchvision fails.
    if ratio < low {
        h = ((w as f64 / low).round_ties_even() as usize).max(1);
    } else if ratio > high {
        w = ((h as f64 * high).round_ties_even() as usize).max(1);
    }
    CropBox {
        top: (height - h) / 2,
        left: (width - w) / 2,
        height: h,
        width: w,
    }
}

/// Crops `boxes[i]` from image i of `[B, C, H, W]`, resizes it to `[H, W]`, and mirrors it left to
/// right if `flipped[i]`.
///
/// This is torchvision's `resized_crop` with `antialias=False`: the box is cropped first, so taps beyond
/// its edge take the edge's value, and shrinking does not smooth. The result is clamped to [0, 1], since
/// cubic interpolation overshoots. Resampling is separable, y = W_y·x·W_xᵀ with one pair of matrices per
/// image.
pub fn resized_crop(
    images: Tensor<4>,
    boxes: &[CropBox],
    flipped: &[bool],
    interpolation: Interpolation,
) -> Tensor<4> {
    let [count, channels, height, width] = images.dims();
    let device = images.device();
    let matrices = |size: usize, spans: Vec<(usize, usize, bool)>| {
        let mut values = vec![0.0; spans.len() * size * size];
        for (matrix, span) in values.chunks_exact_mut(size * size).zip(spans) {
            fill_resampling(matrix, size, span, interpolation);
        }
        Tensor::<3>::from_data(TensorData::new(values, [count, size, size]), &device)
    };
    let rows = boxes.iter().map(|b| (b.top, b.height, false)).collect();
    let columns = boxes
        .iter()
        .zip(flipped)
        .map(|(b, &flip)| (b.left, b.width, flip))
        .collect();
    let wide = images
        .reshape([count, channels * height, width])
        .matmul(matrices(width, columns).transpose())
        .reshape([count, channels, height, width]);
    matrices(height, rows)
        .reshape([count, 1, height, height])
        .matmul(wide)
        .clamp(0.0, 1.0)
}

/// Writes the matrix `[size, size]` that resizes `length` pixels, starting at `start`, to `size`, and
/// optionally reverses them.
fn fill_resampling(
    matrix: &mut [f32],
    size: usize,
    (start, length, reversed): (usize, usize, bool),
    interpolation: Interpolation,
) {
    for (i, row) in matrix.chunks_exact_mut(size).enumerate() {
        let to = if reversed { size - 1 - i } else { i };
        // Pixel centres are at half-integers.
        let position = (to as f64 + 0.5) * length as f64 / size as f64 - 0.5;
        let below = position.floor();
        let t = position - below;
        let weights = match interpolation {
            Interpolation::Bilinear => [0.0, 1.0 - t, t, 0.0],
            Interpolation::Bicubic => [cubic(1.0 + t), cubic(t), cubic(1.0 - t), cubic(2.0 - t)],
        };
        for (k, weight) in weights.into_iter().enumerate() {
            let tap = (below + k as f64 - 1.0).clamp(0.0, (length - 1) as f64);
            row[start + tap as usize] += weight as f32;
        }
    }
}

/// Keys's cubic convolution kernel with a = −0.75 at a distance x in [0, 2].
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    }
}

/// The four adjustments of colour jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adjustment {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

/// A uniformly random order of the adjustments for a step.
fn adjustment_order(rng: &Rng, step: u32) -> [Adjustment; 4] {
    let keys = rng.uniforms(Purpose::AugmentOrder, step, 1, 4);
    let mut order = [
        Adjustment::Brightness,
        Adjustment::Contrast,
        Adjustment::Saturation,
        Adjustment::Hue,
    ];
    order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
    order
}

/// Factors of the adjustments, one per image; neutral for images that are not jittered.
struct ColourDraws {
    brightness: Vec<f32>,
    contrast: Vec<f32>,
    saturation: Vec<f32>,
    hue: Vec<f32>,
    /// 0 for images that turn grey, 1 for the others.
    keeps_colour: Vec<f32>,
}

impl ColourDraws {
    fn new(config: &AugmentConfig, rng: &Rng, step: u32, first: u32, count: usize) -> Self {
        const EACH: usize = 6;
        let uniforms = rng.uniforms_from(Purpose::AugmentColour, step, first, count, EACH);
        let column = |value: &dyn Fn(&[f32]) -> f64| -> Vec<f32> {
            uniforms
                .chunks_exact(EACH)
                .map(|u| value(u) as f32)
                .collect()
        };
        let jitter = config.colour.as_ref();
        let applied = |u: &[f32]| jitter.is_some_and(|j| f64::from(u[0]) < j.probability);
        // Uniform in the range if the image is jittered, else neutral.
        let drawn = |k: usize, neutral: f64, low: f64, high: f64| {
            column(&|u| {
                if applied(u) {
                    low + (high - low) * f64::from(u[k])
                } else {
                    neutral
                }
            })
        };
        let around_one =
            |k, strength: f64| drawn(k, 1.0, (1.0 - strength).max(0.0), 1.0 + strength);
        let hue = jitter.map_or(0.0, |j| j.hue);
        Self {
            brightness: around_one(1, jitter.map_or(0.0, |j| j.brightness)),
            contrast: around_one(2, jitter.map_or(0.0, |j| j.contrast)),
            saturation: around_one(3, jitter.map_or(0.0, |j| j.saturation)),
            hue: drawn(4, 0.0, -hue, hue),
            keeps_colour: column(&|u| f64::from(u8::from(f64::from(u[5]) >= config.grayscale))),
        }
    }
}

/// f·x + (1 − f)·y, clamped to [0, 1]; x is `[B, C, H, W]`, y broadcasts to it, f is `[B]`.
fn blend(x: Tensor<4>, y: Tensor<4>, factors: Tensor<1>) -> Tensor<4> {
    let f = per_image(factors);
    let rest = f.clone() * -1.0 + 1.0;
    (x * f + y * rest).clamp(0.0, 1.0)
}

/// `[B]` → `[B, 1, 1, 1]`.
fn per_image(factors: Tensor<1>) -> Tensor<4> {
    let count = factors.dims()[0];
    factors.reshape([count, 1, 1, 1])
}

/// Channel k of `[B, C, H, W]`, as `[B, 1, H, W]`.
fn channel(images: &Tensor<4>, k: usize) -> Tensor<4> {
    images.clone().narrow(1, k, 1)
}

/// The grey value 0.2989 R + 0.587 G + 0.114 B of every pixel, `[B, 3, H, W]` → `[B, 1, H, W]`
/// (ITU-R BT.601 with torchvision's digits); images of one channel are unchanged.
pub fn luma(images: Tensor<4>) -> Tensor<4> {
    if images.dims()[1] != 3 {
        return images;
    }
    channel(&images, 0) * 0.2989 + channel(&images, 1) * 0.587 + channel(&images, 2) * 0.114
}

/// Brightness: f·x, clamped to [0, 1]. Images `[B, C, H, W]`, factors `[B]`.
pub fn adjust_brightness(images: Tensor<4>, factors: Tensor<1>) -> Tensor<4> {
    (images * per_image(factors)).clamp(0.0, 1.0)
}

/// Contrast: blends every image with the mean m of its grey values, f·x + (1 − f)·m, clamped to [0, 1].
/// Images `[B, C, H, W]`, factors `[B]`.
pub fn adjust_contrast(images: Tensor<4>, factors: Tensor<1>) -> Tensor<4> {
    let mean = luma(images.clone()).flatten::<2>(1, 3).mean_dim(1);
    blend(images, per_image(mean.flatten(0, 1)), factors)
}

/// Saturation: blends every pixel with its grey value y, f·x + (1 − f)·y, clamped to [0, 1].
/// Images `[B, 3, H, W]`, factors `[B]`.
pub fn adjust_saturation(images: Tensor<4>, factors: Tensor<1>) -> Tensor<4> {
    let grey = luma(images.clone());
    blend(images, grey, factors)
}

/// Hue: shifts the HSV hue by `shifts` turns, `[B]`, of at most half a turn; images `[B, 3, H, W]`.
///
/// From HSV to RGB, channel n of (5, 3, 1) is V − V·S·max(0, min(k, 4 − k, 1)) with k = (n + 6·hue) mod
/// 6: the usual six cases in one formula. V·S is the chroma, so neither S nor a division by V is
/// needed. From RGB to HSV, 6·hue = ±(2 + (G + B − R − V)/chroma), positive where G ≥ B: the usual
/// three cases in one. No masks are used: on the CPU, masks of noisy images cost more than everything
/// else.
pub fn adjust_hue(images: Tensor<4>, shifts: Tensor<1>) -> Tensor<4> {
    let (r, g, b) = (
        channel(&images, 0),
        channel(&images, 1),
        channel(&images, 2),
    );
    let g_r = g.clone() - r.clone();
    let g_b = g - b.clone();
    let b_r = b.clone() - r.clone();
    // max(x, y) = x + max(0, y − x), and pairwise distances sum to twice the range.
    let larger = r + g_r.clone().clamp_min(0.0);
    let value = larger.clone() + (b.clone() - larger).clamp_min(0.0);
    let chroma = (g_r.clone().abs() + g_b.clone().abs() + b_r.abs()) * 0.5;
    // The hue of grey pixels is arbitrary: their chroma of 0 keeps them grey.
    let distance = (g_r + (b - value.clone())) / chroma.clone().clamp_min(1e-20) + 2.0;
    let sign = g_b.greater_equal_elem(0.0).float() * 2.0 - 1.0;
    let hue = distance * sign + per_image(shifts) * 6.0;
    // k − 2, not yet reduced mod 6. Its distance from the multiples of six is 3 − |3 − ||a| − 6||
    // up to |a| = 12, and max(0, min(k, 4 − k, 1)) is 2 minus that, clamped to [0, 1].
    let centres = upload(&[3.0, 1.0, -1.0], &images.device()).reshape([1, 3, 1, 1]);
    let off = ((hue + centres).abs() - 6.0).abs() - 3.0;
    let lowered = chroma * (off.abs() - 1.0).clamp(0.0, 1.0);
    (value - lowered).clamp(0.0, 1.0)
}
