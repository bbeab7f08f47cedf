//! Pictures as OpenCV and Pillow make them: golden tables here, and whole folders that `tests/peers/letterbox.py` writes.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use andon::{
    frame::{Frame, PixelFormat},
    geometry::{BoxPx, Placement, Point, Size},
    vision::{Decoder, Encoding, Fit, Fitter, RgbImage, View, encode},
};

/// What may differ from the peer in one kind of case: the levels, and the share of exact samples.
#[derive(Default)]
struct Difference {
    cases: usize,
    samples: usize,
    exact: usize,
    worst: u8,
    /// The cases that were not answered alike to the last bit.
    different: Vec<String>,
}

impl Difference {
    fn add(&mut self, found: &RgbImage, expected: &RgbImage, name: &str) {
        assert_eq!(found.size(), expected.size(), "{name}");
        self.cases += 1;
        if found != expected {
            self.different.push(name.to_owned());
        }
        for (a, b) in found.data.iter().zip(&expected.data) {
            self.samples += 1;
            self.exact += usize::from(a == b);
            self.worst = self.worst.max(a.abs_diff(*b));
        }
    }
}

#[test]
fn every_case_that_opencv_and_pillow_answered_is_answered_alike() {
    let Some(folder) = std::env::var_os("ANDON_OPENCV_DIR") else {
        println!("skipped: set ANDON_OPENCV_DIR to a folder that tests/peers/letterbox.py wrote");
        return;
    };
    let folder = Path::new(&folder);
    let mut differences: BTreeMap<String, Difference> = BTreeMap::new();
    for line in fs::read_to_string(folder.join("cases.txt")).unwrap().lines() {
        let [kind, source, expected, width, height] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("cases.txt has a line of another shape: {line}");
        };
        let size = Size { width: width.parse().unwrap(), height: height.parse().unwrap() };
        let mut found = RgbImage::default();
        match kind {
            "letterbox" => fit(Fit::LetterboxCentered, &folder.join(source), size, &mut found),
            "top-left" => fit(Fit::LetterboxTopLeft, &folder.join(source), size, &mut found),
            "crop" => fit(Fit::CropCenter, &folder.join(source), size, &mut found),
            _ => decode(kind, &folder.join(source), size, &mut found),
        }
        let difference = differences.entry(kind.to_owned()).or_default();
        difference.add(&found, &read_png(&folder.join(expected)), &format!("{kind} of {source} to {width}×{height}"));
    }
    for (kind, Difference { cases, samples, exact, worst, different }) in differences {
        println!("{kind}: {cases} cases, {exact} of {samples} samples exact, worst difference {worst}");
        assert!(different.is_empty(), "{different:#?}");
    }
}

fn fit(fit: Fit, source: &Path, model: Size, out: &mut RgbImage) {
    Fitter::new(fit, model).fit(&read_png(source), out);
}

fn decode(kind: &str, source: &Path, size: Size, out: &mut RgbImage) {
    let width = size.width as usize;
    let (format, stride) = match kind {
        "jpeg" => (PixelFormat::Jpeg, 0),
        "yuyv" => (PixelFormat::Yuyv, 2 * width),
        "uyvy" => (PixelFormat::Uyvy, 2 * width),
        "nv12" => (PixelFormat::Nv12, width),
        "i420" => (PixelFormat::I420, width),
        _ => panic!("no such kind: {kind}"),
    };
    let frame = Frame { format, size, stride, data: fs::read(source).unwrap(), ..Frame::empty() };
    let _ = Decoder::new().decode(&frame, &View::default(), out).unwrap();
}

fn read_png(path: &Path) -> RgbImage {
    let image = image::open(path).unwrap().into_rgb8();
    RgbImage { width: image.width(), height: image.height(), data: image.into_raw() }
}

/// A small picture with every kind of step in it.
fn pattern(width: u32, height: u32) -> RgbImage {
    let level = |x: u32, y: u32, c: u32| ((x * 53 + y * 97 + x * y * 31 + c * 71 + x * x * 7) % 256) as u8;
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| level(x, y, c)))).collect();
    RgbImage { width, height, data }
}

