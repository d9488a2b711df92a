//! The table of known data sets. To add one: a variant, an entry in `ALL`, and a [`DatasetSpec`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A known data set, written as its [`DatasetSpec::name`] on the command line and in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// Handwritten digits (LeCun, Cortes, Burges).
    Mnist,
    /// Zalando's articles of clothing, in MNIST's format.
    FashionMnist,
    /// Small colour photographs of ten kinds of things (Krizhevsky 2009).
    #[serde(rename = "cifar-10")]
    Cifar10,
}

impl DatasetName {
    /// Every known data set.
    pub const ALL: [Self; 3] = [Self::Mnist, Self::FashionMnist, Self::Cifar10];

    /// The table entry: files, checksums, addresses, shape.
    pub fn spec(self) -> &'static DatasetSpec {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION_MNIST,
            Self::Cifar10 => &CIFAR_10,
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

/// Description of a data set: names, shape, files and checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSpec {
    /// Its name, and the name of its folder in a cache or data folder.
    pub name: &'static str,
    /// Display name.
    pub title: &'static str,
    /// Names of its classes, by label.
    pub class_names: &'static [&'static str],
    /// Base addresses, tried in this order for `<base>/<file>.gz` or the archive.
    pub mirrors: &'static [&'static str],
    /// The archive with all files, if they are not published separately.
    pub archive: Option<ArchiveSpec>,
    /// Values per pixel; 1 for grey.
    pub channels: usize,
    /// Height of an image, in pixels.
    pub height: usize,
    /// Width of an image, in pixels.
    pub width: usize,
    /// The training split.
    pub train: SplitSpec,
    /// The test split.
    pub test: SplitSpec,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSpec {
    /// Number of labelled images.
    pub count: usize,
    /// Their files.
    pub files: Files,
}

/// The files of a split, by format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// A pair of idx files.
    Idx {
        /// The idx3 file, `count × height × width`.
        images: FileSpec,
        /// The idx1 file, `count`.
        labels: FileSpec,
    },
    /// Files of records, each a label and the image's bytes, channel by channel: the binary version
    /// of CIFAR-10.
    Records(&'static [FileSpec]),
}

impl Files {
    /// All files of the split.
    pub fn all(&self) -> Vec<&FileSpec> {
        match self {
            Self::Idx { images, labels } => vec![images, labels],
            Self::Records(files) => files.iter().collect(),
        }
    }
}

/// A `.tar.gz` with all files of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSpec {
    /// File name.
    pub name: &'static str,
    /// Length in bytes.
    pub bytes: usize,
    /// Published MD5 in lower-case hex.
    pub md5: &'static str,
    /// The folder inside it, which may also be in a data folder.
    pub folder: &'static str,
}

/// One file, identified by the length and SHA-256 of its uncompressed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// File name without `.gz`.
    pub name: &'static str,
    /// Length of the file itself, in bytes.
    pub bytes: usize,
    /// SHA-256 of the file itself, in lower-case hex.
    pub sha256: &'static str,
    /// The published `.gz`; `None` for a file from an archive.
    pub gz: Option<GzSpec>,
}

/// A published `.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GzSpec {
    /// Length in bytes.
    pub bytes: usize,
    /// MD5 in lower-case hex, as given by the publishers and torchvision.
    pub md5: &'static str,
}

// The SHA-256 sums were taken from files whose MD5 sums equal the published ones of the uncompressed
// files (MNIST 6bbc9ace…, a25bea73…, 2646ac64…, 27ae3e4e…; Fashion-MNIST f4a8712d…, 9018921c…,
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
    archive: None,
    channels: 1,
    height: 28,
    width: 28,
    train: SplitSpec {
        count: 60_000,
        files: Files::Idx {
            images: FileSpec {
                name: "train-images-idx3-ubyte",
                bytes: 47_040_016,
                sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                gz: Some(GzSpec {
                    bytes: 9_912_422,
                    md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                }),
            },
            labels: FileSpec {
                name: "train-labels-idx1-ubyte",
                bytes: 60_008,
                sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                gz: Some(GzSpec {
                    bytes: 28_881,
                    md5: "d53e105ee54ea40749a09fcbcd1e9432",
                }),
            },
        },
    },
    test: SplitSpec {
        count: 10_000,
        files: Files::Idx {
            images: FileSpec {
                name: "t10k-images-idx3-ubyte",
                bytes: 7_840_016,
                sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                gz: Some(GzSpec {
                    bytes: 1_648_877,
                    md5: "9fb629c4189551a2d022fa330f9573f3",
                }),
            },
            labels: FileSpec {
                name: "t10k-labels-idx1-ubyte",
                bytes: 10_008,
                sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                gz: Some(GzSpec {
                    bytes: 4_542,
                    md5: "ec29112dd5afa0611ce80d1b7f02629c",
                }),
            },
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
    archive: None,
    channels: 1,
    height: 28,
    width: 28,
    train: SplitSpec {
        count: 60_000,
        files: Files::Idx {
            images: FileSpec {
                name: "train-images-idx3-ubyte",
                bytes: 47_040_016,
                sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                gz: Some(GzSpec {
                    bytes: 26_421_880,
                    md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                }),
            },
            labels: FileSpec {
                name: "train-labels-idx1-ubyte",
                bytes: 60_008,
                sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                gz: Some(GzSpec {
                    bytes: 29_515,
                    md5: "25c81989df183df01b3e8a0aad5dffbe",
                }),
            },
        },
    },
    test: SplitSpec {
        count: 10_000,
        files: Files::Idx {
            images: FileSpec {
                name: "t10k-images-idx3-ubyte",
                bytes: 7_840_016,
                sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                gz: Some(GzSpec {
                    bytes: 4_422_102,
                    md5: "bef4ecab320f06d8554ea6380940ec79",
                }),
            },
            labels: FileSpec {
                name: "t10k-labels-idx1-ubyte",
                bytes: 10_008,
                sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                gz: Some(GzSpec {
                    bytes: 5_148,
                    md5: "bb300cfdad3c16e7a12a480ee83cd310",
                }),
            },
        },
    },
};

/// One of CIFAR-10's files: 10,000 records of a label and 3 × 32 × 32 bytes. The SHA-256 sums were taken
/// from files whose MD5 sums equal those of torchvision and of the published archive.
const fn record(name: &'static str, sha256: &'static str) -> FileSpec {
    FileSpec {
        name,
        bytes: 10_000 * (1 + 3 * 32 * 32),
        sha256,
        gz: None,
    }
}

static CIFAR_10: DatasetSpec = DatasetSpec {
    name: "cifar-10",
    title: "CIFAR-10 photographs",
    class_names: &[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
    mirrors: &["https://www.cs.toronto.edu/~kriz"],
    archive: Some(ArchiveSpec {
        name: "cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        md5: "c32a1d4ab5d03f1284b67883e8d87530",
        folder: "cifar-10-batches-bin",
    }),
    channels: 3,
    height: 32,
    width: 32,
    train: SplitSpec {
        count: 50_000,
        files: Files::Records(&[
            record(
                "data_batch_1.bin",
                "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            ),
            record(
                "data_batch_2.bin",
                "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            ),
            record(
                "data_batch_3.bin",
                "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            ),
            record(
                "data_batch_4.bin",
                "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            ),
            record(
                "data_batch_5.bin",
                "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            ),
        ]),
    },
    test: SplitSpec {
        count: 10_000,
        files: Files::Records(&[record(
            "test_batch.bin",
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        )]),
    },
};
