//! The data module on synthetic files and a local server; no real data set is needed.
#![cfg(feature = "native")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};
use md5::Md5;
use mixwell::{
    data::{
        ArchiveSpec, Dataset, DatasetName, DatasetSpec, FileSpec, Files, GzSpec, Source, Split,
        SplitSpec, folder,
        idx::{MAX_BYTES, parse_images, parse_labels},
        load_with,
    },
    error::{Error, Result},
};
use sha2::{Digest, Sha256};

// --- idx ---------------------------------------------------------------------------------------

fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    file.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    file.extend(data);
    file
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The problem that the image parser reports for `bytes`.
fn problem(bytes: &[u8]) -> String {
    match parse_images(bytes, Path::new("some-file")).unwrap_err() {
        Error::Data { path, problem, .. } if path == Path::new("some-file") => problem,
        other => panic!("not a data error about some-file: {other:?}"),
    }
}

fn assert_has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in {text:?}");
}

#[test]
fn images_and_labels_are_parsed_raw_and_gzipped() {
    let pixels: Vec<u8> = (0..2 * 3 * 5).collect();
    let file = idx(&[2, 3, 5], &pixels);
    for bytes in [gz(&file), file] {
        let images = parse_images(&bytes, Path::new("f")).unwrap();
        assert_eq!((images.count, images.rows, images.cols), (2, 3, 5));
        assert_eq!(images.pixels, pixels);
    }
    let file = idx(&[300], &[7; 300]);
    for bytes in [gz(&file), file] {
        assert_eq!(parse_labels(&bytes, Path::new("f")).unwrap(), [7; 300]);
    }
}

#[test]
fn broken_idx_files_are_told_with_their_numbers() {
    let good = idx(&[2, 3, 5], &[9; 30]);
    let with = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    let cases: &[(Vec<u8>, &[&str])] = &[
        (vec![], &["16 bytes", "a file of 0 bytes"]),
        (good[..3].to_vec(), &["16 bytes", "a file of 3 bytes"]),
        (good[..15].to_vec(), &["16 bytes", "a file of 15 bytes"]),
        (with(0, 1), &["[1, 0, 8, 3]"]),
        (with(1, 0x50), &["[0, 80, 8, 3]"]),
        (b"<html>not found</html>".to_vec(), &["[60, 104, 116, 109]"]),
        (with(2, 0x0d), &["type 0x08", "found 0x0d"]),
        (with(3, 1), &["expected 3 idx dimension(s), found 1"]),
        (with(3, 4), &["expected 3 idx dimension(s), found 4"]),
        (idx(&[0, 3, 5], &[]), &["at least 1", "[0, 3, 5]"]),
        (idx(&[2, 0, 5], &[]), &["at least 1", "[2, 0, 5]"]),
        (good[..45].to_vec(), &["[2, 3, 5]", "30 bytes", "found 29"]),
        ([&good[..], &[0]].concat(), &["30 bytes", "found 31"]),
        (good[..16].to_vec(), &["30 bytes", "found 0"]),
    ];
    for (file, wanted) in cases {
        // Gzip must not weaken any check.
        for bytes in [file, &gz(file)] {
            let found = problem(bytes);
            wanted.iter().for_each(|part| assert_has(&found, part));
        }
    }
    let labels = parse_labels(&good, Path::new("f")).unwrap_err();
    assert_has(&labels.to_string(), "expected 1 idx dimension(s), found 3");
}

#[test]
fn claimed_sizes_are_compared_before_anything_is_allocated() {
    const MAX: u32 = u32::MAX;
    // Past u64; and within u64, where an allocation of the claimed size would abort the test.
    assert_has(&problem(&idx(&[MAX, MAX, MAX], &[1])), "more than 2^64");
    let product = u64::from(MAX) * u64::from(MAX);
    assert_has(&problem(&idx(&[MAX, MAX, 1], &[1])), &product.to_string());
    // 2^64 elements: a product that wraps around would be 0, the number of bytes that follow.
    let wrapping = idx(&[1 << 31, 1 << 31, 4], &[]);
    assert_has(&problem(&wrapping), "more than 2^64");
}