/// Fit, size of [`pattern`], size of the model, and what `cv2.resize` with padding or `PIL.Image.resize` with cropping give.
type Golden = (Fit, (u32, u32), (u32, u32), &'static [u8]);

#[rustfmt::skip]
const GOLDEN: [Golden; 9] = [
    (Fit::LetterboxCentered, (5, 3), (4, 4), &[
        114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 33, 96, 167, 99, 130, 129, 170, 121, 80, 77, 124, 187,
        160, 55, 126, 116, 75, 146, 125, 124, 155, 187, 90, 153, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114,
    ]),
    (Fit::LetterboxCentered, (3, 2), (7, 5), &[
        0, 71, 142, 9, 79, 150, 34, 105, 176, 60, 131, 202, 91, 163, 124, 123, 194, 46, 134, 205, 20, 10, 81, 152,
        19, 86, 157, 46, 102, 173, 73, 118, 189, 95, 151, 123, 117, 184, 58, 124, 195, 36, 49, 120, 191, 59, 112, 183,
        91, 89, 160, 124, 67, 138, 107, 105, 121, 91, 143, 105, 86, 157, 100, 87, 158, 229, 100, 138, 209, 137, 77, 148,
        175, 16, 87, 120, 59, 119, 65, 103, 152, 47, 118, 163, 97, 168, 239, 110, 144, 215, 149, 74, 145, 188, 3, 74,
        123, 48, 119, 59, 93, 164, 37, 108, 179,
    ]),
    (Fit::LetterboxCentered, (8, 6), (4, 4), &[
        86, 93, 164, 137, 144, 87, 116, 187, 130, 87, 94, 165, 119, 62, 133, 102, 109, 180, 205, 148, 91, 108, 179, 122,
        152, 95, 102, 131, 138, 81, 166, 237, 52, 193, 136, 79, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114,
    ]),
    (Fit::LetterboxCentered, (9, 1), (6, 2), &[
        15, 86, 157, 116, 187, 66, 184, 63, 134, 155, 226, 105, 94, 101, 172, 129, 136, 207, 114, 114, 114, 114, 114, 114,
        114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114,
    ]),
    (Fit::LetterboxTopLeft, (7, 5), (4, 4), &[
        104, 103, 174, 75, 138, 129, 58, 121, 168, 117, 188, 163, 96, 95, 126, 74, 137, 208, 193, 88, 103, 155, 226, 41,
        114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114,
    ]),
    (Fit::LetterboxTopLeft, (2, 3), (4, 5), &[
        0, 71, 142, 30, 101, 172, 60, 131, 202, 114, 114, 114, 39, 110, 181, 75, 95, 166, 111, 80, 151, 114, 114, 114,
        97, 168, 239, 143, 86, 157, 188, 3, 74, 114, 114, 114, 155, 72, 144, 133, 76, 147, 111, 80, 151, 114, 114, 114,
        194, 9, 80, 127, 70, 141, 60, 131, 202, 114, 114, 114,
    ]),
    (Fit::CropCenter, (7, 5), (3, 3), &[
        75, 99, 163, 126, 133, 98, 118, 149, 137, 129, 69, 140, 121, 95, 150, 163, 130, 134, 99, 123, 117, 83, 91, 162,
        174, 148, 91,
    ]),
    (Fit::CropCenter, (3, 4), (5, 5), &[
        0, 71, 142, 24, 95, 166, 60, 131, 202, 104, 175, 93, 134, 205, 20, 49, 120, 191, 79, 99, 170, 124, 67, 138,
        101, 121, 115, 86, 157, 100, 113, 141, 212, 134, 95, 166, 167, 24, 95, 105, 65, 136, 64, 92, 163, 178, 36, 107,
        139, 65, 136, 81, 110, 181, 134, 60, 131, 169, 27, 98, 115, 58, 129, 118, 62, 133, 124, 67, 138, 139, 81, 152,
        148, 91, 162,
    ]),
    (Fit::CropCenter, (6, 5), (4, 2), &[
        98, 89, 160, 116, 107, 121, 133, 129, 133, 151, 196, 107, 110, 101, 121, 100, 90, 160, 137, 102, 140, 185, 195, 76,
    ]),
];

#[test]
fn small_pictures_are_fitted_to_the_levels_that_opencv_and_pillow_give() {
    for (kind, from, to, expected) in GOLDEN {
        let mut found = RgbImage::default();
        let model = Size { width: to.0, height: to.1 };
        Fitter::new(kind, model).fit(&pattern(from.0, from.1), &mut found);
        assert_eq!(found.size(), model);
        assert_eq!(found.data, expected, "{kind:?} from {from:?} to {to:?}");
    }
}

#[test]
fn a_fitter_that_has_seen_other_sizes_gives_what_a_new_one_gives() {
    let model = Size { width: 64, height: 48 };
    for kind in [Fit::LetterboxCentered, Fit::LetterboxTopLeft, Fit::CropCenter] {
        let mut fitter = Fitter::new(kind, model);
        let mut out = RgbImage::default();
        for (width, height) in [(100, 30), (30, 100), (64, 48), (0, 0), (128, 96), (1, 1), (100, 30)] {
            let placed = fitter.fit(&pattern(width, height), &mut out);
            let mut fresh = RgbImage::default();
            assert_eq!(placed, Fitter::new(kind, model).fit(&pattern(width, height), &mut fresh));
            assert_eq!(out, fresh, "{kind:?} {width}×{height}");
        }
    }
}

/// The numbers of Ultralytics' `scale_boxes` for its sample pictures: gain
/// `round(side·min gain) / side`, pad `round((640 - round(side·gain)) / 2 - 0.1)`.
#[test]
fn placements_are_those_of_ultralytics_and_yolox() {
    let placed = |fit, width, height| {
        Fitter::new(fit, Size { width: 640, height: 640 }).fit(&pattern(width, height), &mut RgbImage::default())
    };
    let bus = placed(Fit::LetterboxCentered, 810, 1080);
    assert_eq!((bus.scale, bus.offset), ([640.0 / 1080.0; 2], [80.0, 0.0]));
    let zidane = placed(Fit::LetterboxCentered, 1280, 720);
    assert_eq!((zidane.scale, zidane.offset), ([0.5; 2], [0.0, 140.0]));
    // 476.8 columns become 477, and the way back has that scale.
    assert_eq!(placed(Fit::LetterboxCentered, 187, 251).scale, [477.0 / 187.0, 640.0 / 251.0]);
    // 639 lines: half a pixel of padding, and the odd one goes below.
    assert_eq!(placed(Fit::LetterboxCentered, 640, 639).offset, [0.0, 0.0]);
    assert_eq!(placed(Fit::LetterboxCentered, 640, 637).offset, [0.0, 1.0]);
    let yolox = placed(Fit::LetterboxTopLeft, 810, 1080);
    assert_eq!((yolox.scale, yolox.offset), ([640.0 / 1080.0; 2], [0.0, 0.0]));
    let crop = placed(Fit::CropCenter, 1280, 720);
    assert_eq!((crop.scale, crop.offset), ([1137.0 / 1280.0, 640.0 / 720.0], [-248.0, 0.0]));
}

#[test]
fn a_box_goes_into_the_model_and_back_to_within_a_pixel() {
    let mut state = 7_u32;
    let mut below = |end: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % end
    };
    for _ in 0..300 {
        let (width, height) = (1 + below(300), 1 + below(300));
        let model = Size { width: 32 * (1 + below(12)), height: 32 * (1 + below(12)) };
        for kind in [Fit::LetterboxCentered, Fit::LetterboxTopLeft] {
            let placement = Fitter::new(kind, model).fit(&pattern(width, height), &mut RgbImage::default());
            let (x, y) = (below(width) as f32, below(height) as f32);
            let known = BoxPx { x1: x, y1: y, x2: width as f32, y2: height as f32 };
            let back = placement.box_to_original(into_model(&placement, known));
            for (a, b) in [(back.x1, known.x1), (back.y1, known.y1), (back.x2, known.x2), (back.y2, known.y2)] {
                assert!(
                    (a - b).abs() < 1e-2,
                    "{kind:?} {width}×{height} in {model:?}: {known:?} came back as {back:?}"
                );
            }
        }
    }
}

