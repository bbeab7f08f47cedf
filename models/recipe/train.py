#!/usr/bin/env python3
"""Trains the bundled model: a detector of the six DeepPCB defects.

    pip install torch numpy opencv-python-headless
    python models/recipe/train.py OUT.pt --data deeppcb/train:0.7 simulated:0.3 --minutes 60

Each DATA is a folder with `images` and `labels`, with its share of the cutouts. The learning rate follows the clock, so the
same command fits any machine: it warms up, then falls along half a cosine until the minutes are over. OUT.pt holds the
running mean of the weights, which is what gets exported. Runs on a GPU where there is one.
"""

import argparse
import math
import pathlib
import queue
import threading
import time

import boards
import loss as losses
import network
import torch

SIDE = 320
BATCH = 32
WARM_UP_STEPS = 200
WEIGHT_DECAY = 0.02
MEAN_OVER_STEPS = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--data", nargs="+", required=True, metavar="FOLDER:SHARE")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate")
    parser.add_argument("--last-rate", type=float, default=0.01, help="the last learning rate, as a part of the highest")
    parser.add_argument("--init", type=pathlib.Path, help="weights to begin with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    folders = [part.rpartition(":") for part in given.data]
    datasets = [boards.read(pathlib.Path(folder)) for folder, _, _ in folders]
    cutouts = boards.Cutouts(datasets, [float(share) for _, _, share in folders], SIDE, given.seed)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = network.Network(given.classes)
    if given.init:
        model.load_state_dict(torch.load(given.init, weights_only=True, map_location="cpu"))
    model = model.to(device, memory_format=torch.channels_last)
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=running_mean, use_buffers=True)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}])
    centres = network.cell_centres(SIDE // network.STRIDE).to(device)

    started, step, told, recent = time.monotonic(), 0, time.monotonic(), []
    for pictures, defects in prefetched(cutouts):
        done = (time.monotonic() - started) / (given.minutes * 60)
        if done >= 1:
            break
        falling = given.last_rate + (1 - given.last_rate) * (1 + math.cos(math.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = given.rate * falling * min(1.0, (step + 1) / WARM_UP_STEPS)
        pictures = pictures.to(device).float().div_(255)[:, None].expand(-1, 3, -1, -1)
        with torch.autocast(device.type, torch.bfloat16):
            raw = model(pictures.contiguous(memory_format=torch.channels_last))
        loss = losses.loss(raw.float().flatten(2), centres, [rows.to(device) for rows in defects])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        mean.update_parameters(model)
        step += 1
        recent.append(loss.item())
        if time.monotonic() - told >= 30:
            told = time.monotonic()
            print(f"{done:5.1%}  step {step}  loss {sum(recent) / len(recent):.4f}", flush=True)
            recent.clear()
            save(mean, given.out)
    save(mean, given.out)
    print(f"{step} steps of {BATCH} cutouts", flush=True)


def running_mean(means, values, taken):
    """Exponential, over fewer steps at the beginning. Counters are taken as they are."""
    keep = 1 - 1 / min(float(taken) + 1, MEAN_OVER_STEPS)
    for mean, value in zip(means, values):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)


def save(mean, path: pathlib.Path):
    partial = path.with_suffix(".partial")
    torch.save(mean.module.state_dict(), partial)
    partial.rename(path)


def prefetched(cutouts):
    """Batches that a thread draws ahead."""
    ahead = queue.Queue(maxsize=4)

    def draw():
        try:
            while True:
                pictures, defects = cutouts.batch(BATCH)
                rows = [torch.from_numpy(rows / [1, *[network.STRIDE] * 4, 1]).float() for rows in defects]
                ahead.put((torch.from_numpy(pictures), rows))
        except Exception as failure:
            ahead.put(failure)

    threading.Thread(target=draw, daemon=True).start()
    while True:
        drawn = ahead.get()
        if isinstance(drawn, Exception):
            raise drawn
        yield drawn


if __name__ == "__main__":
    main()
