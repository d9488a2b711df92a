//! The table of known data sets: another one is a variant, an entry of `ALL`, and a [`DatasetSpec`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A known data set, written `mnist` or `fashion-mnist` on the command line and in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// Handwritten digits (LeCun, Cortes, Burges).
    Mnist,
    /// Zalando's articles of clothing, in MNIST's format.
    FashionMnist,
}

impl DatasetName {
    /// Every known data set.
    pub const ALL: [Self; 2] = [Self::Mnist, Self::FashionMnist];

    /// The entry of the table: files, checksums, addresses, shape.
    pub fn spec(self) -> &'static DatasetSpec {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION_MNIST,
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.spec().name)
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|name| name.spec().name == s)
            .ok_or_else(|| {
                let known = Self::ALL.map(|name| name.spec().name).join(", ");
                let fix = "choose one of these names";
                Error::invalid("data set", format!("one of {known}"), format!("{s:?}"), fix)
            })
    }
}

/// What is known of a data set before any of its files is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSpec {
    /// Its name, also that of its folder in a cache or data folder.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Names of its classes, by label.
    pub class_names: &'static [&'static str],
    /// Base addresses, asked in this order for `<base>/<file>.gz`.
    pub mirrors: &'static [&'static str],
    /// Height of an image, in pixels.
    pub height: usize,
    /// Width of an image, in pixels.
    pub width: usize,
    /// The training split.
    pub train: SplitSpec,
    /// The test split.
    pub test: SplitSpec,
}

/// One split: two idx files that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSpec {
    /// Number of labelled images.
    pub count: usize,
    /// The idx3 file, `count × height × width`.
    pub images: FileSpec,
    /// The idx1 file, `count`.
    pub labels: FileSpec,
}

/// One file, told apart from any other by the length and SHA-256 of its uncompressed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// File name without `.gz`.
    pub name: &'static str,
    /// Length of the idx file itself, in bytes.
    pub bytes: usize,
    /// SHA-256 of the idx file itself, in lower-case hex.
    pub sha256: &'static str,
    /// Length of the published `.gz`, in bytes.
    pub gz_bytes: usize,
    /// MD5 of the published `.gz`, in lower-case hex, as the publishers and torchvision give it.
    pub gz_md5: &'static str,
}

// The SHA-256 sums are of files whose MD5 sums equal the published ones of the uncompressed files
// (MNIST 6bbc9ace…, a25bea73…, 2646ac64…, 27ae3e4e…; Fashion-MNIST f4a8712d…, 9018921c…,
// 8181f547…, 15d48437…).

static MNIST: DatasetSpec = DatasetSpec {
    name: "mnist",
    title: "MNIST digits",
    class_names: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    // The original site is often down or closed, so torchvision's mirror comes first.
    mirrors: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "http://yann.lecun.com/exdb/mnist",
    ],
    height: 28,
    width: 28,
    train: SplitSpec {
        count: 60_000,
        images: FileSpec {
            name: "train-images-idx3-ubyte",
            bytes: 47_040_016,
            sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            gz_bytes: 9_912_422,
            gz_md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        },
        labels: FileSpec {
            name: "train-labels-idx1-ubyte",
            bytes: 60_008,
            sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            gz_bytes: 28_881,
            gz_md5: "d53e105ee54ea40749a09fcbcd1e9432",
        },
    },
    test: SplitSpec {
        count: 10_000,
        images: FileSpec {
            name: "t10k-images-idx3-ubyte",
            bytes: 7_840_016,
            sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            gz_bytes: 1_648_877,
            gz_md5: "9fb629c4189551a2d022fa330f9573f3",
        },
        labels: FileSpec {
            name: "t10k-labels-idx1-ubyte",
            bytes: 10_008,
            sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            gz_bytes: 4_542,
            gz_md5: "ec29112dd5afa0611ce80d1b7f02629c",
        },
    },
};

static FASHION_MNIST: DatasetSpec = DatasetSpec {
    name: "fashion-mnist",
    title: "Fashion-MNIST clothing",
    class_names: &[
        "T-shirt",
        "trousers",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ],
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ],
    height: 28,
    width: 28,
    train: SplitSpec {
        count: 60_000,
        images: FileSpec {
            name: "train-images-idx3-ubyte",
            bytes: 47_040_016,
            sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            gz_bytes: 26_421_880,
            gz_md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        },
        labels: FileSpec {
            name: "train-labels-idx1-ubyte",
            bytes: 60_008,
            sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            gz_bytes: 29_515,
            gz_md5: "25c81989df183df01b3e8a0aad5dffbe",
        },
    },
    test: SplitSpec {
        count: 10_000,
        images: FileSpec {
            name: "t10k-images-idx3-ubyte",
            bytes: 7_840_016,
            sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            gz_bytes: 4_422_102,
            gz_md5: "bef4ecab320f06d8554ea6380940ec79",
        },
        labels: FileSpec {
            name: "t10k-labels-idx1-ubyte",
            bytes: 10_008,
            sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            gz_bytes: 5_148,
            gz_md5: "bb300cfdad3c16e7a12a480ee83cd310",
        },
    },
};
