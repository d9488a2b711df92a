//! Sources of data files: the user's folder, the cache, or a mirror; always verified.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use md5::Md5;
use sha2::{Digest, Sha256};

use super::{
    idx::{self, Checked},
    registry::{ArchiveSpec, DatasetSpec, FileSpec},
};
use crate::error::{Error, Result};

/// Longest time for one file from one mirror, even with steady progress.
const MAX_DOWNLOAD: Duration = Duration::from_secs(30 * 60);

/// Where to look for the files of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A folder with the files, raw or `.gz`, in `<data_dir>/<data set>/` or in `<data_dir>`. If given,
    /// neither the cache nor the network is used.
    pub data_dir: Option<PathBuf>,
    /// Folder for downloads, stored uncompressed as `<cache_dir>/<data set>/<file>`. `None` is the
    /// folder `datasets` in the user's cache folder for `mixwell`.
    pub cache_dir: Option<PathBuf>,
    /// Never use the network.
    pub offline: bool,
    /// How long a mirror may be silent before the next one is tried.
    pub timeout: Duration,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            data_dir: None,
            cache_dir: None,
            offline: false,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Progress of a download. It restarts at 0 for each file and each mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadProgress<'a> {
    /// The requested address.
    pub url: &'a str,
    /// Bytes received.
    pub received: u64,
    /// Length of the published file in bytes.
    pub total: u64,
}

impl Source {
    /// The verified content of one file, uncompressed.
    pub(super) fn fetch(
        &self,
        spec: &DatasetSpec,
        file: &FileSpec,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<Vec<u8>> {
        match &self.data_dir {
            Some(dir) => from_data_dir(dir, spec, file),
            None => self.cached(spec, file, progress),
        }
    }

    /// The cached file; downloaded first if it is missing or corrupt.
    fn cached(
        &self,
        spec: &DatasetSpec,
        file: &FileSpec,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<Vec<u8>> {
        let folder = self.cache_dir()?.join(spec.name);
        let path = folder.join(file.name);
        let fix = "run once without --offline to fetch it again, or pass --data-dir DIR";
        let unusable = match read_verified(&path, file, fix) {
            Ok(Some(content)) => return Ok(content),
            Ok(None) => None,
            Err(e) => Some(e),
        };
        if self.offline {
            return Err(unusable.unwrap_or_else(|| Error::Network {
                url: format!("{}.gz", file.name),
                problem: format!("offline, and there is no {}", path.display()),
                fix: format!("run once without --offline, or {}", bring(spec)),
            }));
        }
        // Before the download, so that a folder that cannot be created fails early.
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        // A corrupt cached file stays until a verified one replaces it.
        let Some(archive) = &spec.archive else {
            let gz = file.gz.as_ref().map_or(0, |gz| gz.bytes);
            let limits = (gz, file.bytes.max(gz));
            let name = format!("{}.gz", file.name);
            let content = self.download(spec, &name, limits, progress, |body| {
                verify_download(&body, file)
            })?;
            publish(&path, &content)?;
            return Ok(content);
        };
        let limits = (archive.bytes, archive.bytes);
        let files = self.download(spec, archive.name, limits, progress, |body| {
            unpack(&body, spec, archive)
        })?;
        let mut wanted = None;
        for (member, content) in files {
            publish(&folder.join(member.name), &content)?;
            if member == file {
                wanted = Some(content);
            }
        }
        wanted.ok_or_else(|| Error::Data {
            path: folder.join(archive.name),
            problem: format!("expected {} in it, found none", file.name),
            fix: bring(spec),
        })
    }

    fn cache_dir(&self) -> Result<PathBuf> {
        let default = || {
            let dirs = directories::ProjectDirs::from("", "", "mixwell")?;
            Some(dirs.cache_dir().join("datasets"))
        };
        self.cache_dir.clone().or_else(default).ok_or_else(|| {
            let expected = "a home folder for downloads";
            Error::invalid("cache folder", expected, "none", "pass --data-dir DIR")
        })
    }

    /// Tries each mirror once, in order. `limits`: published and largest accepted length.
    fn download<T>(
        &self,
        spec: &DatasetSpec,
        name: &str,
        limits: (usize, usize),
        progress: &mut dyn FnMut(DownloadProgress<'_>),
        check: impl Fn(Vec<u8>) -> Checked<T>,
    ) -> Result<T> {
        let (mut asked, mut problems) = (Vec::new(), Vec::new());
        for mirror in spec.mirrors {
            let url = format!("{}/{name}", mirror.trim_end_matches('/'));
            match self.get(&url, limits, progress).and_then(&check) {
                Ok(content) => return Ok(content),
                Err(problem) => problems.push(problem),
            }
            asked.push(url);
        }
        Err(Error::Network {
            url: asked.join(", then "),
            problem: problems.join(", then "),
            fix: format!("try again later, or {}", bring(spec)),
        })
    }

    /// The unverified body of one response. It is kept in memory (at most 170 MB, for CIFAR-10), so
    /// that an interrupted download leaves nothing on disk.
    fn get(
        &self,
        url: &str,
        (published, largest): (usize, usize),
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Checked<Vec<u8>> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .accept_encoding("identity")
            .timeout_global(Some(MAX_DOWNLOAD))
            .timeout_resolve(Some(self.timeout))
            .timeout_connect(Some(self.timeout))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            .build()
            .into();
        let response = agent.get(url).call().map_err(|e| e.to_string())?;
        let total = published as u64;
        // A server may declare the .gz as an encoding, so that it arrives decompressed: hence the larger
        // limit. Reading one byte past it is enough to detect a wrong file.
        let limit = largest as u64 + 1;
        let mut reader = response.into_body().into_reader().take(limit);
        let (mut body, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let received = body.len() as u64;
            progress(DownloadProgress {
                url,
                received,
                total,
            });
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(body),
                Ok(n) => body.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("{e} after {received} of {total} bytes")),
            }
        }
    }
}

/// The end of every "fix": how to use local files without the network.
fn bring(spec: &DatasetSpec) -> String {
    let splits = [&spec.train, &spec.test];
    let files = splits.iter().flat_map(|s| s.files.all());
    let files = files.map(|f| f.name).collect::<Vec<_>>().join(", ");
    format!("put {files} (raw or .gz) into a folder and pass it as --data-dir DIR")
}

fn from_data_dir(dir: &Path, spec: &DatasetSpec, file: &FileSpec) -> Result<Vec<u8>> {
    // The data sets share file names, so look in the data set's own folder first.
    let nested = dir.join(spec.name);
    let unpacked = spec.archive.as_ref().map(|a| dir.join(a.folder));
    for folder in [Some(nested.as_path()), unpacked.as_deref(), Some(dir)]
        .into_iter()
        .flatten()
    {
        for name in [file.name.to_owned(), format!("{}.gz", file.name)] {
            let fix = format!("replace it with the published file of {}", spec.name);
            if let Some(content) = read_verified(&folder.join(name), file, &fix)? {
                return Ok(content);
            }
        }
    }
    Err(Error::Data {
        path: dir.join(file.name),
        problem: format!(
            "expected it or its .gz there or in {}, found neither",
            nested.display()
        ),
        fix: bring(spec),
    })
}

/// The verified content of the file at `path`, `None` if there is no such file.
fn read_verified(path: &Path, file: &FileSpec, fix: &str) -> Result<Option<Vec<u8>>> {
    let data_error = |problem| Error::Data {
        path: path.to_owned(),
        problem,
        fix: fix.to_owned(),
    };
    let meta = match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        meta => meta.map_err(Error::io("read", path))?,
    };
    if !meta.is_file() {
        let problem = "expected a regular file, found a folder or a device";
        return Err(data_error(problem.into()));
    }
    // Refuse before reading; the slack allows for gzip's overhead on incompressible bytes.
    let (bytes, found) = (file.bytes, meta.len());
    if found > (bytes + bytes / 100 + 4096) as u64 {
        let problem = format!("expected {bytes} bytes or a .gz of them, found {found} bytes");
        return Err(data_error(problem));
    }
    let read = fs::read(path).map_err(Error::io("read", path))?;
    verify(&read, file).map(Some).map_err(data_error)
}