#[test]
fn gzip_must_be_whole_alone_and_of_bounded_size() {
    let good = gz(&idx(&[2, 3, 5], &[9; 30]));
    assert_has(&problem(&good[..good.len() - 1]), "broken");
    assert_has(&problem(&good[..2]), "broken");
    let mut bad_crc = good.clone();
    let at = good.len() - 8;
    bad_crc[at] ^= 1;
    assert_has(&problem(&bad_crc), "broken");
    assert_has(&problem(&[&good[..], b"xyz"].concat()), "3 trailing bytes");

    // A decompression bomb: one flushed mebibyte of zeros, repeated without end.
    let mut mebibyte = Vec::with_capacity(1 << 16);
    Compress::new(Compression::best(), false)
        .compress_vec(&vec![0; 1 << 20], &mut mebibyte, FlushCompress::Full)
        .unwrap();
    let mut bomb = good[..10].to_vec();
    (0..=MAX_BYTES >> 20).for_each(|_| bomb.extend(&mebibyte));
    assert!(bomb.len() < 1 << 20);
    assert_has(&problem(&bomb), &format!("at most {MAX_BYTES} bytes"));
}

// --- names and table ---------------------------------------------------------------------------

#[test]
fn names_read_back_as_written() {
    for (name, text) in [
        (DatasetName::Mnist, "mnist"),
        (DatasetName::FashionMnist, "fashion-mnist"),
    ] {
        assert_eq!(name.to_string(), text);
        assert_eq!(text.parse::<DatasetName>().unwrap(), name);
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(json, format!("{text:?}"));
        assert_eq!(serde_json::from_str::<DatasetName>(&json).unwrap(), name);
    }
    let unknown = "cifar".parse::<DatasetName>().unwrap_err().to_string();
    assert_has(&unknown, "mnist, fashion-mnist, cifar-10");
    assert_has(&unknown, "\"cifar\"");
    assert_eq!(serde_json::to_string(&Split::Test).unwrap(), "\"test\"");
    assert_eq!(Split::Train.to_string(), "train");
}

#[test]
fn the_table_is_consistent() {
    let is_hex = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut sums = Vec::new();
    for name in DatasetName::ALL {
        let spec = name.spec();
        for split in [&spec.train, &spec.test] {
            let pixels = split.count * spec.channels * spec.height * spec.width;
            match &split.files {
                Files::Idx { images, labels } => {
                    assert_eq!(images.bytes, 16 + pixels);
                    assert_eq!(labels.bytes, 8 + split.count);
                }
                Files::Records(files) => {
                    let bytes: usize = files.iter().map(|f| f.bytes).sum();
                    assert_eq!(bytes, pixels + split.count);
                }
            }
            for file in split.files.all() {
                assert!(file.sha256.len() == 64 && is_hex(file.sha256), "{file:?}");
                sums.push(file.sha256);
                // Each file is published by itself or in the archive.
                assert_eq!(file.gz.is_some(), spec.archive.is_none(), "{file:?}");
                if let Some(gz) = &file.gz {
                    assert!(gz.bytes < file.bytes, "{file:?}");
                    assert!(gz.md5.len() == 32 && is_hex(gz.md5), "{file:?}");
                    sums.push(gz.md5);
                }
            }
        }
        assert!(!spec.mirrors.is_empty());
    }
    let all = sums.len();
    sums.sort_unstable();
    sums.dedup();
    assert_eq!(sums.len(), all, "one sum is given to two files");
}

// --- a synthetic data set, a scratch folder, a server ------------------------------------------

const NAME: &str = "toy";
const IMAGES: &str = "toy-images";
const LABELS: &str = "toy-labels";

