#!/usr/bin/env python3
"""Quantizes a float YOLO with andon and compares what the int8 file finds with what the float file finds, in other pictures.

    pip install onnxruntime numpy opencv-python-headless
    python tests/peers/agree_quantize.py OUT --andon target/debug/andon --images bus.jpg zidane.jpg --model yolo26n.onnx

Calibrates on 100 seeded cutouts of the images, mirrored, brighter and darker, and compares on 64 others: andon with andon,
and onnxruntime with onnxruntime. Prints the share of detections of 0.5 or more that the other side has as well (of the
same class, IoU of 0.8 or more, confidence of 0.25 or more), with 0.5 or more in brackets, and the mean difference of confidence; fails
where the share is below 97 % or the difference above 0.03. The model ends in boxes, confidences and classes (YOLO26).
"""

import argparse
import json
import pathlib
import subprocess
import sys

import cv2
import numpy
import onnxruntime
import pictures

SHARE_MIN, OFF_MAX = 0.97, 0.03
FROM, ENOUGH, IOU_MIN = 0.5, 0.25, 0.8


def iou(a, b):
    width, height = (min(a[2 + axis], b[2 + axis]) - max(a[axis], b[axis]) for axis in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def matched(own, others):
    """How many of the sure detections (x1, y1, x2, y2, confidence, class), how many the others have, how many of these are
    sure too, and the differences of confidence."""
    taken, found, both, sure, off = set(), 0, 0, 0, []
    for one in sorted(own, key=lambda one: -one[4]):
        if one[4] < FROM:
            break
        found += 1
        fits = [
            (iou(one, other), -index)
            for index, other in enumerate(others)
            if index not in taken and other[5] == one[5] and other[4] >= ENOUGH
        ]
        best, index = max(fits, default=(0.0, 0))
        if best >= IOU_MIN:
            taken.add(-index)
            both += 1
            sure += others[-index][4] >= FROM
            off.append(abs(others[-index][4] - one[4]))
    return numpy.array([found, both, sure]), off


def compare(name, reference, candidate):
    sides, off = numpy.zeros((2, 3)), []
    for own, others in zip(reference, candidate, strict=True):
        for side, (a, b) in enumerate(((own, others), (others, own))):
            counts, differences = matched(a, b)
            sides[side] += counts
            off += differences
    shares = sides[:, 1:] / numpy.maximum(sides[:, :1], 1)
    off = float(numpy.mean(off)) if off else 1.0
    told = "; ".join(f"{100 * both:.1f} % ({100 * sure:.1f} %) of {int(n)}" for (both, sure), n in zip(shares, sides[:, 0]))
    print(f"{name}: {told}; confidence {off:.4f} apart", flush=True)
    return shares[:, 0].min() >= SHARE_MIN and off <= OFF_MAX


def with_andon(andon, model, folder):
    command = [andon, "detect", "--model", model, "--conf", str(ENOUGH), "--format", "json", folder]
    answers = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout)
    box = lambda found: [found["box"][side] for side in ("x1", "y1", "x2", "y2")]
    return [[[*box(found), found["confidence"], found["class"]] for found in one["detections"]] for one in answers]


def with_onnxruntime(model, paths):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    for path in paths:
        fitted = pictures.letterbox(pictures.read(path), *given.shape[2:], True)
        yield session.run(None, {given.name: pictures.planes(fitted, True)})[0][0].tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--andon", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--images", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=64, help="pictures to compare on")
    options = parser.parse_args()
    images = [pictures.read(path) for path in options.images]
    for name, count, seed in (("calibration", 100, 1), ("compared", options.count, 0)):
        (options.out / name).mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(pictures.variants(images, count, seed)):
            cv2.imwrite(str(options.out / name / f"{index:03}.png"), picture)
    int8 = options.out / f"{options.model.stem}-int8.onnx"
    command = [options.andon, "quantize", "--model", options.model, "--images", options.out / "calibration", "-o", int8]
    subprocess.run([str(part) for part in command], check=True)
    compared = options.out / "compared"
    ours = compare("andon", *(with_andon(options.andon, model, compared) for model in (options.model, int8)))
    paths = sorted(compared.iterdir())
    theirs = compare("onnxruntime", *(list(with_onnxruntime(model, paths)) for model in (options.model, int8)))
    sys.exit(0 if ours and theirs else 1)


if __name__ == "__main__":
    main()
