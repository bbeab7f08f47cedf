#!/usr/bin/env python3
"""Runs ONNX files in onnxruntime on reference tensors and stores what goes in and comes out.

    pip install onnxruntime numpy opencv-python-headless
    python tests/peers/ort.py OUT --images bus.jpg zidane.jpg --models a.onnx b.onnx
    ANDON_ORT_DIR=OUT cargo test engine

OUT gets one folder for each model and image: `model.txt` (the model's path), `input.npy` and `output0.npy`, … The
reference tensor is OpenCV's letterbox of the image (bilinear, centred, padded with grey 114), red, green, blue in 0..1;
for files without Ultralytics' metadata (YOLOX) blue, green, red in 0..255, at the top left. Without --images the input
is seeded noise, smoothed. Models with open sizes get --size.
"""

import argparse
import pathlib

import cv2
import numpy
import onnxruntime
import pictures

DTYPES = {"tensor(float)": numpy.float32, "tensor(float16)": numpy.float16, "tensor(uint8)": numpy.uint8}


def reference(image, height, width, channels, ultralytics):
    """The tensor that a model gets for an image, in 0..1 or, for YOLOX, in 0..255."""
    if image is None:
        noise = numpy.random.default_rng(0).random((height // 8 + 1, width // 8 + 1, 3))
        picture = cv2.resize((noise * 255).astype(numpy.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        picture = pictures.letterbox(pictures.read(image), height, width, ultralytics)
    return pictures.planes(picture, ultralytics)[:, :channels]


def run(model, image, out, size):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dims = [dim if isinstance(dim, int) else None for dim in given.shape]
    height, width = dims[2] or size[0], dims[3] or size[1]
    ultralytics = pictures.is_ultralytics(session) or image is None
    tensor = reference(image, height, width, dims[1] or 3, ultralytics)
    dtype = DTYPES[given.type]
    fed = numpy.rint(tensor * 255).astype(dtype) if dtype == numpy.uint8 else tensor.astype(dtype)
    outputs = session.run(None, {given.name: fed})
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.txt").write_text(str(model.resolve()) + "\n")
    numpy.save(out / "input.npy", tensor)
    for index, output in enumerate(outputs):
        numpy.save(out / f"output{index}.npy", output.astype(numpy.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--models", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--images", nargs="*", type=pathlib.Path, default=[])
    parser.add_argument("--size", nargs=2, type=int, default=[320, 320], metavar=("HEIGHT", "WIDTH"))
    options = parser.parse_args()
    for model in options.models:
        for image in options.images or [None]:
            name = f"{model.stem}--{image.stem if image else 'noise'}"
            run(model, image, options.out / name, options.size)
            print(name, flush=True)


if __name__ == "__main__":
    main()
