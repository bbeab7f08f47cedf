#!/usr/bin/env python3
"""Writes trained weights as a float ONNX file with the metadata that detectors read; `andon quantize` makes int8 of it.

    pip install torch onnx
    python models/recipe/export.py WEIGHTS.pt OUT.onnx
"""

import argparse
import pathlib

import network
import onnx
import torch

NAMES = ["open", "short", "mousebite", "spur", "copper", "pin-hole"]
SIDE = 640
METADATA = {
    "description": "andon: the six DeepPCB defects on bare boards",
    "license": "MIT OR Apache-2.0",
    "task": "detect",
    "stride": str(network.STRIDE),
    "imgsz": str([SIDE, SIDE]),
    "names": str(dict(enumerate(NAMES))),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    given = parser.parse_args()
    trained = network.Network(len(NAMES))
    trained.load_state_dict(torch.load(given.weights, weights_only=True, map_location="cpu"))
    torch.onnx.export(
        network.WithBoxes(trained, SIDE).eval(),
        (torch.zeros(1, 3, SIDE, SIDE),),
        str(given.out),
        input_names=["images"],
        output_names=["output0"],
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(given.out)
    onnx.helper.set_model_props(model, METADATA)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, given.out)


if __name__ == "__main__":
    main()
