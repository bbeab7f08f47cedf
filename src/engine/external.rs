//! Weights that lie in a file beside the model (`model.onnx.data`).
//!
//! The file must lie in the model's own folder or below it: a model must not be able to read anything else.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use tract_onnx::pb::{GraphProto, TensorProto, tensor_proto::DataLocation};

use super::proto::{elem, element_count};

/// A model with more is refused.
const EXTERNAL_BYTES_MAX: u64 = 1 << 30;

/// Reads the external weights of the graph into it.
pub(super) fn load(graph: &mut GraphProto, folder: &Path) -> Result<()> {
    let mut total = 0;
    for tensor in &mut graph.initializer {
        if tensor.data_location == Some(DataLocation::External as i32) {
            tensor.raw_data = read(tensor, folder, &mut total)?;
            tensor.data_location = None;
            tensor.external_data.clear();
        }
    }
    Ok(())
}

fn read(tensor: &TensorProto, folder: &Path, total: &mut u64) -> Result<Vec<u8>> {
    let value = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
    let number = |key: &str| value(key).map(|text| text.parse::<u64>()).transpose();
    let location = value("location").context("a constant lies in no file at all; export it again")?;
    let path = confined(folder, location)?;
    let mut file = File::open(&path)
        .map_err(|cause| anyhow!("its weights {location:?} cannot be opened ({cause}); copy that file beside it"))?;
    let elements = element_count(&tensor.dims).and_then(|count| count.checked_mul(elem::size(tensor.data_type)?));
    let declared = elements.map(|bytes| bytes as u64);
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?.or(declared).context("a constant has no size; export it again")?;
    *total = total.saturating_add(length);
    ensure!(
        *total <= EXTERNAL_BYTES_MAX,
        "its weights have more than {} MiB; export a smaller model",
        EXTERNAL_BYTES_MAX >> 20
    );
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == length, "its weights {location:?} are cut short; copy that file again");
    Ok(bytes)
}

fn confined(folder: &Path, location: &str) -> Result<PathBuf> {
    let relative = Path::new(location);
    ensure!(
        relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)),
        "its weights {location:?} lie outside its folder; export it again with one file"
    );
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let missing = |_| anyhow!("its weights {location:?} are missing; copy that file beside it");
    let path = folder.join(relative).canonicalize().map_err(missing)?;
    ensure!(
        path.starts_with(folder.canonicalize().map_err(missing)?) && path.is_file(),
        "its weights {location:?} lie outside its folder; export it again with one file"
    );
    Ok(path)
}
