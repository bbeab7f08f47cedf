#!/usr/bin/env python3
"""What OpenCV and Pillow make of pictures, for `tests/vision.rs` to compare with.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install opencv-python-headless numpy 'pillow<13'
    /tmp/peers/bin/python tests/peers/letterbox.py /tmp/opencv [--photos DIR]
    ANDON_OPENCV_DIR=/tmp/opencv cargo test --test main opencv -- --nocapture
    ANDON_TIME=1 cargo test --release --test main speed -- --nocapture

Writes seeded pictures, OpenCV's and Pillow's answers as PNG, and `cases.txt`: one line a case, `kind input expected
width height`, where width and height are the model's input or the raw picture's size. `--time` prints OpenCV's own
milliseconds for the pictures that the speed test uses, with one thread.
"""
import argparse
import pathlib
import time

import cv2
import numpy as np
from PIL import Image

import pictures

MODELS = [(640, 640), (416, 416), (640, 384), (224, 224), (33, 47)]
SIZES = [
    (1, 1), (1, 7), (7, 1), (2, 3), (3, 2), (1, 640), (640, 1), (17, 13), (63, 65), (127, 31), (31, 127), (199, 401),
    (333, 77), (5, 900), (900, 5), (641, 639), (639, 641), (640, 480), (641, 481), (1280, 720), (1279, 719), (1281, 721),
    (810, 1080), (1920, 1080), (320, 320), (1023, 1537),
]


def smooth(rng, width, height):
    """Gradients, edges and a little noise: what a camera shows."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.zeros((height, width, 3))
    for channel in range(3):
        a, b, c = rng.uniform(0.5, 6, 3)
        picture[..., channel] = 127 + 60 * np.sin(a * x / 40 + c) + 60 * np.cos(b * y / 30)
    for _ in range(12):
        x1, y1 = rng.integers(0, width), rng.integers(0, height)
        picture[y1:y1 + rng.integers(1, 80), x1:x1 + rng.integers(1, 80)] = rng.integers(0, 256, 3)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def crop_center(picture, width, height):
    """torchvision's Resize and CenterCrop on a PIL image (it uses PIL's own bilinear filter)."""
    image = Image.fromarray(picture)
    w, h = image.size
    size = (width, height)
    if width == height:
        size = (width, int(width * h / w)) if w <= h else (int(width * w / h), width)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return np.asarray(image.crop((left, top, left + width, top + height)))


def exif(jpeg, orientation):
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + orientation.to_bytes(2, "big") + b"\0\0\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


class Cases:
    def __init__(self, folder):
        self.folder, self.lines = folder, []

    def add(self, kind, source, expected, width=0, height=0):
        name = f"{len(self.lines):04}-{kind}.png"
        Image.fromarray(expected).save(self.folder / name, compress_level=1)
        self.lines.append(f"{kind} {source} {name} {width} {height}")


def write_fits(cases, seeded):
    for name, picture in seeded.items():
        Image.fromarray(picture).save(cases.folder / name, compress_level=1)
        for width, height in MODELS:
            cases.add("letterbox", name, pictures.letterbox(picture, height, width, True), width, height)
            cases.add("top-left", name, pictures.letterbox(picture, height, width, False), width, height)
            # Pillow resizes very tall pictures along y first, which rounds otherwise; andon always goes along x first.
            if max(picture.shape[:2]) / min(picture.shape[:2]) < 100:
                cases.add("crop", name, crop_center(picture, width, height), width, height)


def write_jpegs(cases, seeded, photos):
    def add(name, data):
        (cases.folder / name).write_bytes(data)
        cases.add("jpeg", name, cv2.imread(str(cases.folder / name))[:, :, ::-1])

    factors = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}
    for index, picture in enumerate(list(seeded.values())[::2]):
        for sampling, factor in factors.items():
            for progressive in (0, 1):
                options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor,
                           cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, index % 3]
                data = cv2.imencode(".jpg", picture[:, :, ::-1], options)[1].tobytes()
                add(f"{index}-{sampling}-{progressive}.jpg", data)
    some = seeded["smooth-199x401.png"]
    data = cv2.imencode(".jpg", some[:, :, ::-1])[1].tobytes()
    for orientation in range(1, 9):
        add(f"exif-{orientation}.jpg", exif(data, orientation))
    add("grey.jpg", cv2.imencode(".jpg", some[:, :, 0])[1].tobytes())
    for photo in photos:
        add(photo.name, photo.read_bytes())


def write_yuv(cases, rng):
    for width, height in [(64, 48), (642, 482), (2, 2), (98, 6)]:
        packed = rng.integers(0, 256, (height, width, 2), np.uint8)
        planar = rng.integers(0, 256, (height * 3 // 2, width), np.uint8)
        for kind, data, code in [("yuyv", packed, cv2.COLOR_YUV2RGB_YUY2), ("uyvy", packed, cv2.COLOR_YUV2RGB_UYVY),
                                 ("nv12", planar, cv2.COLOR_YUV2RGB_NV12), ("i420", planar, cv2.COLOR_YUV2RGB_I420)]:
            name = f"{kind}-{width}x{height}.raw"
            (cases.folder / name).write_bytes(data.tobytes())
            cases.add(kind, name, cv2.cvtColor(data, code), width, height)


def print_times(seeded):
    def milliseconds(work):
        times = []
        for _ in range(40):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return f"min {min(times) * 1e3:.2f} median {sorted(times)[20] * 1e3:.2f} ms"

    for size in ("1280x720", "1920x1080"):
        picture = seeded[f"smooth-{size}.png"]
        jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        print(f"cv2 letterbox {size} to 640x640:", milliseconds(lambda: pictures.letterbox(picture, 640, 640, True)))
        print(f"cv2 letterbox {size} to 608x608:", milliseconds(lambda: pictures.letterbox(picture, 608, 608, True)))
        print(f"cv2 imdecode {size}:", milliseconds(lambda: cv2.imdecode(jpeg, cv2.IMREAD_COLOR)))
        height, width = picture.shape[:2]
        packed = np.zeros((height, width, 2), np.uint8) + 77
        print(f"cv2 YUYV {size}:", milliseconds(lambda: cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_YUY2)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--photos", type=pathlib.Path, help="a folder of JPEG files to decode as well")
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(20)
    seeded = {}
    for width, height in SIZES:
        seeded[f"noise-{width}x{height}.png"] = rng.integers(0, 256, (height, width, 3), np.uint8)
        seeded[f"smooth-{width}x{height}.png"] = smooth(rng, width, height)
    if arguments.time:
        print_times(seeded)
        return
    cases = Cases(arguments.folder)
    write_fits(cases, seeded)
    write_jpegs(cases, seeded, sorted(arguments.photos.glob("*.jpg")) if arguments.photos else [])
    write_yuv(cases, rng)
    (arguments.folder / "cases.txt").write_text("\n".join(cases.lines) + "\n")
    print(f"OpenCV {cv2.__version__}, Pillow {Image.__version__}: {len(cases.lines)} cases in {arguments.folder}")


if __name__ == "__main__":
    main()
