#!/usr/bin/env python3
"""Writes what Ultralytics itself makes of the outputs of its own exports, for tests/yolo.rs.

    python3 -m venv venv && venv/bin/pip install ultralytics onnx onnxruntime onnxslim
    venv/bin/python tests/peers/ultralytics_heads.py OUT [NAME...]
    ANDON_YOLO_DIR=OUT cargo test yolo

Models are built from the YAML files of the `ultralytics` package with seeded random weights, spread so that they find
many things with different scores, exported to ONNX and run by onnxruntime through Ultralytics' own predictor. For each,
OUT/NAME holds model.onnx, image.png, input.npy (what the predictor fed), output0.npy, … (what onnxruntime gave) and
expected.json (what `Results.summary()` says for several settings). Nothing of OUT belongs into a repository.
"""

import json
import statistics
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from ultralytics import YOLO
from ultralytics.data.augment import LetterBox

# name: (YAML, input height and width, height and width of the picture, export arguments, overrides of the YAML)
MODELS = {
    "yolov5nu": ("yolov5n.yaml", (160, 160), (187, 251), {}, {}),
    "yolov8n": ("yolov8n.yaml", (160, 160), (187, 251), {}, {}),
    "yolov8n-wide": ("yolov8n.yaml", (128, 224), (301, 200), {}, {}),
    "yolov8n-dynamic": ("yolov8n.yaml", (160, 160), (90, 120), {"dynamic": True}, {}),
    "yolov8n-nms": ("yolov8n.yaml", (160, 160), (187, 251), {"nms": True, "conf": 0.1}, {}),
    "yolov8n-p2": ("yolov8n-p2.yaml", (128, 128), (133, 177), {}, {}),
    "yolov8n-p6": ("yolov8n-p6.yaml", (192, 192), (133, 177), {}, {}),
    "yolov9t": ("yolov9t.yaml", (160, 160), (187, 251), {}, {}),
    "yolov10n": ("yolov10n.yaml", (160, 160), (187, 251), {}, {}),
    "yolov10n-end2end": ("yolov10n.yaml", (160, 160), (187, 251), {"nms": False}, {}),
    "yolo11n": ("yolo11n.yaml", (320, 320), (480, 640), {}, {}),
    "yolo12n": ("yolo12n.yaml", (160, 160), (187, 251), {}, {}),
    "yolo26n": ("yolo26n.yaml", (160, 160), (187, 251), {}, {}),
    "yolo26n-end2end": ("yolo26n.yaml", (320, 320), (480, 640), {"nms": False}, {}),
    "yolo26n-end2end-small": ("yolo26n.yaml", (96, 96), (187, 251), {"nms": False}, {"nc": 2}),
    "yolo26n-end2end-dynamic": ("yolo26n.yaml", (160, 160), (187, 251), {"nms": False, "dynamic": True}, {}),
    "yolov8n-seg": ("yolov8n-seg.yaml", (160, 160), (187, 251), {}, {}),
    "yolov8n-seg-nms": ("yolov8n-seg.yaml", (160, 160), (187, 251), {"nms": True, "conf": 0.1}, {"nc": 3}),
    "yolo11n-seg": ("yolo11n-seg.yaml", (192, 320), (480, 640), {}, {"nc": 5}),
    "yolo26n-seg": ("yolo26n-seg.yaml", (160, 160), (187, 251), {}, {}),
    "yolo26n-seg-end2end": ("yolo26n-seg.yaml", (160, 160), (187, 251), {"nms": False}, {}),
    "yolov8n-pose": ("yolov8n-pose.yaml", (160, 160), (187, 251), {}, {}),
    "yolov8n-pose-nms": ("yolov8n-pose.yaml", (160, 160), (187, 251), {"nms": True, "conf": 0.1}, {}),
    "yolo11n-pose-flat": ("yolo11n-pose.yaml", (160, 160), (187, 251), {}, {"nc": 3, "kpt_shape": [5, 2]}),
    "yolo26n-pose": ("yolo26n-pose.yaml", (160, 160), (187, 251), {}, {}),
    "yolo26n-pose-end2end": ("yolo26n-pose.yaml", (160, 160), (187, 251), {"nms": False}, {}),
    "yolov8n-obb": ("yolov8n-obb.yaml", (160, 160), (187, 251), {}, {"nc": 15}),
    "yolov8n-obb-nms": ("yolov8n-obb.yaml", (160, 160), (187, 251), {"nms": True, "conf": 0.1}, {"nc": 15}),
    "yolo11n-obb": ("yolo11n-obb.yaml", (320, 320), (480, 640), {}, {"nc": 4}),
    "yolo26n-obb": ("yolo26n-obb.yaml", (160, 160), (187, 251), {}, {"nc": 15}),
    "yolo26n-obb-end2end": ("yolo26n-obb.yaml", (160, 160), (187, 251), {"nms": False}, {"nc": 15}),
    "yolov8n-cls": ("yolov8n-cls.yaml", (64, 64), (187, 251), {}, {"nc": 1000}),
    "yolo11n-cls": ("yolo11n-cls.yaml", (64, 64), (187, 251), {}, {"nc": 10}),
    "yolo26n-cls": ("yolo26n-cls.yaml", (64, 64), (187, 251), {}, {"nc": 3}),
    "yolov3-tinyu": ("yolov3-tiny.yaml", (160, 160), (187, 251), {}, {"nc": 7}),
    "yolov8n-seg-p6": ("yolov8n-seg-p6.yaml", (128, 192), (187, 251), {}, {"nc": 1}),
    "yolov8n-pose-p6": ("yolov8n-pose-p6.yaml", (192, 128), (187, 251), {}, {}),
    "yolo12n-obb": ("yolo12n-obb.yaml", (160, 160), (251, 187), {}, {"nc": 1}),
    "yolo12n-seg-tall": ("yolo12n-seg.yaml", (160, 160), (500, 90), {}, {}),
}

