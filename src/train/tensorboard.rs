//! TensorBoard's event files: scalars and pictures of a run, in the format of TensorFlow's `event.proto`,
//! `summary.proto` and `record_writer.cc` (only the fields used here).

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use prost::Message;

use crate::error::{Error, Result};

#[derive(Clone, PartialEq, Message)]
struct EventProto {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(SummaryProto),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct SummaryProto {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Of", tags = "2, 4")]
    of: Option<Of>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Of {
    #[prost(float, tag = "2")]
    Simple(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.START`: TensorBoard discards what was logged before for later steps.
const START: i32 = 1;

/// One session's event file.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// A new file in a folder (created if necessary), named by the time `now` in seconds since 1970. It
    /// makes TensorBoard discard steps after `from` in earlier files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, now: f64, from: u64) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        // A number distinguishes sessions that start in the same second.
        let (path, file) = (0..)
            .map(|k| folder.join(format!("events.out.tfevents.{now:010.0}.mixwell.{k}")))
            .find_map(|path| match File::create_new(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => None,
                result => Some(
                    result
                        .map_err(Error::io("create", &path))
                        .map(|f| (path, f)),
                ),
            })
            .unwrap_or_else(|| {
                Err(Error::invalid(
                    "event file",
                    "a free name",
                    "none",
                    "clear the folder",
                ))
            })?;
        let mut events = Self { path, file };
        events.write(now, 0, What::FileVersion("brain.Event:2".into()))?;
        let log = SessionLog { status: START };
        events.write(now, from as i64 + 1, What::SessionLog(log))?;
        Ok(events)
    }

    /// Scalars of a step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scalars<'a>(
        &mut self,
        now: f64,
        step: u64,
        values: impl IntoIterator<Item = (String, &'a f64)>,
    ) -> Result<()> {
        let value = values.into_iter().map(|(tag, &v)| Value {
            tag,
            of: Some(Of::Simple(v as f32)),
        });
        let value = value.collect();
        self.write(now, step as i64, What::Summary(SummaryProto { value }))
    }

    /// A PNG file of a step, unchanged.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn picture(&mut self, now: f64, step: u64, tag: String, png: &Path) -> Result<()> {
        let encoded = fs::read(png).map_err(Error::io("read", png))?;
        // Width and height of a PNG's header, big-endian, at bytes 16 and 20; the colour type at 25.
        let number = |at: usize| {
            let bytes = encoded.get(at..at + 4)?;
            Some(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (Some(width), Some(height), Some(colour)) = (number(16), number(20), encoded.get(25))
        else {
            return Err(Error::Data {
                path: png.into(),
                problem: "expected a PNG, found something shorter".into(),
                fix: "report this as a bug".into(),
            });
        };
        // TensorBoard counts channels: 1 grey, 3 colour.
        let colorspace = if *colour == 0 { 1 } else { 3 };
        let of = Some(Of::Image(Image {
            height,
            width,
            colorspace,
            encoded,
        }));
        let value = vec![Value { tag, of }];
        self.write(now, step as i64, What::Summary(SummaryProto { value }))
    }

    fn write(&mut self, wall_time: f64, step: i64, what: What) -> Result<()> {
        let event = EventProto {
            wall_time,
            step,
            what: Some(what),
        };
        let record = record(&event.encode_to_vec());
        self.file
            .write_all(&record)
            .map_err(Error::io("append to", &self.path))
    }
}

/// A record: length, its checksum, the bytes, their checksum (`record_writer.cc`).
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
    out
}

/// CRC-32C, rotated and offset by a constant, as in TFRecord.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same events as written by TensorBoard's own writer, with the script beside the file.
    const EXPECTED: &[u8] = include_bytes!("../../tests/fixtures/event_file.tfevents");

    #[test]
    fn event_file_matches_tensorboards_writer() {
        let folder = std::env::temp_dir().join(format!("mixwell-events-{}", std::process::id()));
        let png = folder.join("grid.png");
        fs::create_dir_all(&folder).unwrap();
        crate::image::write_grid(&png, &[0.0, 0.25, 0.5, 1.0], 1, [1, 2, 2]).unwrap();
        let mut events = EventFile::create(&folder.join("tb"), 1000.5, 40).unwrap();
        let values = [
            ("tilt/loss".to_owned(), &0.625),
            ("tilt/gap".to_owned(), &-2.0),
        ];
        events.scalars(1001.25, 50, values).unwrap();
        // The PNG's bytes depend on the encoder: use a stand-in with the same header.
        let stand_in = folder.join("stand-in.png");
        let mut bytes = fs::read(&png).unwrap();
        bytes.truncate(26);
        let (width, height) = (
            u32::from_be_bytes(bytes[16..20].try_into().unwrap()),
            u32::from_be_bytes(bytes[20..24].try_into().unwrap()),
        );
        assert!(width > 0 && height > 0);
        bytes[16..24].copy_from_slice(&[0, 0, 0, 6, 0, 0, 0, 7]);
        fs::write(&stand_in, &bytes).unwrap();
        events
            .picture(1002.0, 50, "tilt/grid".into(), &stand_in)
            .unwrap();
        let found = fs::read(&events.path).unwrap();
        assert_eq!(found, EXPECTED);
        // A second session in the same second gets its own file.
        let second = EventFile::create(&folder.join("tb"), 1000.5, 40).unwrap();
        assert_ne!(second.path, events.path);
        fs::remove_dir_all(folder).unwrap();
    }
}