/// The content of a download, if it is the published file.
fn verify_download(body: &[u8], file: &FileSpec) -> Checked<Vec<u8>> {
    if let Some(gz) = file.gz.as_ref().filter(|_| idx::is_gzip(body)) {
        same_length(gz.bytes, body.len())?;
        same_sum("MD5", gz.md5, &format!("{:x}", Md5::digest(body)))?;
    }
    verify(body, file)
}

/// The known files in an archive, if it is the published one and complete.
fn unpack<'a>(
    body: &[u8],
    spec: &'a DatasetSpec,
    archive: &ArchiveSpec,
) -> Checked<Vec<(&'a FileSpec, Vec<u8>)>> {
    same_length(archive.bytes, body.len())?;
    same_sum("MD5", archive.md5, &format!("{:x}", Md5::digest(body)))?;
    let known: Vec<&FileSpec> = [&spec.train, &spec.test]
        .iter()
        .flat_map(|s| s.files.all())
        .collect();
    let broken = |e: std::io::Error| format!("expected a .tar.gz, found a broken one ({e})");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(body));
    let mut files = Vec::new();
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let Some(file) = known.iter().find(|f| path.ends_with(f.name)) else {
            continue;
        };
        let mut raw = Vec::new();
        let most = file.bytes as u64 + 1;
        Read::take(&mut entry, most)
            .read_to_end(&mut raw)
            .map_err(broken)?;
        files.push((*file, verify(&raw, file)?));
    }
    match known.len() - files.len().min(known.len()) {
        0 => Ok(files),
        n => Err(format!("expected {} files, {n} are missing", known.len())),
    }
}

/// The uncompressed content of `bytes` (raw or gzip), if it matches `file`.
fn verify(bytes: &[u8], file: &FileSpec) -> Checked<Vec<u8>> {
    let raw = idx::inflate(bytes, file.bytes)?;
    same_length(file.bytes, raw.len())?;
    let sum = format!("{:x}", Sha256::digest(&raw));
    same_sum("SHA-256", file.sha256, &sum)?;
    Ok(raw.into_owned())
}

fn same_length(expected: usize, found: usize) -> Checked<()> {
    let problem = || format!("expected {expected} bytes, found {found}");
    (expected == found).then_some(()).ok_or_else(problem)
}

fn same_sum(kind: &str, expected: &str, found: &str) -> Checked<()> {
    let problem = || format!("expected {kind} {expected}, found {found}");
    (expected == found).then_some(()).ok_or_else(problem)
}

/// Writes verified `content` to `path` atomically: readers see the old file or the complete new one.
fn publish(path: &Path, content: &[u8]) -> Result<()> {
    /// Deletes the temporary file on every exit; after the rename there is none.
    struct Temp(PathBuf);
    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }
    static SERIAL: AtomicU64 = AtomicU64::new(0);

    // In the same folder, since a rename is atomic only within one file system; with a name that no
    // other thread or process uses.
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let temp = Temp(path.with_extension(format!("{}-{serial}.part", process::id())));
    let mut out = fs::File::create(&temp.0).map_err(Error::io("create", &temp.0))?;
    out.write_all(content)
        .and_then(|()| out.sync_all())
        .map_err(Error::io("write", &temp.0))?;
    drop(out);
    fs::rename(&temp.0, path).map_err(Error::io("replace", path))
}
