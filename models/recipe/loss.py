"""What the network learns from: which cells answer for a defect, and how wrong their answers are.

Cells are assigned to defects by task alignment (Feng et al., TOOD: Task-aligned One-stage Object Detection, 2021): of the
cells inside a box those whose own prediction fits best, by score and overlap together. Boxes are compared by complete IoU
(Zheng et al., Enhancing Geometric Factors, 2020).
"""

import math

import torch
from torch.nn import functional

CANDIDATES = 10
SCORE_POWER, OVERLAP_POWER = 0.5, 4.0
BOX_WEIGHT, CLASS_WEIGHT = 5.0, 1.0


def loss(raw: torch.Tensor, centres: torch.Tensor, defects: list[torch.Tensor]) -> torch.Tensor:
    """The loss of a batch.

    `raw`: N x (4 + classes) x cells, as the network gives it; `centres`: cells x 2; `defects` of each picture: rows of class,
    x1, y1, x2, y2 in cells, and 1 where it counts, 0 where the network may say what it likes.
    """
    distances, logits = raw[:, :4].transpose(1, 2), raw[:, 4:].transpose(1, 2)
    boxes = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1)
    targets = torch.zeros_like(logits)
    weights = torch.ones(logits.shape[:2], device=raw.device)
    matched, wanted, shares = [], [], []
    for index, rows in enumerate(defects):
        ignored, real = rows[rows[:, 5] == 0], rows[rows[:, 5] == 1]
        weights[index][inside(centres, ignored[:, 1:5]).any(1)] = 0.0
        if not len(real):
            continue
        cells, owners, share = assign(boxes[index].detach(), logits[index].detach(), centres, real)
        targets[index, cells, real[owners, 0].long()] = share
        weights[index, cells] = 1.0
        matched.append(boxes[index, cells])
        wanted.append(real[owners, 1:5])
        shares.append(share)
    total = targets.sum().clamp(min=1.0)
    score_loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)
    result = CLASS_WEIGHT * (score_loss * weights).sum() / total
    if matched:
        share = torch.cat(shares)
        lost = 1.0 - complete_iou(torch.cat(matched), torch.cat(wanted))
        result = result + BOX_WEIGHT * (lost * share).sum() / total
    return result


def assign(boxes, logits, centres, real):
    """Cells that answer for a defect, the defect of each, and the score that each should give: the overlap it can reach."""
    overlap = complete_iou(boxes[:, None], real[None, :, 1:5]).clamp(min=0.0)
    score = logits.sigmoid()[:, real[:, 0].long()]
    allowed = inside(centres, real[:, 1:5])
    alignment = (score**SCORE_POWER * overlap**OVERLAP_POWER + 1e-9) * allowed
    best = alignment.topk(min(CANDIDATES, len(centres)), dim=0)
    chosen = torch.zeros_like(alignment).scatter_(0, best.indices, 1.0) * allowed
    # A cell answers for one defect only: the one that it overlaps most.
    rank = torch.where(chosen > 0, overlap + 1e-9, torch.zeros_like(overlap))
    owner = rank.argmax(1)
    cells = (rank.max(1).values > 0).nonzero()[:, 0]
    owners = owner[cells]
    kept = torch.zeros_like(alignment)
    kept[cells, owners] = alignment[cells, owners]
    reachable = (overlap * (kept > 0)).max(0).values
    share = kept[cells, owners] / kept.max(0).values.clamp(min=1e-9)[owners] * reachable[owners]
    return cells, owners, share


def inside(centres: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Which cells' centres lie in which boxes: cells x boxes."""
    x, y = centres[:, None, 0], centres[:, None, 1]
    return (x > boxes[:, 0]) & (y > boxes[:, 1]) & (x < boxes[:, 2]) & (y < boxes[:, 3])


def complete_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Complete IoU of boxes x1, y1, x2, y2: overlap, less the distance of the centres and the difference of the shapes."""
    width_a, height_a = a[..., 2] - a[..., 0], a[..., 3] - a[..., 1]
    width_b, height_b = b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]
    common_x = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    common_y = (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(min=0)
    common = common_x * common_y
    iou = common / (width_a * height_a + width_b * height_b - common + 1e-7)
    hull_x = torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])
    hull_y = torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])
    apart = (a[..., 0] + a[..., 2] - b[..., 0] - b[..., 2]) ** 2 + (a[..., 1] + a[..., 3] - b[..., 1] - b[..., 3]) ** 2
    shape = 4 / math.pi**2 * (torch.atan(width_a / (height_a + 1e-7)) - torch.atan(width_b / (height_b + 1e-7))) ** 2
    with torch.no_grad():
        weight = shape / (1 - iou + shape + 1e-7)
    return iou - apart / 4 / (hull_x**2 + hull_y**2 + 1e-7) - weight * shape
