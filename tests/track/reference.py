#!/usr/bin/env python3
"""Asks the reference implementation of ByteTrack about the scenes that the tests make, and counts as they do.

    ANDON_SCENES_OUT=target/tracks cargo test --test main the_scenes_are_written
    tests/track/reference.py target/tracks tests/golden/tracks.json [--original a checkout of ifzhang/ByteTrack]

The package is `supervision` (MIT). The original is asked as well where it is given; of what it imports only numpy, scipy and
lap have to be installed. Both are asked with their defaults: 30 frames a second, lost after 30 frames, sure from 0.5.
"""
import argparse
import json
import os
import pathlib
import sys
import types
import warnings

# Matrices of eight by eight gain nothing from threads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np


def packaged():
    """A tracker of the package: boxes to the number of each, None where it has none."""
    import supervision

    tracker = supervision.ByteTrack(
        track_activation_threshold=0.5, lost_track_buffer=30, minimum_matching_threshold=0.8, frame_rate=30,
        minimum_consecutive_frames=1)

    def update(boxes):
        # The package gives back the detections that have a number; the class carries their place in the list.
        found = supervision.Detections(xyxy=boxes[:, :4], confidence=boxes[:, 4], class_id=np.arange(len(boxes)))
        numbers = [None] * len(boxes)
        tracked = tracker.update_with_detections(found)
        if tracked.tracker_id is not None:
            for place, number in zip(tracked.class_id, tracked.tracker_id):
                numbers[place] = int(number)
        return numbers

    return update


def module(name, **content):
    made = types.ModuleType(name)
    made.__dict__.update(content)
    sys.modules[name] = made
    return made


def bbox_overlaps(ours, theirs):
    """What the package cython_bbox computes: pixels are counted, both ends included."""
    a, b = ours[:, None, :], theirs[None, :, :]
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + 1
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + 1
    common = np.where((width > 0) & (height > 0), width * height, 0.0)

    def area(x):
        return (x[..., 2] - x[..., 0] + 1) * (x[..., 3] - x[..., 1] + 1)

    return common / (area(a) + area(b) - common)


def load_original(folder):
    """Makes `yolox.tracker` importable without what it imports and does not need."""
    for name, kind in (("float", float), ("int", int)):
        if name not in np.__dict__:
            setattr(np, name, kind)
    nn = module("torch.nn")
    nn.__path__ = []
    nn.functional = module("torch.nn.functional")
    module("torch", nn=nn).__path__ = []
    module("cv2")
    module("cython_bbox", bbox_overlaps=bbox_overlaps)
    module("yolox").__path__ = []
    inner = folder / "yolox" / "tracker"
    module("yolox.tracker").__path__ = [str(inner if inner.is_dir() else folder)]
    from yolox.tracker import byte_tracker

    class Remembering(byte_tracker.STrack):
        """Knows which detection it was given last."""

        def __init__(self, tlwh, score):
            super().__init__(tlwh, score)
            self.given = tuple(self._tlwh)

        def update(self, new_track, frame_id):
            super().update(new_track, frame_id)
            self.given = new_track.given

        def re_activate(self, new_track, frame_id, new_id=False):
            super().re_activate(new_track, frame_id, new_id)
            self.given = new_track.given

    byte_tracker.STrack = Remembering


def original():
    """A tracker of the original repository: boxes to the number of each."""
    from yolox.tracker.basetrack import BaseTrack
    from yolox.tracker.byte_tracker import BYTETracker

    BaseTrack._count = 0
    tracker = BYTETracker(types.SimpleNamespace(track_thresh=0.5, track_buffer=30, match_thresh=0.8, mot20=False), 30)

    def update(boxes):
        tracks = tracker.update(boxes[:, :5], (1, 1), (1, 1))
        given = {track.given: track.track_id for track in tracks}
        widths = boxes[:, :4].copy()
        widths[:, 2:] -= widths[:, :2]
        return [given.get(tuple(row)) for row in widths]

    return update


def count(path, make):
    """Runs a tracker over a file of scenes."""
    score = {"switches": 0, "followed": 0, "boxes": 0}
    scene, update, last = None, None, {}
    for line in path.read_text().splitlines():
        frame = json.loads(line)
        if frame["scene"] != scene:
            scene, update, last = frame["scene"], make(), {}
        boxes = np.array([[*edges, confidence] for edges, confidence, _, _ in frame["boxes"]], float).reshape(-1, 5)
        for (_, _, _, truth), number in zip(frame["boxes"], update(boxes)):
            if truth is None:
                continue
            score["boxes"] += 1
            if number is None:
                continue
            score["followed"] += 1
            score["switches"] += last.get(truth, number) != number
            last[truth] = number
    return score


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=pathlib.Path)
    parser.add_argument("golden", type=pathlib.Path)
    parser.add_argument("--original", type=pathlib.Path, help="a checkout of ifzhang/ByteTrack")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    golden = json.loads(arguments.golden.read_text()) if arguments.golden.exists() else {"peers": {}}
    golden["command"] = "make tracks BYTETRACK=a checkout of ifzhang/ByteTrack"
    makers = {"supervision": packaged}
    if arguments.original:
        load_original(arguments.original)
        makers["original"] = original
    for name, make in makers.items():
        scores = {path.stem: count(path, make) for path in sorted(arguments.scenes.glob("*.jsonl"))}
        golden["peers"][name] = scores
        for kind, score in scores.items():
            print(name, kind, score)
    arguments.golden.write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
