#!/usr/bin/env python3
"""Makes int8 files of float YOLOs with onnxruntime's own tools, so that engines can be compared on them.

    pip install onnx onnxruntime numpy opencv-python-headless
    python tests/peers/quantize_static.py OUT --images bus.jpg zidane.jpg --models yolov8n.onnx yolox-nano.onnx

OUT gets NAME-int8-qdq.onnx for each model: QDQ around convolutions only, weights and activations in S8, weights
symmetric and per channel, activations with a zero point and per tensor, ranges from the least and the greatest number
seen (MinMax) over cutouts of the images. Nothing is left out: every convolution is quantized.

YOLOX-nano finds next to nothing that way, for single outliers stretch the ranges of its depthwise convolutions; with
--percentile 99.99 it does. Files of the standard operators before version 13, which have no scales per channel, are
brought to 13 first.
"""

import argparse
import logging
import pathlib
import tempfile

import onnx
import onnx.version_converter
import onnxruntime
import pictures
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Cutouts(CalibrationDataReader):
    """Hands the calibrator cutouts of the images, one at a time, as the model wants them."""

    def __init__(self, model, images, count, seed):
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        height, width = given.shape[2:]
        ultralytics = pictures.is_ultralytics(session)
        fitted = (
            pictures.letterbox(picture, height, width, ultralytics)
            for picture in pictures.variants(images, count, seed)
        )
        self.inputs = ({given.name: pictures.planes(picture, ultralytics)} for picture in fitted)

    def get_next(self):
        return next(self.inputs, None)


def with_opset(model, least):
    """The model in at least this version of the standard operators: 13 is the first with scales per channel."""
    proto = onnx.load(model)
    version = next(opset.version for opset in proto.opset_import if opset.domain in ("", "ai.onnx"))
    return proto if version >= least else onnx.version_converter.convert_version(proto, least)


def quantize(model, out, options, images):
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        # Symbolic inference needs packages of its own, and these models have no open sizes.
        onnx.save(with_opset(model, 13), str(prepared))
        quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out),
            Cutouts(prepared, images, options.count, options.seed),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile if options.percentile else CalibrationMethod.MinMax,
            extra_options={"CalibPercentile": options.percentile} if options.percentile else {},
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--models", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--images", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=32, help="cutouts to calibrate with")
    parser.add_argument("--seed", type=int, default=1, help="which cutouts (agree_int8.py takes others)")
    parser.add_argument("--percentile", type=float, help="cut the ranges here instead of at the greatest number")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(3)
    options.out.mkdir(parents=True, exist_ok=True)
    images = [pictures.read(path) for path in options.images]
    for model in options.models:
        out = options.out / f"{model.stem}-int8-qdq.onnx"
        quantize(model, out, options, images)
        print(out, flush=True)


if __name__ == "__main__":
    main()
