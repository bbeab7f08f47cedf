#!/usr/bin/env python3
"""Runs int8 files in onnxruntime on many seeded pictures, for andon to be compared with on the same tensors.

    pip install onnxruntime numpy opencv-python-headless
    python tests/peers/agree_int8.py OUT --images bus.jpg zidane.jpg --models a-int8-qdq.onnx b-int8-qoperator.onnx
    ANDON_ORT_POOL_DIR=OUT cargo test --test main pooled -- --nocapture

OUT gets a folder for each model with `model.txt` (its path), `inputs.txt` (the folder of its tensors) and, for each
picture, `NN.npy` (onnxruntime's first output). Models with the same input share their tensors, a few megabytes each.
The pictures are cutouts of the images, some mirrored, some brighter or darker.

The test prints for each model which part of the detections both find and how far their confidences are apart, and fails
where that is too little or too much.
"""

import argparse
import pathlib

import numpy
import onnxruntime
import pictures


def store_inputs(out, images, count, seed, height, width, ultralytics):
    """The folder with the tensors for models of one size and convention, filled the first time it is asked for."""
    folder = out / "inputs" / f"{'rgb-unit' if ultralytics else 'bgr-bytes'}-{height}x{width}"
    if not folder.exists():
        folder.mkdir(parents=True)
        for index, picture in enumerate(pictures.variants(images, count, seed)):
            fitted = pictures.letterbox(picture, height, width, ultralytics)
            numpy.save(folder / f"{index:03}.npy", pictures.planes(fitted, ultralytics))
    return folder


def run(model, out, images, count, seed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    ultralytics = pictures.is_ultralytics(session)
    inputs = store_inputs(out, images, count, seed, *given.shape[2:], ultralytics)
    folder = out / "models" / model.stem
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text(f"{model.resolve()}\n")
    (folder / "inputs.txt").write_text(f"{inputs.resolve()}\n")
    for path in sorted(inputs.iterdir()):
        output = session.run(None, {given.name: numpy.load(path)})[0]
        numpy.save(folder / path.name, output.astype(numpy.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="a folder that does not exist yet")
    parser.add_argument("--models", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--images", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=64, help="pictures")
    parser.add_argument("--seed", type=int, default=0, help="which pictures")
    options = parser.parse_args()
    if options.out.exists():
        raise SystemExit(f"{options.out} exists; remove it, so that nothing in it is older than the rest")
    images = [pictures.read(path) for path in options.images]
    for model in options.models:
        run(model, options.out, images, options.count, options.seed)
        print(model.stem, flush=True)


if __name__ == "__main__":
    main()
