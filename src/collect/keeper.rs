//! Writes kept frames as a dataset, within the quota.

use std::{fs, io, path::Path, time::Instant};

use anyhow::Context;
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};

use super::{Camera, Model, policy::Reason};
use crate::{
    dataset::Writer,
    detection::Label,
    frame::{Frame, PixelFormat},
    geometry::{BoxPx, Size},
    publish::clock::Reading,
    vision::{Decoder, RgbImage, View, has_huffman_tables},
};

/// High enough that a model trained on the pictures learns nothing of their compression.
const JPEG_QUALITY: u8 = 95;

/// A line of a label file is never longer.
const LABEL_BYTES_MAX: u64 = 64;

/// A frame that is to be kept.
#[derive(Debug)]
pub(super) struct Job {
    /// Index of its camera.
    pub(super) camera: usize,
    /// Why.
    pub(super) reason: Reason,
    /// The frame.
    pub(super) frame: Frame,
    /// Its draft labels, in pixels of the whole upright picture.
    pub(super) labels: Vec<Label>,
    /// Size of the whole upright picture.
    pub(super) size: Size,
}

/// Owns the folder.
#[derive(Debug)]
pub(super) struct Keeper {
    places: Vec<Place>,
    quota_bytes: u64,
    used_bytes: u64,
    decoder: Decoder,
    picture: RgbImage,
    file: Vec<u8>,
}

/// Where the frames of one camera go.
#[derive(Debug)]
struct Place {
    id: String,
    view: View,
    writer: Writer,
}

impl Keeper {
    /// Opens the dataset in the folder, or begins one. Models that find different classes get a folder each, named after
    /// them.
    ///
    /// # Errors
    /// Where the folder holds a dataset of other classes, or cannot be read or written.
    pub(super) fn open(dir: &Path, quota_bytes: u64, models: &[Model], cameras: &[Camera]) -> anyhow::Result<Self> {
        let in_use = |index: &usize| cameras.iter().any(|camera| camera.model == *index);
        let mut lists = (0..models.len()).filter(in_use).map(|index| &models[index].names);
        let first = lists.next();
        let is_one = lists.all(|names| Some(names) == first);
        let mut places = Vec::with_capacity(cameras.len());
        for camera in cameras {
            let model = &models[camera.model];
            let names: Vec<&str> = model.names.iter().map(AsRef::as_ref).collect();
            let folder = if is_one { dir.to_owned() } else { dir.join(&model.id) };
            let writer = Writer::open_or_create(&folder, &names)?;
            places.push(Place { id: camera.id.clone(), view: camera.view, writer });
        }
        let used_bytes =
            bytes_in(dir).with_context(|| format!("folder {} cannot be read; check its permissions", dir.display()))?;
        let (decoder, picture) = (Decoder::new(), RgbImage::default());
        Ok(Self { places, quota_bytes, used_bytes, decoder, picture, file: Vec::new() })
    }

    /// What the folder holds, labels rounded up.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Writes a frame and its labels. Answers whether there was room: where there was not, nothing is written.
    ///
    /// # Errors
    /// Where it cannot be written; nothing half-written is left then.
    pub(super) fn keep(&mut self, job: &Job) -> anyhow::Result<bool> {
        let Place { id, view, writer } = &self.places[job.camera];
        let mut labels = job.labels.clone();
        let (file, size) = if is_stored_as_it_is(&job.frame, view) {
            (&job.frame.data, job.size)
        } else {
            let cutout = self.decoder.decode(&job.frame, view, &mut self.picture)?;
            for Label { bounds, .. } in &mut labels {
                *bounds = moved(bounds, -cutout.origin.x, -cutout.origin.y);
            }
            self.file.clear();
            let RgbImage { width, height, ref data } = self.picture;
            JpegEncoder::new_with_quality(&mut self.file, JPEG_QUALITY)
                .write_image(data, width, height, ExtendedColorType::Rgb8)
                .with_context(|| format!("a picture of camera \"{id}\" cannot be encoded"))?;
            (&self.file, self.picture.size())
        };
        let bytes = file.len() as u64 + LABEL_BYTES_MAX * labels.len() as u64;
        if self.used_bytes.saturating_add(bytes) > self.quota_bytes {
            return Ok(false);
        }
        let stem = format!("{id}-{}-{}", stamp(job.frame.captured_at), job.reason.name());
        writer.add(&stem, "jpg", file, &labels, size)?;
        self.used_bytes += bytes;
        Ok(true)
    }
}

