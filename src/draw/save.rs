//! Writing a picture to a file that is whole at any moment.

use std::path::Path;

use anyhow::{Context, bail};
use image::{ExtendedColorType, ImageEncoder, ImageResult, codecs};

use crate::{vision::RgbImage, whole_file};

/// High enough that text and thin lines stay sharp.
const JPEG_QUALITY: u8 = 92;

/// Saves a picture as JPEG or PNG, by the extension of the name; the file is whole at any moment.
///
/// # Errors
/// Where the extension is another, or the file cannot be written; nothing is left behind then.
pub fn save(picture: &RgbImage, path: &Path) -> anyhow::Result<()> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if !["jpg", "jpeg", "png"].contains(&extension.as_str()) {
        bail!("{}: pictures are saved as .jpg or .png; choose one of these", path.display());
    }
    let bytes = encoded(picture, extension == "png").with_context(|| {
        let (width, height) = (picture.width, picture.height);
        format!("{}: a picture of {width} × {height} cannot be saved; choose another format", path.display())
    })?;
    whole_file::write(path, &bytes)
}

/// A picture as the bytes of a JPEG file.
///
/// # Errors
/// Where it has no pixels, or too many for that format.
pub fn jpeg(picture: &RgbImage) -> ImageResult<Vec<u8>> {
    encoded(picture, false)
}

fn encoded(picture: &RgbImage, png: bool) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let RgbImage { width, height, ref data } = *picture;
    if png {
        codecs::png::PngEncoder::new(&mut bytes).write_image(data, width, height, ExtendedColorType::Rgb8)?;
    } else {
        let encoder = codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        encoder.write_image(data, width, height, ExtendedColorType::Rgb8)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn png_comes_back_as_it_was_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let picture = RgbImage { width: 3, height: 2, data: (0..18).map(|i| i * 14).collect() };
        let path = folder.path().join("a.png");
        save(&picture, &path).unwrap();
        assert_eq!(image::open(&path).unwrap().into_rgb8().into_raw(), picture.data);
        save(&picture, &folder.path().join("a.JPG")).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.JPG", "a.png"]);
    }

    #[test]
    fn what_cannot_be_saved_says_why_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let picture = RgbImage { width: 1, height: 1, data: vec![0; 3] };
        let odd = save(&picture, &folder.path().join("a.xyz")).unwrap_err().to_string();
        assert!(odd.contains(".jpg or .png"), "{odd}");
        let gone = save(&picture, &folder.path().join("none/a.png")).unwrap_err().to_string();
        assert!(gone.contains("cannot be written, there is no folder"), "{gone}");
        let empty = RgbImage::default();
        assert!(save(&empty, &folder.path().join("b.png")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