fn into_model(placement: &Placement, found: BoxPx) -> BoxPx {
    let [sx, sy] = placement.scale;
    let [dx, dy] = placement.offset;
    BoxPx { x1: found.x1 * sx + dx, y1: found.y1 * sy + dy, x2: found.x2 * sx + dx, y2: found.y2 * sy + dy }
}

/// A bright dot is found by its place in the model's input, through region and rotation, in the whole rotated picture.
#[test]
fn a_dot_in_a_region_is_reported_in_pixels_of_the_whole_rotated_picture() {
    use andon::{geometry::Region, vision::Rotation};
    let (width, height) = (200_u32, 120_u32);
    let mut data = vec![0; (width * height) as usize];
    for (x, y) in [(150, 30), (151, 30), (150, 31), (151, 31)] {
        data[(y * width + x) as usize] = 255;
    }
    let frame = Frame {
        format: PixelFormat::Grey8,
        size: Size { width, height },
        stride: width as usize,
        data,
        ..Frame::empty()
    };
    let region = Some(Region { x: 40, y: 100, width: 80, height: 90 });
    let view = View { rotation: Rotation::Quarter, region };
    let (mut picture, mut input) = (RgbImage::default(), RgbImage::default());
    let cutout = Decoder::new().decode(&frame, &view, &mut picture).unwrap();
    let model = Size { width: 160, height: 160 };
    let placement = Fitter::new(Fit::LetterboxCentered, model).fit(&picture, &mut input).inside(cutout);
    let bright: Vec<usize> = (0..input.data.len() / 3).filter(|&i| input.data[i * 3] > 200).collect();
    let mean =
        |of: &dyn Fn(usize) -> usize| bright.iter().map(|&i| of(i) as f32 + 0.5).sum::<f32>() / bright.len() as f32;
    let center = Point { x: mean(&|i| i % 160), y: mean(&|i| i / 160) };
    let found = placement.point_to_original(center);
    // Clockwise: the columns from the left become the lines from the top, the lines from the bottom the columns.
    assert!((found.x - (120.0 - 31.0)).abs() < 0.3 && (found.y - 151.0).abs() < 0.3, "{found:?}");
    assert_eq!(placement.original, Size { width: 120, height: 200 });
}