/// The raw idx files of 4 images of 2 × 3 and their labels.
fn files() -> [(&'static str, Vec<u8>); 2] {
    let pixels: Vec<u8> = (100..124).collect();
    [
        (IMAGES, idx(&[4, 2, 3], &pixels)),
        (LABELS, idx(&[4], &[0, 1, 2, 1])),
    ]
}

fn file_spec(name: &'static str, raw: &[u8]) -> FileSpec {
    let gz = gz(raw);
    FileSpec {
        name,
        bytes: raw.len(),
        sha256: format!("{:x}", Sha256::digest(raw)).leak(),
        gz: Some(GzSpec {
            bytes: gz.len(),
            md5: format!("{:x}", Md5::digest(&gz)).leak(),
        }),
    }
}

fn spec(mirrors: &[&str]) -> DatasetSpec {
    let [images, labels] = files().map(|(name, raw)| file_spec(name, &raw));
    let split = SplitSpec {
        count: 4,
        files: Files::Idx { images, labels },
    };
    let mirrors: Vec<&'static str> = mirrors.iter().map(|m| &*m.to_string().leak()).collect();
    DatasetSpec {
        name: NAME,
        mirrors: mirrors.leak(),
        archive: None,
        channels: 1,
        height: 2,
        width: 3,
        title: "Synthetic",
        class_names: &["a", "b", "c"],
        train: split.clone(),
        test: split,
    }
}

fn load(spec: &DatasetSpec, source: &Source) -> Result<Dataset> {
    load_with(spec, Split::Train, source, &mut |_| {})
}

fn assert_is_toy(found: &Dataset) {
    let expected = Dataset {
        name: NAME.into(),
        split: Split::Train,
        images: (100..124).collect(),
        labels: vec![0, 1, 2, 1],
        count: 4,
        height: 2,
        width: 3,
        channels: 1,
        ..found.clone()
    };
    assert_eq!(found, &expected);
}

/// A folder that is deleted when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("mixwell-data-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn as_data_dir(&self) -> Source {
        Source {
            data_dir: Some(self.0.clone()),
            ..Source::default()
        }
    }

    fn as_cache(&self) -> Source {
        Source {
            cache_dir: Some(self.0.clone()),
            timeout: Duration::from_secs(5),
            ..Source::default()
        }
    }

    /// Names and contents of the cached files of the toy data set, sorted.
    fn cached(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.0.join(NAME)).into_iter().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|e| {
                let name = e.file_name().into_string().unwrap();
                (name, fs::read(e.path()).unwrap_or_default())
            })
            .collect();
        files.sort();
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the server does with a request for a file.
#[derive(Clone)]
enum Answer {
    /// 200, with this many bytes announced and these sent.
    Body(usize, Vec<u8>),
    /// 200 with `Content-Encoding: gzip`.
    Encoded(Vec<u8>),
    /// No length announced, these bytes, and the connection closed.
    UntilClosed(Vec<u8>),
    NotFound,
    /// A body that is announced and never sent, until the client hangs up (5 s at most).
    Silence,
}

impl Answer {
    fn whole(body: Vec<u8>) -> Self {
        Self::Body(body.len(), body)
    }

    fn send(self, mut stream: TcpStream) -> std::io::Result<()> {
        let (head, body) = match self {
            Self::Body(n, body) => (format!("200 OK\r\nContent-Length: {n}"), body),
            Self::Encoded(body) => {
                let n = body.len();
                let head = format!("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {n}");
                (head, body)
            }
            Self::UntilClosed(body) => ("200 OK".into(), body),
            Self::NotFound => ("404 Not Found\r\nContent-Length: 0".into(), vec![]),
            Self::Silence => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")?;
                // Ends when the client hangs up or the read times out.
                return stream.read(&mut [0]).map(|_| ());
            }
        };
        write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
        stream.write_all(&body)
    }
}

