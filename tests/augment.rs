//! Augmentations against torchvision's values, and properties that hold for any random parameters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    nn::augment::{
        AugmentConfig, CropBox, CropConfig, Interpolation, JitterConfig, adjust_brightness,
        adjust_contrast, adjust_hue, adjust_saturation, augment, crop_boxes, luma, resized_crop,
    },
    rng::{Purpose, Rng},
};
use serde_json::Value;

use crate::common::{assert_close, devices, host};

fn fixture(name: &str) -> Value {
    let text = include_str!("fixtures/augment.json");
    serde_json::from_str::<Value>(text).unwrap()[name].clone()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The fixture's images, `[4, 3, 8, 10]`.
fn references(device: &Device) -> Tensor<4> {
    tensor(&numbers(&fixture("images")["x"]), [4, 3, 8, 10], device)
}

/// Uniform noise, `[count, channels, height, width]`.
fn noise([count, c, h, w]: [usize; 4], device: &Device) -> Tensor<4> {
    Rng::new(3)
        .uniform_rows(Purpose::Data, 0, 0, count, c * h * w, device)
        .reshape([count, c, h, w])
}

fn boxes() -> Vec<CropBox> {
    let all = fixture("crop")["boxes"].clone();
    all.as_array()
        .unwrap()
        .iter()
        .map(|b| cut(&numbers(b)))
        .collect()
}

fn cut(b: &[f64]) -> CropBox {
    CropBox {
        top: b[0] as usize,
        left: b[1] as usize,
        height: b[2] as usize,
        width: b[3] as usize,
    }
}

/// f32 against torchvision in f64: weights and sums over 4 × 4 taps round at 10⁻⁷.
const CLOSE: f64 = 2e-6;
/// A hue of size 1 is divided by the chroma and multiplied by six and the chroma again.
const HUE_CLOSE: f64 = 5e-6;

#[test]
fn resized_crops_match_torchvision() {
    for (_, device) in devices() {
        let f = fixture("crop");
        let x = references(&device);
        for (how, name) in [
            (Interpolation::Bilinear, "bilinear"),
            (Interpolation::Bicubic, "bicubic"),
        ] {
            let y = resized_crop(x.clone(), &boxes(), &[false; 4], how);
            assert_close(&host(y.clone()), &numbers(&f[name]), CLOSE);
            let mirrored = resized_crop(x.clone(), &boxes(), &[true; 4], how);
            assert_close(&host(mirrored.flip([3])), &host(y), CLOSE);
        }
    }
}

#[test]
fn flips_match_torchvision_exactly() {
    for (_, device) in devices() {
        let config = AugmentConfig {
            flip: 1.0,
            ..AugmentConfig::none()
        };
        let x = references(&device);
        let y = augment(&config, &Rng::new(0), 0, 0, x.clone());
        assert_close(&host(y.narrow(0, 1, 1)), &numbers(&fixture("flip")), 0.0);
        let same = augment(&AugmentConfig::none(), &Rng::new(0), 0, 0, x.clone());
        assert_close(&host(same), &host(x), 0.0);
    }
}

#[test]
fn colour_adjustments_match_torchvision() {
    for (_, device) in devices() {
        let f = fixture("colour");
        let x = references(&device);
        let factors = || tensor(&numbers(&f["factors"]), [4], &device);
        let shifts = tensor(&numbers(&f["shifts"]), [4], &device);
        let check = |y: Tensor<4>, name: &str, tolerance: f64| {
            assert_close(&host(y), &numbers(&f[name]), tolerance);
        };
        check(adjust_brightness(x.clone(), factors()), "brightness", CLOSE);
        check(adjust_contrast(x.clone(), factors()), "contrast", CLOSE);
        check(adjust_saturation(x.clone(), factors()), "saturation", CLOSE);
        check(adjust_hue(x.clone(), shifts), "hue", HUE_CLOSE);
        assert_close(&host(luma(x)), &numbers(&fixture("grayscale")), CLOSE);
    }
}

#[test]
fn neutral_factors_change_nothing() {
    for (_, device) in devices() {
        let x = references(&device);
        let ones = || Tensor::<1>::ones([4], &device);
        let expected = host(x.clone());
        for y in [
            adjust_brightness(x.clone(), ones()),
            adjust_contrast(x.clone(), ones()),
            adjust_saturation(x.clone(), ones()),
        ] {
            assert_close(&host(y), &expected, 0.0);
        }
        assert_close(&host(adjust_hue(x, ones() * 0.0)), &expected, HUE_CLOSE);
    }
}

#[test]
fn one_channel_matches_torchvision_and_ignores_colour() {
    for (_, device) in devices() {
        let f = fixture("one_channel");
        let x = references(&device).narrow(1, 0, 1);
        let factors = || tensor(&numbers(&fixture("colour")["factors"]), [4], &device);
        let y = resized_crop(x.clone(), &boxes(), &[false; 4], Interpolation::Bicubic);
        assert_close(&host(y), &numbers(&f["bicubic"]), CLOSE);
        let y = adjust_brightness(x.clone(), factors());
        assert_close(&host(y), &numbers(&f["brightness"]), CLOSE);
        let y = adjust_contrast(x.clone(), factors());
        assert_close(&host(y), &numbers(&f["contrast"]), CLOSE);
        let colours = AugmentConfig {
            colour: Some(jitter(1.0, [0.0, 0.0, 0.4, 0.1])),
            grayscale: 1.0,
            ..AugmentConfig::none()
        };
        let y = augment(&colours, &Rng::new(0), 0, 0, x.clone());
        assert_close(&host(y), &host(x), 0.0);
    }
}

fn jitter(probability: f64, [brightness, contrast, saturation, hue]: [f64; 4]) -> JitterConfig {
    JitterConfig {
        probability,
        brightness,
        contrast,
        saturation,
        hue,
    }
}

fn strong_crop() -> CropConfig {
    AugmentConfig::strong(3).crop.unwrap()
}

#[test]
fn crop_boxes_have_torchvisions_distribution() {
    let f = fixture("boxes");
    let (n, size) = (100_000, [28, 32]);
    let drawn = crop_boxes(&strong_crop(), &Rng::new(1), 0, 0, n, size);
    let mut columns = vec![Vec::new(); 6];
    for b in &drawn {
        assert!(b.height >= 1 && b.top + b.height <= size[0]);
        assert!(b.width >= 1 && b.left + b.width <= size[1]);
        // Area and ratio lie inside their ranges; sides are then rounded by up to half a pixel.
        let (h, w) = (b.height as f64, b.width as f64);
        let area = (size[0] * size[1]) as f64;
        assert!((h + 0.5) * (w + 0.5) >= 0.08 * area && (h - 0.5) * (w - 0.5) <= area);
        assert!((w + 0.5) / (h - 0.5) >= 0.75 && (w - 0.5) / (h + 0.5) <= 4.0 / 3.0);
        let row = [
            b.top as f64,
            b.left as f64,
            h,
            w,
            h * w / area,
            (w / h).ln(),
        ];
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let (means, sds) = (numbers(&f["mean"]), numbers(&f["sd"]));
    for (k, column) in columns.iter().enumerate() {
        let mean = column.iter().sum::<f64>() / n as f64;
        let sd = (column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        // Five standard errors of the difference of two means; spreads to 1.5 % (about five
        // standard errors of a normal's).
        let error = sds[k] * (2.0 / n as f64).sqrt();
        assert!((mean - means[k]).abs() < 5.0 * error, "{k}: mean {mean}");
        assert!((sd / sds[k] - 1.0).abs() < 0.015, "{k}: sd {sd}");
    }
}

#[test]
fn crop_boxes_fall_back_to_the_centre() {
    let whole = CropConfig {
        scale: [1.0, 1.0],
        ..strong_crop()
    };
    for case in fixture("fallback").as_array().unwrap() {
        let size = numbers(&case["size"]);
        let size = [size[0] as usize, size[1] as usize];
        let found = crop_boxes(&whole, &Rng::new(0), 0, 0, 3, size);
        assert_eq!(found, vec![cut(&numbers(&case["box"])); 3]);
    }
}

#[test]
fn augmentation_frequencies_match_the_probabilities() {
    let device = Device::flex();
    let n = 4000;
    // Every image is the same two pixels, so that each change is visible.
    let x = tensor(&[0.2, 0.8, 0.3, 0.7, 0.4, 0.5], [1, 3, 1, 2], &device).repeat_dim(0, n);
    let share = |config: AugmentConfig| {
        let before = host(x.clone());
        let after = host(augment(&config, &Rng::new(5), 7, 0, x.clone()));
        let changed = before
            .chunks(6)
            .zip(after.chunks(6))
            .filter(|(b, a)| b.iter().zip(*a).any(|(b, a)| (b - a).abs() > 1e-5))
            .count();
        changed as f64 / n as f64
    };
    let only = AugmentConfig::none;
    for (config, p) in [
        (
            AugmentConfig {
                flip: 0.5,
                ..only()
            },
            0.5,
        ),
        (
            AugmentConfig {
                grayscale: 0.2,
                ..only()
            },
            0.2,
        ),
        (
            AugmentConfig {
                colour: Some(jitter(0.8, [0.4, 0.4, 0.4, 0.1])),
                ..only()
            },
            0.8,
        ),
    ] {
        let found = share(config);
        let error = (p * (1.0 - p) / n as f64).sqrt();
        assert!((found - p).abs() < 5.0 * error, "{found} instead of {p}");
    }
}

#[test]
fn factors_cover_their_ranges() {
    let device = Device::flex();
    let n = 4000;
    let x = Tensor::<4>::full([n, 3, 1, 1], 0.5, &device);
    let config = AugmentConfig {
        colour: Some(jitter(1.0, [0.4, 0.0, 0.0, 0.0])),
        ..AugmentConfig::none()
    };
    let y = host(augment(&config, &Rng::new(5), 0, 0, x).narrow(1, 0, 1));
    let (mut low, mut high, mut sum) = (f64::MAX, f64::MIN, 0.0);
    for v in &y {
        let factor = v / 0.5;
        (low, high, sum) = (low.min(factor), high.max(factor), sum + factor);
    }
    assert!(low > 0.6 - 1e-6 && low < 0.605, "{low}");
    assert!(high < 1.4 + 1e-6 && high > 1.395, "{high}");
    // Five standard errors of a uniform's mean.
    let error = 0.8 / (12.0 * n as f64).sqrt();
    assert!((sum / n as f64 - 1.0).abs() < 5.0 * error);
}

#[test]
fn augmentation_of_an_image_does_not_depend_on_its_batch() {
    for (name, device) in devices() {
        for channels in [1, 3] {
            let config = AugmentConfig::strong(channels);
            let rng = Rng::new(11);
            let x = noise([6, channels, 8, 10], &device);
            let all = augment(&config, &rng, 2, 10, x.clone());
            let some = augment(&config, &rng, 2, 12, x.clone().narrow(0, 2, 3));
            let tolerance = if name == "cpu" { 0.0 } else { 1e-6 };
            assert_close(&host(some), &host(all.clone().narrow(0, 2, 3)), tolerance);
            let again = augment(&config, &rng, 2, 10, x.clone());
            assert_close(&host(again), &host(all.clone()), 0.0);
            for other in [
                augment(&config, &rng, 3, 10, x.clone()),
                augment(&config, &Rng::new(12), 2, 10, x.clone()),
            ] {
                let pairs = host(other).into_iter().zip(host(all.clone()));
                let apart = pairs.map(|(a, b)| (a - b).abs()).sum::<f64>();
                assert!(apart / all.shape().num_elements() as f64 > 0.01);
            }
        }
    }
}

#[test]
fn values_stay_in_range_and_devices_agree() {
    for channels in [1, 3] {
        let config = AugmentConfig::strong(channels);
        let mut first: Option<Vec<f64>> = None;
        for (name, device) in devices() {
            // Noise stretched beyond [0, 1] and clipped, so that black, white and greys occur.
            let x = (noise([64, channels, 9, 7], &device) * 3.0 - 1.0).clamp(0.0, 1.0);
            let mut found = Vec::new();
            for step in 0..4 {
                found.extend(host(augment(&config, &Rng::new(2), step, 0, x.clone())));
            }
            assert!(found.iter().all(|v| (0.0..=1.0).contains(v)), "{name}");
            match &first {
                // Contrasts of up to 1.4 and a hue shift amplify the crop's rounding errors.
                Some(cpu) => assert_close(&found, cpu, 2e-5),
                None => first = Some(found),
            }
        }
    }
}

#[test]
fn settings_are_checked_and_round_trip() {
    for config in [
        AugmentConfig::strong(3),
        AugmentConfig::strong(1),
        AugmentConfig::none(),
    ] {
        config.check().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<AugmentConfig>(&text).unwrap(),
            config
        );
        let longer = text.replacen('{', "{\"blur\":1,", 1);
        assert!(serde_json::from_str::<AugmentConfig>(&longer).is_err());
    }
    let mut wrong = AugmentConfig::strong(3);
    wrong.flip = f64::NAN;
    assert!(wrong.check().is_err());
    let mut wrong = AugmentConfig::strong(3);
    wrong.colour = Some(jitter(0.8, [0.4, 0.4, 0.4, 0.6]));
    let error = wrong.check().unwrap_err().to_string();
    assert!(error.contains("hue") && error.contains("0.5"), "{error}");
    let mut wrong = AugmentConfig::strong(3);
    wrong.crop = Some(CropConfig {
        scale: [0.0, 1.0],
        ..strong_crop()
    });
    assert!(wrong.check().is_err());
}

/// `cargo test --release --test suite -- --ignored --nocapture costs`
#[test]
#[ignore = "a measurement"]
fn costs() {
    let device = Device::flex();
    let best = |f: &dyn Fn() -> Tensor<4>| {
        let times = (0..60).map(|_| {
            let start = Instant::now();
            drop(host(f().narrow(0, 0, 1)));
            start.elapsed().as_secs_f64() * 1e3
        });
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        format!("median {:.2} ms, least {:.2} ms", times[30], times[0])
    };
    for shape in [[64, 3, 32, 32], [64, 1, 28, 28]] {
        let x = noise(shape, &device);
        let rng = Rng::new(0);
        let strong = AugmentConfig::strong(shape[1]);
        let whole = || augment(&strong, &rng, 0, 0, x.clone());
        println!("{shape:?} strong: {}", best(&whole));
        let crop = AugmentConfig {
            colour: None,
            grayscale: 0.0,
            ..strong.clone()
        };
        let cropped = || augment(&crop, &rng, 0, 0, x.clone());
        println!("  crop and flip: {}", best(&cropped));
        let boxes = || {
            drop(crop_boxes(&strong_crop(), &rng, 0, 0, 64, [32, 32]));
            x.clone()
        };
        let cuts = crop_boxes(&strong_crop(), &rng, 0, 0, 64, [shape[2], shape[3]]);
        let cubic = || resized_crop(x.clone(), &cuts, &[false; 64], Interpolation::Bicubic);
        println!("  crop alone: {}", best(&cubic));
        let grey = || luma(x.clone());
        println!("  luma: {}", best(&grey));
        println!("  boxes alone: {}", best(&boxes));
        let f = Tensor::<1>::full([64], 1.2, &device);
        let bright = || adjust_brightness(x.clone(), f.clone());
        println!("  brightness: {}", best(&bright));
        let contrast = || adjust_contrast(x.clone(), f.clone());
        println!("  contrast: {}", best(&contrast));
        if shape[1] == 3 {
            let saturation = || adjust_saturation(x.clone(), f.clone());
            println!("  saturation: {}", best(&saturation));
            let hue = || adjust_hue(x.clone(), f.clone() * 0.05);
            println!("  hue: {}", best(&hue));
        }
    }
}