/// Prints milliseconds; `tests/peers/letterbox.py --time` prints OpenCV's.
#[test]
fn speed() {
    if std::env::var_os("ANDON_TIME").is_none() {
        println!("speed: skipped, because ANDON_TIME is not set");
        return;
    }
    for (width, height) in [(1280, 720), (1920, 1080)] {
        let picture = pattern(width, height);
        let (mut out, mut tensor) = (RgbImage::default(), vec![0.0; 3 * 640 * 640]);
        for side in [640, 608] {
            let mut fitter = Fitter::new(Fit::LetterboxCentered, Size { width: side, height: side });
            print_time(&format!("letterbox {width}×{height} to {side}×{side}"), || {
                fitter.fit(&picture, &mut out);
            });
        }
        let mut fitter = Fitter::new(Fit::CropCenter, Size { width: 224, height: 224 });
        let mut crop = RgbImage::default();
        print_time(&format!("crop {width}×{height} to 224×224"), || {
            fitter.fit(&picture, &mut crop);
        });
        Fitter::new(Fit::LetterboxCentered, Size { width: 640, height: 640 }).fit(&picture, &mut out);
        print_time("encode 640×640", || encode(&out, Encoding::RgbUnit, &mut tensor));
        for format in [PixelFormat::Bgr8, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::I420] {
            let stride = width as usize
                * match format {
                    PixelFormat::Bgr8 => 3,
                    PixelFormat::Yuyv => 2,
                    _ => 1,
                };
            let data = picture.data.clone();
            let frame = Frame { format, size: picture.size(), stride, data, ..Frame::empty() };
            print_decode_time(&format!("{format:?} {width}×{height}"), &frame);
        }
    }
    let Some(folder) = std::env::var_os("ANDON_OPENCV_DIR") else { return };
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let data = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        if ["bus.jpg", "zidane.jpg", "19-420-0.jpg"].contains(&&*name) {
            let frame = Frame { format: PixelFormat::Jpeg, data, ..Frame::empty() };
            print_decode_time(&path.file_name().unwrap().to_string_lossy(), &frame);
        }
    }
}

fn print_decode_time(name: &str, frame: &Frame) {
    let (mut decoder, mut rgb) = (Decoder::new(), RgbImage::default());
    print_time(&format!("decode {name}"), || {
        let _ = decoder.decode(frame, &View::default(), &mut rgb).unwrap();
    });
}

fn print_time(name: &str, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..40)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name}: min {:.2} median {:.2} ms", times[0], times[20]);
}
