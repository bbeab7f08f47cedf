//! Writing a picture to a file that is whole at any moment.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, bail};
use image::{ExtendedColorType, ImageEncoder, codecs};

use crate::vision::RgbImage;

/// High enough that text and thin lines stay sharp.
const JPEG_QUALITY: u8 = 92;

/// Saves a picture as JPEG or PNG, by the extension of the name. It is written beside its place first and moved there
/// when complete, so that nobody reads half a picture.
///
/// # Errors
/// Where the extension is another, or the file cannot be written; nothing is left behind then.
pub fn save(picture: &RgbImage, path: &Path) -> anyhow::Result<()> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = path.file_name().with_context(|| format!("{}: this names no file", path.display()))?;
    if !["jpg", "jpeg", "png"].contains(&extension.as_str()) {
        bail!("{}: pictures are saved as .jpg or .png; choose one of these", path.display());
    }
    let unfinished = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = write(picture, &unfinished, extension == "png")
        .and_then(|()| fs::rename(&unfinished, path).map_err(anyhow::Error::from))
        .with_context(|| format!("{}: the picture cannot be saved", path.display()));
    if written.is_err() {
        // It may not exist; the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write(picture: &RgbImage, path: &Path, png: bool) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let RgbImage { width, height, ref data } = *picture;
    if png {
        codecs::png::PngEncoder::new(&mut file).write_image(data, width, height, ExtendedColorType::Rgb8)?;
    } else {
        codecs::jpeg::JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).write_image(
            data,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
    }
    file.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
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
        assert!(gone.contains("cannot be saved"), "{gone}");
        let empty = RgbImage::default();
        assert!(save(&empty, &folder.path().join("b.png")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
