//! From a path to the parsed ONNX file, and to what names it: its stem and its hash.
//!
//! Refuses whatever is no ONNX with the reason that a person can act on. Does not look into the graph.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use tract_onnx::{pb::ModelProto, prelude::Framework};

/// A larger file is refused: YOLO's largest float export has about 280 MB.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// A parsed ONNX file.
pub(super) struct OnnxFile {
    /// What it holds.
    pub(super) proto: ModelProto,
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub(super) sha256: String,
}

/// Reads and parses a file. Its bytes are gone when this returns.
pub(super) fn read(path: &Path) -> Result<OnnxFile> {
    parse(open(path)?.take(FILE_BYTES_MAX))
}

/// Parses what a file holds.
pub(super) fn parse(inner: impl Read) -> Result<OnnxFile> {
    let mut bytes = Hashed { inner, hash: Sha256::new(), head: Vec::new() };
    let parsed = tract_onnx::onnx().proto_model_for_read(&mut bytes);
    let proto = parsed.map_err(|cause| match cause.downcast_ref::<io::Error>() {
        Some(cause) => anyhow!("it cannot be read ({cause}); check the disk or copy it again"),
        None => not_onnx(&bytes.head),
    })?;
    ensure!(
        proto.graph.as_ref().is_some_and(|graph| !graph.node.is_empty() && !graph.output.is_empty()),
        not_onnx(&bytes.head)
    );
    ensure!(
        !proto.opset_import.is_empty(),
        "it is cut short (the operator set version is missing); copy or export it again"
    );
    let sha256 = bytes.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(OnnxFile { proto, sha256 })
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => anyhow!("there is no such file; check the path"),
        io::ErrorKind::PermissionDenied => {
            anyhow!("it may not be read by this user; make the file and its folders readable (chmod a+r)")
        }
        _ => anyhow!("it cannot be opened ({cause}); check the path"),
    })?;
    let facts = file.metadata().map_err(|cause| anyhow!("it cannot be examined ({cause}); check the path"))?;
    ensure!(!facts.is_dir(), "it is a folder; name the .onnx file in it");
    ensure!(facts.is_file(), "it is not a regular file; name an .onnx file");
    ensure!(facts.len() > 0, "it is empty; copy or export it again");
    if facts.len() > FILE_BYTES_MAX {
        bail!("it has {} MiB, more than {}; export a smaller model", facts.len() >> 20, FILE_BYTES_MAX >> 20);
    }
    Ok(file)
}

/// Names the format that the first bytes give away.
fn not_onnx(head: &[u8]) -> anyhow::Error {
    match head {
        [b'P', b'K', ..] => {
            anyhow!("it is no ONNX but a PyTorch checkpoint or an archive; export it (yolo export format=onnx)")
        }
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => anyhow!("it is a TensorFlow Lite model; export the model as ONNX"),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', ..] => {
            anyhow!("it is a Git LFS pointer or a text, not the model itself; fetch the file (git lfs pull)")
        }
        _ => anyhow!("it is cut short or no ONNX; copy or export it again"),
    }
}

/// Hashes what passes, and keeps the first bytes.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    head: Vec<u8>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const HEAD_LEN: usize = 16;
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        let missing = HEAD_LEN.saturating_sub(self.head.len()).min(count);
        self.head.extend(&buffer[..missing]);
        Ok(count)
    }
}