# What is asked of every model.
RUNS = [
    {"conf": 0.25, "iou": 0.7, "max_det": 300},
    {"conf": 0.001, "iou": 0.5, "max_det": 100},
    {"conf": 0.25, "iou": 0.45, "max_det": 300, "agnostic_nms": True},
    {"conf": 0.1, "iou": 0.7, "max_det": 20, "classes": [0, 1, 2]},
]

NAMES = ["it's", 'a "quoted" one', "Grüße", "back\\slash", "tab\there"]


def picture(height, width, seed):
    """A picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (3, 7, 15, 40):
        noise = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / 4
    return image.clip(0, 255).astype(np.uint8)


def spread(module, mean, deviation):
    """Scales a last convolution so that each of its outputs has this mean and deviation over the picture."""

    def hook(conv, inputs, output):
        flat = output.detach().transpose(0, 1).flatten(1)
        scale = deviation / flat.std(1).clamp(min=1e-6)
        conv.weight.data *= scale[:, None, None, None]
        conv.bias.data = (conv.bias.data - flat.mean(1)) * scale + mean
        return (output - flat.mean(1)[:, None, None]) * scale[:, None, None] + mean

    return module.register_forward_hook(hook)


def last_conv(module):
    return [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)][-1]


def randomize(model, size, shape, seed):
    """Gives normalization layers the statistics of pictures and the head's outputs a spread."""
    network = model.model
    fit = LetterBox(size, auto=False)
    pictures = [fit(image=picture(*shape, seed=seed + n))[..., ::-1] for n in range(4)]
    batch = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(batch)
    network.eval()
    head = network.model[-1]
    hooks = []
    if hasattr(head, "nc"):
        # Three rows in ten pass a confidence of 0.25.
        score = -1.1 - 2 * statistics.NormalDist().inv_cdf(1 - 0.3 / head.nc)
        # Distances to the edges must not be negative.
        box = (6.0, 0.3) if head.reg_max == 1 else (0.0, 1.5)
        targets = {"cv2": box, "cv3": (score, 2.0), "cv4": (0.0, 1.0), "cv4_kpts": (0.0, 1.0)}
        for prefix in ("", "one2one_"):
            for part, (mean, deviation) in targets.items():
                if part == "cv4" and hasattr(head, "cv4_kpts"):
                    continue
                for branch in getattr(head, prefix + part, None) or []:
                    hooks.append(spread(last_conv(branch), mean, deviation))
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()
    if not hasattr(head, "nc"):
        head.linear.weight.data *= 8


def make(name, folder):
    yaml, size, shape, arguments, overrides = MODELS[name]
    seed = list(MODELS).index(name)
    torch.manual_seed(seed)
    task = next((t for s, t in {"-seg": "segment", "-pose": "pose", "-obb": "obb", "-cls": "classify"}.items() if s in yaml), "detect")
    model = YOLO(yaml, task=task, verbose=False)
    if overrides:
        model.model = type(model.model)({**model.model.yaml, **overrides}, nc=overrides.get("nc"), verbose=False)
    classes = getattr(model.model.model[-1], "nc", overrides.get("nc", 80))
    model.model.names = {n: NAMES[n] if n < len(NAMES) else f"thing {n}" for n in range(classes)}
    randomize(model, size, shape, 1000 * seed)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.model, "train_args": {"task": task}}, folder / "model.pt")
    exported = YOLO(folder / "model.pt", task=task)
    exported.export(format="onnx", imgsz=list(size), verbose=False, **arguments)

    image = picture(*shape, seed=1000 * seed)
    cv2.imwrite(str(folder / "image.png"), image)
    kept = {}
    runs = []
    for settings in RUNS:
        loaded = YOLO(folder / "model.onnx", task=task)

        def keep(predictor):
            before, after = predictor.preprocess, predictor.postprocess

            def preprocess(image):
                kept["input"] = before(image)
                return kept["input"]

            def postprocess(predictions, *rest, **more):
                outputs = predictions if isinstance(predictions, (list, tuple)) else [predictions]
                kept["outputs"] = [torch.as_tensor(output).float().numpy().copy() for output in outputs]
                return after(predictions, *rest, **more)

            predictor.preprocess, predictor.postprocess = preprocess, postprocess

        loaded.add_callback("on_predict_start", keep)
        results = loaded.predict(image, imgsz=list(size), rect=False, verbose=False, device="cpu", **settings)
        runs.append({**settings, "detections": results[0].summary(decimals=7)})
    np.save(folder / "input.npy", kept["input"].numpy().astype(np.float32))
    for n, output in enumerate(kept["outputs"]):
        np.save(folder / f"output{n}.npy", output)
    proto = onnx.load(folder / "model.onnx")
    expected = {
        "picture": list(shape),
        "input": list(kept["input"].shape),
        "outputs": [{"name": o.name, "shape": list(k.shape)} for o, k in zip(proto.graph.output, kept["outputs"])],
        "metadata": {entry.key: entry.value for entry in proto.metadata_props},
        "runs": runs,
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False))
    shapes = " ".join("×".join(map(str, output.shape)) for output in kept["outputs"])
    print(f"{name}: {shapes}, found {[len(run['detections']) for run in runs]}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    failed = []
    for name in sys.argv[2:] or MODELS:
        try:
            make(name, Path(sys.argv[1]) / name)
        except Exception as error:
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
