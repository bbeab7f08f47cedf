"""Pictures as the models want them: what the programs in this folder share.

Models with Ultralytics' metadata get red, green, blue in 0..1, the picture in the centre; others (YOLOX) blue, green, red
in 0..255, the picture at the top left. Both are padded with grey 114.
"""

import cv2
import numpy


def is_ultralytics(session):
    """Whether Ultralytics exported the model of an onnxruntime session."""
    return "names" in session.get_modelmeta().custom_metadata_map


def letterbox(image, height, width, centred):
    """The image scaled to fit (bilinear) and padded with grey 114, and nothing else: in the centre as Ultralytics documents
    it, or at the top left as YOLOX does, which rounds the size down.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    whole = round if centred else int
    new_width, new_height = (max(1, whole(side * scale)) for side in (image.shape[1], image.shape[0]))
    if (new_height, new_width) != image.shape[:2]:
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    left = (width - new_width) / 2 if centred else 0
    top = (height - new_height) / 2 if centred else 0
    out = numpy.full((height, width, 3), 114, numpy.uint8)
    y, x = round(top - 0.1), round(left - 0.1)
    y, x = max(y, 0), max(x, 0)
    out[y : y + new_height, x : x + new_width] = image
    return out


def planes(picture, ultralytics):
    """The tensor, 1 × 3 × height × width, of a picture that has the model's size."""
    ordered = picture[:, :, ::-1] if ultralytics else picture
    tensor = numpy.ascontiguousarray(ordered.transpose(2, 0, 1)[None]).astype(numpy.float32)
    return tensor / 255 if ultralytics else tensor


def read(path):
    """An image file as OpenCV reads it: height × width × blue, green, red."""
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path} is no image that OpenCV can read")
    return image


def variants(images, count, seed):
    """So many pictures made of the images in turn: cut out, mirrored, brighter or darker, the same for the same seed.

    A cutout keeps 60 to 100 % of each side; every other is mirrored on average; brightness changes by up to 30 %.
    """
    random = numpy.random.default_rng(seed)
    for index in range(count):
        image = images[index % len(images)]
        sides = [max(1, round(side * random.uniform(0.6, 1.0))) for side in image.shape[:2]]
        y, x = (random.integers(0, whole - part + 1) for whole, part in zip(image.shape[:2], sides))
        cut = image[y : y + sides[0], x : x + sides[1]]
        if random.random() < 0.5:
            cut = cut[:, ::-1]
        yield numpy.clip(cut * random.uniform(0.7, 1.3), 0, 255).astype(numpy.uint8)
