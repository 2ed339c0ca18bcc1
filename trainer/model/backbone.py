"""The image backbone: a residual network with frozen batch norm.

Parts have the names of torchvision's and DETR's checkpoints (``conv1``, ``bn1``, ``downsample.0``); only the prefix
differs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.config import BackboneConfig


class FrozenBatchNorm(nn.Module):
    """Batch norm with fixed statistics and weights, because batches are too small to estimate them (DETR)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def apply_after(self, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        """Return the normalized output of a convolution without bias.

        The norm is folded into the convolution, in training, too: one pass over the features instead of three. The
        gradient of the convolution's weight flows through the product with the scale, which autocast leaves in float32.
        Products round in another order than published: in float32, features differ by about 1e-6 of their size.
        """
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        weight = convolution.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, convolution.stride, convolution.padding)


def _make_convolution(width_in: int, width_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, size, stride=stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Residual block; a projection matches the input if the shape changes."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.ModuleList | None = None
        if stride != 1 or width_in != width_out:
            self.downsample = nn.ModuleList(
                [_make_convolution(width_in, width_out, 1, stride), FrozenBatchNorm(width_out)]
            )

    def compute_residual(self, x: Tensor) -> Tensor:
        """Return the residual, which is added to the input."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the input (batch, width, height, width), and rectify."""
        shortcut = x
        if self.downsample is not None:
            convolution, norm = self.downsample
            shortcut = norm.apply_after(convolution, x)  # type: ignore[operator]
        return self.compute_residual(x).add_(shortcut).relu_()


class BasicBlock(Block):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__(width_in, width_out, stride)
        self.conv1, self.bn1 = _make_convolution(width_in, width_out, 3, stride), FrozenBatchNorm(width_out)
        self.conv2, self.bn2 = _make_convolution(width_out, width_out, 3), FrozenBatchNorm(width_out)

    def compute_residual(self, x: Tensor) -> Tensor:
        x = self.bn1.apply_after(self.conv1, x).relu_()
        return self.bn2.apply_after(self.conv2, x)


class BottleneckBlock(Block):
    """Residual block of 1x1, 3x3 and 1x1 convolutions; the first two are a quarter as wide, the 3x3 has the stride."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__(width_in, width_out, stride)
        narrow = width_out // 4
        self.conv1, self.bn1 = _make_convolution(width_in, narrow, 1), FrozenBatchNorm(narrow)
        self.conv2, self.bn2 = _make_convolution(narrow, narrow, 3, stride), FrozenBatchNorm(narrow)
        self.conv3, self.bn3 = _make_convolution(narrow, width_out, 1), FrozenBatchNorm(width_out)

    def compute_residual(self, x: Tensor) -> Tensor:
        x = self.bn1.apply_after(self.conv1, x).relu_()
        x = self.bn2.apply_after(self.conv2, x).relu_()
        return self.bn3.apply_after(self.conv3, x)


class ResNet(nn.Module):
    """Residual network without its classifier (He et al., CVPR 2016)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.width = config.widths[-1]
        """Number of channels of the features."""

        block = BasicBlock if config.block == "basic" else BottleneckBlock
        self.conv1 = nn.Conv2d(3, config.stem_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(config.stem_width)
        stages: list[nn.Module] = []
        width_in = config.stem_width
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            strides = [1 if number == 0 else 2] + [1] * (depth - 1)
            blocks = [block(width_in if i == 0 else width, width, stride) for i, stride in enumerate(strides)]
            stages.append(nn.Sequential(*blocks))
            width_in = width
        self.stages = nn.ModuleList(stages)
        for part in [self.conv1, *stages][: config.num_frozen_stages]:
            part.requires_grad_(False)

    def compute_stem(self, images: Tensor) -> Tensor:
        """Compute features (batch, stem_width, height / 4, width / 4) from pixels (batch, 3, height, width)."""
        return F.max_pool2d(self.bn1.apply_after(self.conv1, images).relu_(), kernel_size=3, stride=2, padding=1)

    def forward(self, images: Tensor, gradient_checkpointing: bool = False) -> Tensor:
        """Encode pixels (batch, 3, height, width) to features (batch, widths[-1], height / stride, width / stride)."""
        x = self.compute_stem(images)
        for stage in self.stages:
            x = run_checkpointed(stage, x, gradient_checkpointing=gradient_checkpointing)
        return x