/// A server on 127.0.0.1 that stops when dropped.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers a request for `/toy/<file>.gz` by `answer(<file>)`.
    fn new(answer: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/toy/", listener.local_addr().unwrap());
        let (requests, stop) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (count, stopped) = (requests.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up early is one of the cases, not a failure of the server.
                let _ = stream.and_then(|stream| {
                    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
                    let mut lines = BufReader::new(stream.try_clone()?).lines();
                    let first = lines.next().transpose()?.unwrap_or_default();
                    while lines
                        .next()
                        .transpose()?
                        .is_some_and(|line| !line.is_empty())
                    {}
                    count.fetch_add(1, Ordering::SeqCst);
                    let path = first.split(' ').nth(1).unwrap_or_default();
                    let file = path
                        .strip_prefix("/toy/")
                        .and_then(|p| p.strip_suffix(".gz"));
                    file.map_or(Answer::NotFound, &answer).send(stream)
                });
            }
        });
        Self {
            url,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    /// A server of the toy data set as published.
    fn good() -> Self {
        Self::new(|file| Answer::whole(published(file)))
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let address = self.url["http://".len()..].split('/').next().unwrap();
        let _ = TcpStream::connect(address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Two files of two records, 3 channels of 2 × 1, as one archive that contains an unrelated file.
fn archived(mirrors: &[&str]) -> (DatasetSpec, Vec<u8>) {
    let file = |name: &'static str, first: u8| {
        let record = |label: u8| std::iter::once(label).chain(first..first + 6);
        let raw: Vec<u8> = [1, 2].into_iter().flat_map(record).collect();
        let spec = FileSpec {
            gz: None,
            ..file_spec(name, &raw)
        };
        (spec, raw)
    };
    let files = [file("one.bin", 10), file("two.bin", 20)];
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, raw: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(raw.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("batches/{name}"), raw)
            .unwrap();
    };
    files.iter().for_each(|(spec, raw)| add(spec.name, raw));
    add("readme.html", b"not a data file");
    let body = gz(&tar.into_inner().unwrap());
    let [one, two] = files.map(|(spec, _)| spec);
    let split = |spec: FileSpec| SplitSpec {
        count: 2,
        files: Files::Records(vec![spec].leak()),
    };
    let spec = DatasetSpec {
        archive: Some(ArchiveSpec {
            name: "batches.gz",
            bytes: body.len(),
            md5: format!("{:x}", Md5::digest(&body)).leak(),
            folder: "batches",
        }),
        channels: 3,
        height: 2,
        width: 1,
        train: split(one),
        test: split(two),
        ..spec(mirrors)
    };
    (spec, body)
}

fn published(file: &str) -> Vec<u8> {
    let (_, raw) = files().into_iter().find(|(name, _)| *name == file).unwrap();
    gz(&raw)
}

// --- data folder -------------------------------------------------------------------------------

#[test]
fn a_data_folder_may_hold_raw_or_gzipped_files_directly_or_nested() {
    let server = Server::good();
    for prefix in ["", "toy/"] {
        for suffix in ["", ".gz"] {
            let dir = Scratch::new();
            for (name, raw) in files() {
                // Recompressed by the user, so the .gz is not the published one: only the content counts.
                let mut best = GzEncoder::new(Vec::new(), Compression::none());
                best.write_all(&raw).unwrap();
                let best = best.finish().unwrap();
                assert_ne!(best, gz(&raw));
                let content = if suffix.is_empty() { raw } else { best };
                dir.put(&format!("{prefix}{name}{suffix}"), &content);
            }
            assert_is_toy(&load(&spec(&[&server.url]), &dir.as_data_dir()).unwrap());
        }
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn the_data_sets_own_folder_precedes_its_parent() {
    let dir = Scratch::new();
    for (name, raw) in files() {
        dir.put(name, b"the file of another data set by the same name");
        dir.put(&format!("toy/{name}"), &raw);
    }
    assert_is_toy(&load(&spec(&[]), &dir.as_data_dir()).unwrap());
}

#[test]
fn wrong_files_in_a_data_folder_are_refused() {
    let [(_, images), (_, labels)] = files();
    let mut other = images.clone();
    other[20] ^= 1;
    let longer = [&images[..], &[0]].concat();
    let cases: &[(&str, &[u8], &str)] = &[
        ("", &other, "expected SHA-256"),
        ("", &images[..39], "expected 40 bytes, found 39"),
        ("", &longer, "expected 40 bytes, found 41"),
        ("", &[], "expected 40 bytes, found 0"),
        ("", &[0; 10_000], "found 10000 bytes"),
        (".gz", &gz(&other), "expected SHA-256"),
        (".gz", &gz(&longer), "at most 40 bytes when decompressed"),
        (".gz", &gz(&images)[..30], "broken"),
    ];
    let server = Server::good();
    for (suffix, content, wanted) in cases {
        let dir = Scratch::new();
        let file = format!("{IMAGES}{suffix}");
        dir.put(&file, content);
        dir.put(LABELS, &labels);
        let error = load(&spec(&[&server.url]), &dir.as_data_dir()).unwrap_err();
        assert_has(&error.to_string(), wanted);
        assert!(matches!(error, Error::Data { path, .. } if path == dir.0.join(file)));
    }
    let dir = Scratch::new();
    dir.put(&format!("{IMAGES}/inside"), b"");
    let error = load(&spec(&[]), &dir.as_data_dir()).unwrap_err();
    assert_has(&error.to_string(), "expected a regular file");
    assert_eq!(server.requests(), 0);
}

#[test]
fn missing_files_in_a_data_folder_are_reported_and_not_downloaded() {
    let server = Server::good();
    let dir = Scratch::new();
    dir.put(IMAGES, &files()[0].1);
    let error = load(&spec(&[&server.url]), &dir.as_data_dir()).unwrap_err();
    assert_has(&error.to_string(), "toy-labels");
    assert_has(&error.to_string(), "found neither");
    assert_has(&error.to_string(), "--data-dir");
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_specification_that_contradicts_its_files_is_an_error() {
    let dir = Scratch::new();
    files().iter().for_each(|(name, raw)| dir.put(name, raw));
    let good = spec(&[]);
    let mut turned = good.clone();
    (turned.height, turned.width) = (3, 2);
    let mut counted = good.clone();
    counted.train.count = 3;
    let mut classed = good.clone();
    classed.class_names = &["a", "b"];
    assert_is_toy(&load(&good, &dir.as_data_dir()).unwrap());
    for (wrong, wanted) in [
        (turned, "[4, 3, 2, 4]"),
        (counted, "[3, 2, 3, 3]"),
        (classed, "Some(2)"),
    ] {
        let error = load(&wrong, &dir.as_data_dir()).unwrap_err();
        assert_has(&error.to_string(), wanted);
    }
}

// --- cache and network -------------------------------------------------------------------------

#[test]
fn a_good_download_is_cached_and_its_progress_reported() {
    let server = Server::good();
    let cache = Scratch::new();
    let toy = spec(&[&server.url]);
    let mut reports = Vec::new();
    let loaded = load_with(&toy, Split::Train, &cache.as_cache(), &mut |p| {
        reports.push((p.url.to_owned(), p.received, p.total));
    });
    assert_is_toy(&loaded.unwrap());
    assert_eq!(cache.cached(), files().map(|(n, raw)| (n.to_owned(), raw)));
    for (name, raw) in files() {
        let url = format!("{}{name}.gz", server.url);
        let of_file: Vec<_> = reports.iter().filter(|t| t.0 == url).collect();
        let total = gz(&raw).len() as u64;
        assert_eq!(of_file.first(), Some(&&(url.clone(), 0, total)));
        assert_eq!(of_file.last(), Some(&&(url.clone(), total, total)));
        assert!(of_file.is_sorted());
    }

    // From now on the cache suffices, offline and online.
    let offline = Source {
        offline: true,
        ..cache.as_cache()
    };
    assert_is_toy(&load(&toy, &offline).unwrap());
    assert_is_toy(&load(&toy, &cache.as_cache()).unwrap());
    assert_eq!(server.requests(), 2);
}

/// Bad answers to a request for the images, and the text that the error must contain.
fn bad_answers() -> Vec<(Answer, &'static str)> {
    let [(_, images), _] = files();
    let good = gz(&images);
    let n = good.len();
    let mut corrupt = good.clone();
    corrupt[n / 2] ^= 1;
    let mut other = images.clone();
    other[20] ^= 1;
    // Not read to its end.
    let capped = format!("expected 40 bytes, found {}", n.max(40) + 1);
    let html = b"<html>sign in to the network</html>".to_vec();
    vec![
        (Answer::Body(n, good[..n - 5].to_vec()), "bytes"),
        (Answer::whole(good[..n - 5].to_vec()), "bytes, found"),
        (Answer::UntilClosed(good[..n - 5].to_vec()), "bytes, found"),
        (Answer::whole(vec![]), "expected 40 bytes, found 0"),
        (Answer::whole(corrupt), "expected MD5"),
        (Answer::whole(other), "expected SHA-256"),
        (Answer::whole(html), "expected 40 bytes, found 35"),
        (Answer::UntilClosed(vec![0; 1 << 24]), capped.leak()),
        (Answer::NotFound, "404"),
        (Answer::Silence, "timeout"),
    ]
}

#[test]
fn a_bad_download_leaves_the_cache_unchanged() {
    for (answer, wanted) in bad_answers() {
        let server = Server::new(move |_| answer.clone());
        let cache = Scratch::new();
        let source = Source {
            timeout: Duration::from_millis(500),
            ..cache.as_cache()
        };
        let begun = Instant::now();
        let error = load(&spec(&[&server.url]), &source).unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{error:?}");
        assert_has(&error.to_string(), wanted);
        assert_has(&error.to_string(), &format!("{}{IMAGES}.gz", server.url));
        assert_has(&error.to_string(), "--data-dir");
        assert!(begun.elapsed() < Duration::from_secs(4), "{error}");
        assert_eq!(cache.cached(), [], "after {error}");

        // The same with old files in the cache, one valid and one not: both are kept.
        let [(_, images), (_, labels)] = files();
        cache.put(&format!("toy/{IMAGES}"), &images[..39]);
        cache.put(&format!("toy/{LABELS}"), &labels);
        let before = cache.cached();
        load(&spec(&[&server.url]), &source).unwrap_err();
        assert_eq!(cache.cached(), before, "after {error}");
        assert_eq!(server.requests(), 2);
    }
}

#[test]
fn a_failed_mirror_is_followed_by_the_next() {
    for (answer, _) in bad_answers() {
        let bad = Server::new(move |_| answer.clone());
        let good = Server::good();
        let cache = Scratch::new();
        let source = Source {
            timeout: Duration::from_millis(500),
            ..cache.as_cache()
        };
        assert_is_toy(&load(&spec(&[&bad.url, &good.url]), &source).unwrap());
        assert_eq!((bad.requests(), good.requests()), (2, 2));
    }
}

#[test]
fn every_failed_mirror_is_reported() {
    let [missing, empty] = [Answer::NotFound, Answer::whole(vec![])]
        .map(|answer| Server::new(move |_| answer.clone()));
    let cache = Scratch::new();
    let error = load(&spec(&[&missing.url, &empty.url]), &cache.as_cache()).unwrap_err();
    for part in [&*missing.url, &*empty.url, "404", "found 0"] {
        assert_has(&error.to_string(), part);
    }
}

#[test]
fn only_a_corrupt_cached_file_is_downloaded_again() {
    let [(_, images), (_, labels)] = files();
    let mut flipped = images.clone();
    flipped[39] ^= 0x80;
    for spoiled in [&flipped[..], &images[..7], &[], &[0; 10_000]] {
        let server = Server::good();
        let cache = Scratch::new();
        cache.put(&format!("toy/{IMAGES}"), spoiled);
        cache.put(&format!("toy/{LABELS}"), &labels);

        let offline = Source {
            offline: true,
            ..cache.as_cache()
        };
        let error = load(&spec(&[&server.url]), &offline).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        assert_has(&error.to_string(), "without --offline");
        assert_eq!(server.requests(), 0);

        assert_is_toy(&load(&spec(&[&server.url]), &cache.as_cache()).unwrap());
        assert_eq!(server.requests(), 1);
        assert_eq!(cache.cached(), files().map(|(n, raw)| (n.to_owned(), raw)));
    }
}

#[test]
fn offline_without_a_cache_suggests_a_fix() {
    let server = Server::good();
    let cache = Scratch::new();
    let offline = Source {
        offline: true,
        ..cache.as_cache()
    };
    let error = load(&spec(&[&server.url]), &offline).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    assert_has(&error.to_string(), "offline");
    assert_has(&error.to_string(), "--data-dir");
    assert_eq!((server.requests(), cache.cached()), (0, vec![]));
}

#[test]
fn the_default_cache_is_in_the_users_cache_folder() {
    let offline = Source {
        offline: true,
        ..Source::default()
    };
    let error = load(&spec(&[]), &offline).unwrap_err();
    let path: PathBuf = ["datasets", NAME, IMAGES].iter().collect();
    assert_has(&error.to_string(), &path.display().to_string());
    assert_has(&error.to_string(), "mixwell");
}

#[test]
fn a_gz_decoded_in_transit_is_accepted() {
    let server = Server::new(|file| Answer::Encoded(published(file)));
    let cache = Scratch::new();
    assert_is_toy(&load(&spec(&[&server.url]), &cache.as_cache()).unwrap());
}

#[test]
fn an_unwritable_cache_is_an_error_and_leaves_no_temporary_file() {
    let server = Server::good();
    // A folder in place of the file cannot be replaced by a rename.
    let cache = Scratch::new();
    cache.put(&format!("toy/{IMAGES}/inside"), b"");
    let error = load(&spec(&[&server.url]), &cache.as_cache()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(cache.cached(), [(IMAGES.to_owned(), vec![])]);
    assert_eq!(server.requests(), 1);
    // A file in place of the folder is reported before any download.
    let cache = Scratch::new();
    cache.put(NAME, b"");
    let error = load(&spec(&[&server.url]), &cache.as_cache()).unwrap_err();
    assert_has(&error.to_string(), "cannot create");
    assert_eq!(server.requests(), 1);
}

// --- archives and folders of images ------------------------------------------------------------

#[test]
fn an_archive_is_downloaded_once_for_all_its_files() {
    let (_, body) = archived(&[]);
    let sent = body.clone();
    let server = Server::new(move |_| Answer::whole(sent.clone()));
    let (spec, _) = archived(&[&server.url]);
    let cache = Scratch::new();
    for (split, first) in [(Split::Train, 10), (Split::Test, 20), (Split::Train, 10)] {
        let data = load_with(&spec, split, &cache.as_cache(), &mut |_| {}).unwrap();
        assert_eq!(data.labels, [1, 2]);
        assert_eq!(data.images[..6], (first..first + 6).collect::<Vec<u8>>());
        assert_eq!(data.shape(), [3, 2, 1]);
    }
    assert_eq!(server.requests(), 1);
    // The unpacked folder also works as a data folder.
    let folder = Scratch::new();
    for name in ["one.bin", "two.bin"] {
        folder.put(
            &format!("batches/{name}"),
            &fs::read(cache.0.join(NAME).join(name)).unwrap(),
        );
    }
    assert_eq!(load(&spec, &folder.as_data_dir()).unwrap().count, 2);
}

#[test]
fn a_wrong_or_truncated_archive_is_refused() {
    let (_, body) = archived(&[]);
    for wrong in [
        body[..body.len() - 1].to_vec(),
        gz(b"no tar"),
        vec![0; body.len()],
    ] {
        let server = Server::new(move |_| Answer::whole(wrong.clone()));
        let (spec, _) = archived(&[&server.url]);
        let cache = Scratch::new();
        let error = load(&spec, &cache.as_cache()).unwrap_err().to_string();
        assert_has(&error, "expected");
        assert_has(&error, "one.bin");
        assert!(cache.cached().is_empty(), "nothing unverified is kept");
    }
}

fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Vec<u8> {
    let image = image::RgbaImage::from_fn(width, height, |x, y| image::Rgba(pixel(x, y)));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn images_in_folders_are_cropped_scaled_and_converted_to_grey() {
    let dir = Scratch::new();
    // White beside the central square must be cropped; half-transparent white becomes grey.
    dir.put(
        "a.png",
        &png(12, 4, |x, _| {
            if (4..8).contains(&x) {
                [255, 255, 255, 128]
            } else {
                [255; 4]
            }
        }),
    );
    dir.put(
        "deep/b.PNG",
        &png(8, 8, |x, _| {
            if x < 4 {
                [255, 0, 0, 255]
            } else {
                [0, 0, 0, 255]
            }
        }),
    );
    dir.put("readme.txt", b"no image");
    let grey = folder::load(&dir.0, [1, 4, 4], 100).unwrap();
    assert_eq!((grey.count, grey.images.len()), (2, 32));
    assert!(
        grey.images[..16].iter().all(|&v| v == 128),
        "{:?}",
        grey.images
    );
    // Red's luma is 0.299 · 255 = 76.
    assert_eq!(grey.images[16..18], [76, 76]);
    assert_eq!(grey.images[18..20], [0, 0]);
    let colour = folder::load(&dir.0, [3, 4, 4], 100).unwrap();
    assert_eq!(colour.images[48..52], [255, 255, 0, 0]);
    assert_eq!(colour.images[64..68], [0; 4]);
    assert_eq!(folder::load(&dir.0, [1, 4, 4], 1).unwrap().count, 1);
}

#[test]
fn non_images_and_huge_images_are_refused_before_decoding() {
    let refused = |name: &str, content: &[u8]| {
        let dir = Scratch::new();
        dir.put(name, content);
        folder::load(&dir.0, [1, 4, 4], 100)
            .unwrap_err()
            .to_string()
    };
    assert_has(&refused("a.txt", b"text"), "found none");
    assert_has(&refused("a.png", b"text"), "a.png");
    let whole = png(64, 64, |x, y| [x as u8, y as u8, (x * y) as u8, 255]);
    assert_has(&refused("cut.png", &whole[..whole.len() / 2]), "broken");
    // A header of 10,000 × 10,000: 100 megapixels without any data.
    let mut huge = png(1, 1, |_, _| [0; 4]);
    huge[16..20].copy_from_slice(&10_000u32.to_be_bytes());
    huge[20..24].copy_from_slice(&10_000u32.to_be_bytes());
    let crc = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    assert_has(&refused("huge.png", &huge), "10000 × 10000");
    let nowhere = folder::load("/nonexistent".as_ref(), [1, 4, 4], 1).unwrap_err();
    assert_has(&nowhere.to_string(), "/nonexistent");
}

/// PNG's checksum.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
