//! User data sets: folders of images, and parquet files as Hugging Face's library writes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use mixwell::data::{DataRef, Source, Split};

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mixwell-own-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn picture(path: &Path, colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(20, 12, image::Rgb(colour))
        .save(path)
        .unwrap();
}

fn load(
    path: &Path,
    split: Split,
    shape: [usize; 3],
) -> mixwell::error::Result<mixwell::data::Dataset> {
    path.to_str()
        .unwrap()
        .parse::<DataRef>()?
        .load(split, &Source::default(), shape)
}

#[test]
fn folders_are_classes_and_the_held_out_tenth_is_stable() {
    let root = scratch("Flat Pets 2");
    for k in 0..60u8 {
        picture(&root.join(format!("cats/{k:03}.png")), [k, 0, 0]);
        picture(&root.join(format!("dogs/{k:03}.png")), [0, k, 200]);
    }
    let of = |split| load(&root, split, [3, 4, 4]).unwrap();
    let (train, test) = (of(Split::Train), of(Split::Test));
    assert_eq!(train.classes, ["cats", "dogs"]);
    assert_eq!(train.count + test.count, 120);
    assert!((4..=24).contains(&test.count), "{}", test.count);
    assert!(
        train.name.starts_with("mixwell-own-flat-pets-2"),
        "{}",
        train.name
    );
    assert!(train.preprocessing.contains("4 × 4"));
    // Every pixel of an image has its class's colour, with channels in order.
    for (image, label) in train.images.chunks(48).zip(&train.labels) {
        let (red, green, blue) = (&image[..16], &image[16..32], &image[32..]);
        for plane in [red, green, blue] {
            assert!(plane.iter().all(|v| v == &plane[0]));
        }
        let expected: [bool; 2] = if *label == 0 {
            [true, false]
        } else {
            [false, true]
        };
        assert_eq!([blue[0] == 0, blue[0] == 200], expected);
    }
    // Adding images moves none of the existing ones between splits.
    for k in 60..90u8 {
        picture(&root.join(format!("cats/{k:03}.png")), [k, 0, 0]);
    }
    let more = load(&root, Split::Test, [3, 4, 4]).unwrap();
    for image in test.images.chunks(48) {
        assert!(more.images.chunks(48).any(|m| m == image));
    }
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn split_folders_are_splits() {
    let root = scratch("splits");
    for k in 0..5u8 {
        picture(&root.join(format!("train/{k}.png")), [k, k, k]);
    }
    picture(&root.join("val/9.png"), [90, 90, 90]);
    let train = load(&root, Split::Train, [1, 4, 4]).unwrap();
    let test = load(&root, Split::Test, [1, 4, 4]).unwrap();
    assert_eq!((train.count, test.count), (5, 1));
    assert_eq!(train.classes, ["image"]);
    assert_eq!(test.images, [90; 16]);
    // "test" is a class if there is no folder "train".
    std::fs::rename(root.join("train"), root.join("vegetables")).unwrap();
    let train = load(&root, Split::Train, [1, 4, 4]).unwrap();
    assert_eq!(train.classes, ["val", "vegetables"]);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn hugging_face_parquet_files_are_read_with_labels_and_class_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub_set");
    for (split, count, first) in [(Split::Train, 12usize, 0usize), (Split::Test, 4, 12)] {
        let data = load(&root, split, [3, 6, 6]).unwrap();
        assert_eq!(data.count, count);
        assert_eq!(data.classes, ["warm", "cold"]);
        // In shuffled order; each image occurs once, with its label and colour.
        let mut numbers = Vec::new();
        for (image, label) in data.images.chunks(108).zip(&data.labels) {
            let planes: Vec<u8> = image.chunks(36).map(|plane| plane[0]).collect();
            for (plane, value) in image.chunks(36).zip(&planes) {
                assert!(plane.iter().all(|v| v == value));
            }
            let (number, cold) = match planes[..] {
                [200, ten, 7] => (ten / 10, 0),
                [ten, 7, 200] => (ten / 10, 1),
                _ => panic!("no image of the set: {planes:?}"),
            };
            assert_eq!((*label, number % 2), (cold, cold), "{number}");
            numbers.push(usize::from(number));
        }
        let straight: Vec<usize> = (first..first + count).collect();
        assert_ne!(numbers, straight, "in the order of the file");
        numbers.sort_unstable();
        assert_eq!(numbers, straight);
    }
    // A single file has no splits: a tenth of it is held out.
    let file = root.join("data/train-00000-of-00001.parquet");
    let train = load(&file, Split::Train, [1, 6, 6]).unwrap();
    assert!(train.count <= 12 && train.count > 6);
}

#[test]
fn both_splits_number_classes_by_the_training_images() {
    let root = scratch("numbers");
    for class in ["cat", "dog", "fish"] {
        picture(&root.join(format!("train/{class}/1.png")), [9, 9, 9]);
    }
    picture(&root.join("test/fish/2.png"), [8, 8, 8]);
    let test = load(&root, Split::Test, [1, 4, 4]).unwrap();
    assert_eq!((test.labels, test.classes.len()), (vec![2], 3));
    picture(&root.join("test/bird/3.png"), [8, 8, 8]);
    let error = load(&root, Split::Test, [1, 4, 4]).unwrap_err().to_string();
    assert!(
        error.contains("cat, dog, fish") && error.contains("bird"),
        "{error}"
    );
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn small_sets_hold_out_one_image_and_known_names_are_not_shadowed() {
    let root = scratch("few").join("mnist");
    for k in 0..3u8 {
        picture(&root.join(format!("{k}.png")), [k, k, k]);
    }
    let counts = [Split::Train, Split::Test].map(|s| load(&root, s, [1, 4, 4]).unwrap().count);
    assert_eq!((counts[0] + counts[1], counts[1].min(1)), (3, 1));
    let data: DataRef = root.to_str().unwrap().parse().unwrap();
    assert_eq!(data.slug(), "own-mnist");
    std::fs::remove_file(root.join("0.png")).unwrap();
    std::fs::remove_file(root.join("1.png")).unwrap();
    let error = load(&root, Split::Train, [1, 4, 4])
        .unwrap_err()
        .to_string();
    assert!(error.contains("two images"), "{error}");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn unusable_data_is_refused_with_a_reason() {
    let root = scratch("bad");
    let fails = |path: &Path, words: &[&str]| {
        let error = load(path, Split::Train, [1, 4, 4]).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
    };
    fails(
        Path::new("/nonexistent"),
        &["cifar-10", "or a folder", "nonexistent"],
    );
    fails(&root, &["images", "train", "none"]);
    std::fs::write(root.join("a.png"), b"no image").unwrap();
    std::fs::write(root.join("b.png"), b"no image").unwrap();
    fails(&root, &[".png", "expected an image"]);
    std::fs::write(root.join("broken.parquet"), b"PAR1 and then nothing").unwrap();
    fails(&root, &["broken.parquet", "parquet"]);
    std::fs::remove_dir_all(root).unwrap();
}