/// Whether the bytes of a frame are a file that shows what the model looked at. The orientation that a JPEG states about
/// itself goes with it.
fn is_stored_as_it_is(frame: &Frame, view: &View) -> bool {
    frame.format == PixelFormat::Jpeg && *view == View::default() && has_huffman_tables(&frame.data)
}

/// The wall time of a moment to the millisecond, for file names: `20261122T094107112Z`.
fn stamp(moment: Instant) -> String {
    const TO_THE_MILLISECOND: usize = "2026-11-22T09:41:07.112".len();
    let text = Reading::now().rfc3339(moment);
    let kept = text.chars().take(TO_THE_MILLISECOND).filter(char::is_ascii_alphanumeric);
    kept.chain(['Z']).collect()
}

fn moved(bounds: &BoxPx, right: f32, down: f32) -> BoxPx {
    let BoxPx { x1, y1, x2, y2 } = *bounds;
    BoxPx { x1: x1 + right, y1: y1 + down, x2: x2 + right, y2: y2 + down }
}

/// The bytes of all files below a folder. What links lead to lies elsewhere.
fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += meta.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{geometry::Region, vision::Rotation};

    fn model(id: &str, names: &[&str]) -> Model {
        Model {
            id: id.to_owned(),
            names: names.iter().map(|name| Arc::from(*name)).collect(),
            thresholds: vec![0.25; names.len()],
        }
    }

    fn camera(id: &str, model: usize, view: View) -> Camera {
        Camera { id: id.to_owned(), view, model }
    }

    /// A grey ramp of 40 × 20 pixels with a label in its middle.
    fn job(camera: usize) -> Job {
        let data: Vec<u8> = (0..800_u32).map(|index| (index % 40 * 6) as u8).collect();
        let size = Size { width: 40, height: 20 };
        let frame = Frame { format: PixelFormat::Grey8, size, stride: 40, data, ..Frame::empty() };
        let labels = vec![Label { class: 0, bounds: BoxPx { x1: 18.0, y1: 8.0, x2: 22.0, y2: 12.0 } }];
        Job { camera, reason: Reason::Uncertain, frame, labels, size }
    }

    /// The only picture in a dataset, and its labels.
    fn only(dir: &Path) -> (String, image::RgbImage, String) {
        let mut pictures = fs::read_dir(dir.join("images")).unwrap();
        let path = pictures.next().unwrap().unwrap().path();
        assert!(pictures.next().is_none());
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let labels = fs::read_to_string(dir.join(format!("labels/{stem}.txt"))).unwrap();
        (stem, image::open(&path).unwrap().into_rgb8(), labels)
    }

    #[test]
    fn a_picture_is_what_the_model_looked_at() {
        let region = Region { x: 10, y: 4, width: 20, height: 16 };
        for (view, size, labels) in [
            (View::default(), (40, 20), "0 0.500000 0.500000 0.100000 0.200000\n"),
            (View { region: Some(region), ..View::default() }, (20, 16), "0 0.500000 0.375000 0.200000 0.250000\n"),
            (
                View { rotation: Rotation::Half, region: Some(region) },
                (20, 16),
                "0 0.500000 0.375000 0.200000 0.250000\n",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let models = [model("m", &["open"])];
            let mut keeper = Keeper::open(folder.path(), 1 << 20, &models, &[camera("in", 0, view)]).unwrap();
            assert!(keeper.keep(&job(0)).unwrap());
            let (stem, picture, text) = only(folder.path());
            assert_eq!((picture.dimensions(), text.as_str()), (size, labels));
            let parts: Vec<&str> = stem.split('-').collect();
            assert_eq!((parts[0], parts[1].len(), parts[2]), ("in", "20261122T094107112Z".len(), "uncertain"));
        }
    }

    #[test]
    fn a_jpeg_is_stored_as_it_came_where_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let models = [model("m", &["open"])];
            Keeper::open(&folder.path().join(name), 1 << 20, &models, &[camera("in", 0, View::default())]).unwrap()
        };
        let mut jpeg = Vec::new();
        let pixels = job(0).frame.data;
        JpegEncoder::new_with_quality(&mut jpeg, 60).write_image(&pixels, 40, 20, ExtendedColorType::L8).unwrap();
        assert!(has_huffman_tables(&jpeg));
        let plain = job(0);
        let frame = Frame { format: PixelFormat::Jpeg, data: jpeg.clone(), ..plain.frame };
        open("a").keep(&Job { frame, ..job(0) }).unwrap();
        let stem = only(&folder.path().join("a")).0;
        assert_eq!(fs::read(folder.path().join(format!("a/images/{stem}.jpg"))).unwrap(), jpeg);
        let start = jpeg.windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
        assert!(!has_huffman_tables(&[&jpeg[..start], &[0xff, 0xda, 0, 2]].concat()));
        assert!(!has_huffman_tables(&jpeg[..start]));
    }

    #[test]
    fn the_quota_counts_what_lies_there_and_is_never_passed() {
        let folder = tempfile::tempdir().unwrap();
        let (models, cameras) = ([model("m", &["open"])], [camera("in", 0, View::default())]);
        fs::create_dir(folder.path().join("other")).unwrap();
        fs::write(folder.path().join("other/file"), vec![0; 10_000]).unwrap();
        let quota = 13_000;
        let mut keeper = Keeper::open(folder.path(), quota, &models, &cameras).unwrap();
        let mut kept = 0;
        for index in 0.. {
            let mut job = job(0);
            job.frame.captured_at += std::time::Duration::from_secs(index);
            if !keeper.keep(&job).unwrap() {
                break;
            }
            kept += 1;
        }
        let bytes = bytes_in(folder.path()).unwrap();
        assert!(kept > 1 && bytes > 11_000 && bytes <= keeper.used_bytes() && bytes <= quota, "{kept} {bytes}");
        let again = Keeper::open(folder.path(), quota, &models, &cameras).unwrap();
        assert_eq!(again.used_bytes(), bytes);
    }

    #[test]
    fn models_of_other_classes_have_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let models = [model("a", &["open"]), model("b", &["open"]), model("c", &["short"]), model("idle", &["x"])];
        let cameras = [0, 1, 2].map(|index| camera(&format!("cam{index}"), index, View::default()));
        let same = folder.path().join("same");
        Keeper::open(&same, 1 << 20, &models, &cameras[..2]).unwrap().keep(&job(1)).unwrap();
        assert!(only(&same).0.starts_with("cam1-"));
        let apart = folder.path().join("apart");
        let mut keeper = Keeper::open(&apart, 1 << 20, &models, &cameras).unwrap();
        for index in 0..3 {
            keeper.keep(&job(index)).unwrap();
        }
        for (index, name) in ["a", "b", "c"].iter().enumerate() {
            assert!(only(&apart.join(name)).0.starts_with(&format!("cam{index}-")));
        }
        assert!(!apart.join("idle").exists() && !apart.join("images").exists());
        let error = Keeper::open(&same, 1 << 20, &models, &cameras[2..]).unwrap_err().to_string();
        assert!(error.contains("its classes are open, not short; choose another folder"), "{error}");
    }
}
