#!/usr/bin/env python3
"""What Ultralytics and pycocotools say about detections, beside what `andon val` says about the same.

    val.py compare --andon PROGRAM --model MODEL.onnx --data DATA [--split val] [-- more arguments of `andon val`]
        runs `andon val --json --save-json`, gives the detections it saved to both libraries, and fails where a figure is
        further off than 0.001. The labels are read by Ultralytics. `yolo val` itself finds other detections in pictures
        that are not of the model's size (it rounds the size up when it shrinks them, `yolo predict` to the nearest) and
        does not cut boxes at the picture's edge.
    val.py golden FILE
        writes made-up cases with both libraries' answers, for tests/eval.rs: equal scores, duplicates, many detections,
        boxes without an area, overlaps that are exactly a threshold, classes with objects or detections only.

Needs ultralytics and pycocotools. They are called as they are; only the golden cases' equal scores are sorted stably, for
NumPy's own order of them depends on the processor.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils import metrics

OFF_MAX = 1e-3


def yolo_figures(pictures):
    """Per class and mean figures of pictures [(labels, detections)], rows (class, x1, y1, x2, y2) and (…, score)."""
    judge = DetectionValidator.__new__(DetectionValidator)
    judge.iouv = torch.linspace(0.5, 0.95, 10)
    judge.niou = 10
    hits, scores, found, truth = [], [], [], []
    for labels, detections in pictures:
        labels = torch.tensor(labels, dtype=torch.float32).reshape(-1, 5)
        detections = sorted(detections, key=lambda row: -row[5])
        detections = torch.tensor(detections, dtype=torch.float32).reshape(-1, 6)
        hits.append(
            judge._process_batch(
                {"bboxes": detections[:, 1:5], "conf": detections[:, 5], "cls": detections[:, 0]},
                {"bboxes": labels[:, 1:5], "cls": labels[:, 0]},
            )["tp"]
        )
        scores.append(detections[:, 5].numpy())
        found.append(detections[:, 0].numpy())
        truth.append(labels[:, 0].numpy())
    truth = np.concatenate(truth)
    _, _, p, r, _, ap, classes, *_ = metrics.ap_per_class(
        np.concatenate(hits), np.concatenate(scores), np.concatenate(found), truth
    )
    per_class = {
        int(c): {"precision": p[i], "recall": r[i], "map50": ap[i, 0], "map50_95": ap[i].mean()}
        for i, c in enumerate(classes)
    }
    return mean_of(per_class), per_class


def coco_figures(pictures):
    """The same for pycocotools' AP and AP50."""
    classes = sorted({int(row[0]) for labels, detections in pictures for row in [*labels, *detections]})
    truth = {"images": [], "annotations": [], "categories": [{"id": c, "name": str(c)} for c in classes]}
    results = []
    for image_id, (labels, detections) in enumerate(pictures, 1):
        truth["images"].append({"id": image_id})
        for c, x1, y1, x2, y2 in labels:
            annotation = {"image_id": image_id, "category_id": int(c), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotation |= {"id": len(truth["annotations"]) + 1, "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            truth["annotations"].append(annotation)
        for c, x1, y1, x2, y2, score in detections:
            result = {"image_id": image_id, "category_id": int(c), "score": score}
            results.append(result | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    with_objects = sorted({int(row[0]) for labels, _ in pictures for row in labels})
    places = {c: evaluation.params.catIds.index(c) for c in with_objects}
    per_class = {c: {"ap": precision[:, :, k].mean(), "ap50": precision[0, :, k].mean()} for c, k in places.items()}
    return {"ap": evaluation.stats[0], "ap50": evaluation.stats[1]}, per_class


def confusion(pictures):
    """Ultralytics' confusion matrix, as [found, truth, count] of what is in it; None is background."""
    classes = 1 + max(int(row[0]) for labels, detections in pictures for row in [*labels, *detections])
    matrix = metrics.ConfusionMatrix(names={c: str(c) for c in range(classes)}, task="detect")
    for labels, detections in pictures:
        labels = torch.tensor(labels, dtype=torch.float32).reshape(-1, 5)
        detections = torch.tensor(detections, dtype=torch.float32).reshape(-1, 6)
        matrix.process_batch(
            {"bboxes": detections[:, 1:5], "conf": detections[:, 5], "cls": detections[:, 0]},
            {"bboxes": labels[:, 1:5], "cls": labels[:, 0]},
        )
    names = [*range(classes), None]
    return [[names[i], names[j], int(matrix.matrix[i, j])] for i, j in np.argwhere(matrix.matrix > 0).tolist()]


def mean_of(per_class):
    rows = list(per_class.values())
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def expected(pictures):
    yolo, yolo_classes = yolo_figures(pictures)
    coco, coco_classes = coco_figures(pictures)
    classes = [{"class": c, **yolo_classes[c], "coco": coco_classes[c]} for c in sorted(yolo_classes)]
    return {**yolo, "coco": coco, "classes": classes}


def compare(args):
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "detections.json"
        command = [args.andon, "val", "--model", args.model, "--data", args.data, "--split", args.split]
        command += ["--json", "--save-json", str(saved), *args.more]
        ours = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        rows = json.loads(saved.read_text())
    pictures = read_dataset(args.data, args.split, rows)
    theirs = expected(pictures)
    lines, worst = [], 0.0
    pairs = [("all", ours, theirs)]
    by_number = {one["class"]: one for one in ours["classes"]}
    pairs += [(by_number[one["class"]]["name"], by_number[one["class"]], one) for one in theirs["classes"]]
    for name, our, their in pairs:
        for key in "precision", "recall", "map50", "map50_95":
            off = abs(our[key] - their[key])
            worst = max(worst, off)
            lines.append((name, key, our[key], their[key], off))
        for key in "ap", "ap50":
            off = abs(our["coco"][key] - their["coco"][key])
            worst = max(worst, off)
            lines.append((name, f"coco {key}", our["coco"][key], their["coco"][key], off))
    for name, key, our, their, off in lines:
        if name == "all" or off > OFF_MAX:
            print(f"{name:>12} {key:>10}  andon {our:.5f}  theirs {their:.5f}  {'OFF' if off > OFF_MAX else ''}")
    print(f"{len(pictures)} pictures, {len(rows)} detections; at most {worst:.6f} off in {len(lines)} figures")
    return worst <= OFF_MAX


def read_dataset(data, split, rows):
    """The labels as Ultralytics' own dataset reads them, in pixels, with the detections that `andon val` saved."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    described = check_det_dataset(data if data.endswith((".yaml", ".yml")) else str(Path(data) / "data.yaml"))
    dataset = YOLODataset(
        img_path=described[split], data=described, task="detect", augment=False, rect=False, hyp=get_cfg(), imgsz=640
    )
    by_file = {}
    for row in rows:
        x, y, w, h = row["bbox"]
        by_file.setdefault(row["file_name"], []).append([row["category_id"], x, y, x + w, y + h, row["score"]])
    pictures = []
    for label in dataset.labels:
        height, width = label["shape"]
        boxes = []
        for c, (cx, cy, w, h) in zip(label["cls"][:, 0].tolist(), label["bboxes"].tolist()):
            boxes.append([c, (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height])
        pictures.append((boxes, by_file.pop(Path(label["im_file"]).name, [])))
    assert not by_file, f"detections for pictures that are not in the dataset: {list(by_file)[:3]}"
    return pictures


def made_up():
    """Cases by name; all coordinates and scores are exact in 32 bits."""
    random = np.random.default_rng(2014)

    def box(c, x, y, w, h, *score):
        return [c, x, y, x + w, y + h, *score]

    def any_box(classes):
        x, y = random.integers(0, 400, 2) / 4
        w, h = random.integers(20, 200, 2) / 4
        return box(int(random.integers(classes)), x, y, w, h)

    def near(label, classes, score_steps):
        c, x1, y1, x2, y2 = label
        shift = random.integers(-20, 21, 4) / 8
        c = int(random.integers(classes)) if random.random() < 0.1 else c
        return [c, x1 + shift[0], y1 + shift[1], x2 + shift[2], y2 + shift[3], score(score_steps)]

    def score(steps):
        return float(random.integers(1, steps)) / steps

    def picture(objects, per_object, strays, classes, steps):
        labels = [any_box(classes) for _ in range(objects)]
        found = [near(label, classes, steps) for label in labels for _ in range(per_object) if random.random() < 0.8]
        return labels, found + [[*any_box(classes), score(steps)] for _ in range(strays)]

    cases = {
        "usual": [picture(int(random.integers(6)), 1, int(random.integers(4)), 4, 4096) for _ in range(30)],
        "equal scores": [picture(4, 2, 3, 3, 8) for _ in range(12)],
        "many on one": [picture(1, 30, 5, 2, 64) for _ in range(3)],
        "more than 100 of a class": [picture(40, 4, 60, 1, 4096)],
        "more than 300": [picture(50, 6, 120, 3, 4096)],
    }
    objects, others = box(0, 0, 0, 10, 10), box(1, 50, 0, 10, 10)
    cases["exact overlaps"] = [
        ([objects], [box(0, 0, 0, 10, share, share / 16)]) for share in (4.75, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5)
    ]
    cases["duplicates"] = [
        ([objects, objects, others], [box(0, 0, 0, 10, 10, 0.75)] * 3 + [box(1, 50, 0, 10, 10, 0.75)] * 2)
    ] * 2
    cases["only objects, only detections, nothing"] = [
        ([objects, others], []),
        ([], [box(0, 0, 0, 10, 10, 0.875), box(2, 0, 0, 10, 10, 0.5)]),
        ([], []),
        ([objects, box(3, 1, 1, 5, 5)], [box(0, 0, 0, 10, 10, 0.25), box(2, 1, 1, 5, 5, 0.5)]),
    ]
    cases["no area"] = [
        ([box(0, 5, 5, 0, 10), objects], [box(0, 5, 5, 0, 10, 0.75), box(0, 0, 0, 10, 10, 0.5), box(0, 3, 3, 0, 0, 1)])
    ]
    cases["certain and hopeless"] = [([objects, others], [box(0, 0, 0, 10, 10, 1), box(1, 50, 0, 10, 10, 0)])]
    cases["close together"] = [
        (
            [box(0, 0, 0, 10, 10), box(0, 2, 0, 10, 10), box(0, 4, 0, 10, 10)],
            [box(0, 1, 0, 10, 10, 0.875), box(0, 3, 0, 10, 10, 0.75), box(0, 5, 0, 10, 10, 0.625)],
        )
    ]
    return cases


def golden(args):
    argsort = np.argsort
    np.argsort = lambda values, *more, **named: argsort(values, *more, **(named | {"kind": "stable"}))
    cases = [
        {"name": name, "pictures": pictures, **expected(pictures), "confusion": confusion(pictures)}
        for name, pictures in made_up().items()
    ]
    rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    Path(args.file).write_text(f"[\n{rows}\n]\n")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("compare")
    for name in "--andon", "--model", "--data":
        one.add_argument(name, required=True)
    one.add_argument("--split", default="val")
    one.add_argument("more", nargs="*")
    one.set_defaults(run=compare)
    other = commands.add_parser("golden")
    other.add_argument("file")
    other.set_defaults(run=golden)
    args = parser.parse_args()
    sys.exit(0 if args.run(args) else 1)


if __name__ == "__main__":
    main()
