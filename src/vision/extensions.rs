//! What the names of files say about them.

use std::path::Path;

/// What the names of pictures end with that can be decoded here.
pub const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "jpe", "png", "bmp", "gif", "tif", "tiff", "webp"];

/// What the names of a YOLO dataset's pictures end with, as Ultralytics has it. Some of these cannot be decoded here: they
/// are told as such when they are read, rather than left out of the figures.
pub const LABELLED_EXTENSIONS: [&str; 15] = [
    "avif", "bmp", "dng", "heic", "heif", "jp2", "jpe", "jpeg", "jpeg2000", "jpg", "mpo", "png", "tif", "tiff", "webp",
];

/// Whether the file's name ends with one of these, in capitals or not.
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let own = path.extension().and_then(|extension| extension.to_str());
    own.is_some_and(|own| extensions.iter().any(|extension| own.eq_ignore_ascii_case(extension)))
}
