"""The network: plain 3x3 convolutions and ReLU, with one anchor-free head at stride 8.

That is what integer kernels run fastest and what loses least when it is quantized. Defects on a bare board are 20 to 170
pixels wide, most of them near 35, so one head on features of stride 8 that see their surroundings through a detour over
strides 16 and 32 takes the place of a pyramid of heads. Widths are multiples of 16, as kernels like them.
"""

import torch
from torch import nn

STRIDE = 8


class ConvUnit(nn.Sequential):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions, with `inner` channels between them, beside a shortcut."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.body = nn.Sequential(ConvUnit(channels, inner), ConvUnit(inner, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Network(nn.Module):
    """Pictures to raw predictions.

    Takes N x 3 x H x W in 0..1, H and W multiples of 32; gives N x (4 + classes) x H/8 x W/8: the distances from a cell's
    centre to the left, top, right and bottom of a box, in cells, then a logit for each class.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.at4 = nn.Sequential(ConvUnit(3, 16, stride=2), ConvUnit(16, 32, stride=2))
        self.at8 = nn.Sequential(ConvUnit(32, 48, stride=2), Residual(48, 32), Residual(48, 32))
        self.at16 = nn.Sequential(ConvUnit(48, 64, stride=2), Residual(64, 48), Residual(64, 48))
        self.at32 = nn.Sequential(ConvUnit(64, 96, stride=2), Residual(96, 48), ConvUnit(96, 64, kernel=1))
        self.up16 = nn.Sequential(ConvUnit(128, 64, kernel=1), Residual(64, 48), ConvUnit(64, 48, kernel=1))
        self.up8 = nn.Sequential(ConvUnit(96, 48, kernel=1), Residual(48, 32))
        self.boxes = nn.Sequential(ConvUnit(48, 32), nn.Conv2d(32, 4, 1))
        self.classes = nn.Sequential(ConvUnit(48, 48), nn.Conv2d(48, classes, 1))
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        nn.init.constant_(self.boxes[-1].bias, 2.0)
        nn.init.constant_(self.classes[-1].bias, -5.0)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        at8 = self.at8(self.at4(pictures))
        at16 = self.at16(at8)
        up16 = self.up16(torch.cat([self.upsample(self.at32(at16)), at16], 1))
        up8 = self.up8(torch.cat([self.upsample(up16), at8], 1))
        return torch.cat([self.boxes(up8), self.classes(up8)], 1)


class WithBoxes(nn.Module):
    """The network as it is exported, for one square picture: boxes in pixels and scores, 1 x (4 + classes) x cells.

    The first four numbers of a cell are the box's centre and size (x, y, width, height), the rest are scores in 0..1.
    """

    def __init__(self, network: Network, side: int):
        super().__init__()
        self.network = network
        self.cells = (side // STRIDE) ** 2
        self.register_buffer("centres", cell_centres(side // STRIDE).t()[None])

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        raw = self.network(pictures).reshape(1, -1, self.cells)
        first, last = self.centres - raw[:, :2], self.centres + raw[:, 2:4]
        return torch.cat([(first + last) * (STRIDE / 2), (last - first) * STRIDE, raw[:, 4:].sigmoid()], 1)


def cell_centres(cells: int) -> torch.Tensor:
    """The centres (x, y) of the cells of a square grid, row by row, in cells: cells^2 x 2."""
    along = torch.arange(cells, dtype=torch.float32) + 0.5
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)
