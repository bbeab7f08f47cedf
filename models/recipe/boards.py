"""Training pictures: square cutouts of boards, turned, mirrored, scaled and spoiled at random.

Boards are grey pictures with YOLO labels (folders `images` and `labels`). All are held in memory as bytes.
"""

import pathlib
from dataclasses import dataclass

import cv2
import numpy

# Of a defect that is cut by the edge of a cutout: kept with so much of its area inside, else neither looked for nor punished.
VISIBLE_MIN = 0.45


@dataclass
class Board:
    """A picture (H x W, bytes) and its defects: rows of class, x1, y1, x2, y2 in pixels."""

    picture: numpy.ndarray
    defects: numpy.ndarray


def read(folder: pathlib.Path) -> list[Board]:
    """The boards of a YOLO dataset's folder."""
    paths = sorted(path for path in (folder / "images").iterdir() if path.suffix in {".jpg", ".png"})
    if not paths:
        raise SystemExit(f"no pictures in {folder / 'images'}")
    return [board(path, folder / "labels" / f"{path.stem}.txt") for path in paths]


def board(image: pathlib.Path, labels: pathlib.Path) -> Board:
    picture = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SystemExit(f"{image} is no picture")
    height, width = picture.shape
    text = labels.read_text() if labels.exists() else ""
    rows = numpy.array([line.split() for line in text.splitlines() if line.strip()], numpy.float32).reshape(-1, 5)
    kinds, centres, sizes = rows[:, :1], rows[:, 1:3], rows[:, 3:5]
    scale = numpy.float32([width, height])
    return Board(picture, numpy.hstack([kinds, (centres - sizes / 2) * scale, (centres + sizes / 2) * scale]))


class Cutouts:
    """Draws cutouts of `side` pixels from boards of several datasets, each dataset with its share."""

    def __init__(self, datasets: list[list[Board]], shares: list[float], side: int, seed: int):
        self.datasets, self.side = datasets, side
        self.shares = numpy.array(shares) / sum(shares)
        self.random = numpy.random.default_rng(seed)

    def batch(self, count: int) -> tuple[numpy.ndarray, list[numpy.ndarray]]:
        """Pictures, count x side x side bytes, and their defects, each with a sixth number: 1 where it counts, else 0."""
        drawn = [self.draw() for _ in range(count)]
        return numpy.stack([picture for picture, _ in drawn]), [defects for _, defects in drawn]

    def draw(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        boards = self.datasets[self.random.choice(len(self.datasets), p=self.shares)]
        source = boards[self.random.integers(len(boards))]
        scale = self.random.uniform(0.7, 1.4) if self.random.random() < 0.6 else 1.0
        taken = min(round(self.side / scale), *source.picture.shape)
        left, top = self.corner(source, taken)
        picture = source.picture[top : top + taken, left : left + taken]
        if taken != self.side:
            picture = cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        boxes = (source.defects[:, 1:] - numpy.float32([left, top, left, top])) * (self.side / taken)
        picture, boxes = turned(picture, boxes, self.random.integers(8))
        inside = boxes.clip(0, self.side)
        visible = area(inside) / area(boxes).clip(1e-6)
        counts = (visible >= VISIBLE_MIN).astype(numpy.float32)
        defects = numpy.hstack([source.defects[:, :1], inside, counts[:, None]])[visible > 0.05]
        return self.spoiled(picture), defects

    def corner(self, source: Board, taken: int) -> tuple[int, int]:
        """Where to cut: half of the time around a defect, so that few cutouts are empty."""
        height, width = source.picture.shape
        limits = numpy.array([width - taken, height - taken])
        if len(source.defects) and self.random.random() < 0.5:
            _, x1, y1, x2, y2 = source.defects[self.random.integers(len(source.defects))]
            shift = self.random.uniform(0.15, 0.85, 2) * taken
            corner = numpy.array([(x1 + x2) / 2, (y1 + y2) / 2]) - shift
            return tuple(corner.astype(int).clip(0, limits))
        return tuple(self.random.integers(limits + 1))

    def spoiled(self, picture: numpy.ndarray) -> numpy.ndarray:
        """What etching, cameras and lamps do: wider or thinner copper, blur, another contrast and brightness, noise; each in
        some of the pictures."""
        if self.random.random() < 0.35:
            shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(self.random.integers(2, 4)),) * 2)
            picture = (cv2.erode if self.random.random() < 0.5 else cv2.dilate)(picture, shape)
        if self.random.random() < 0.2:
            picture = cv2.GaussianBlur(picture, (0, 0), self.random.uniform(0.4, 1.2))
        light = self.random.random() < 0.3
        noise = self.random.random() < 0.2
        if not (light or noise):
            return picture
        numbers = picture.astype(numpy.float32)
        if light:
            numbers = numbers * self.random.uniform(0.7, 1.0) + self.random.uniform(0, 40)
        if noise:
            numbers += self.random.normal(0, self.random.uniform(2, 12), numbers.shape).astype(numpy.float32)
        return numbers.clip(0, 255).astype(numpy.uint8)


def area(boxes: numpy.ndarray) -> numpy.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def turned(picture: numpy.ndarray, boxes: numpy.ndarray, way: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """One of the eight ways to lay down a square; boxes are x1, y1, x2, y2."""
    side = picture.shape[0]
    if way & 1:
        picture, boxes = picture[:, ::-1], boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [side, 0, side, 0]
    if way & 2:
        picture, boxes = picture[::-1], boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, side, 0, side]
    if way & 4:
        picture, boxes = picture.T, boxes[:, [1, 0, 3, 2]]
    return numpy.ascontiguousarray(picture), boxes.astype(numpy.float32)
