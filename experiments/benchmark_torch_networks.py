"""The networks of PyTorch's part of the benchmark: the study's, torchvision's, U-Net on those.

Modules have the names of our parameters' paths. Images are [n, channels, height, width].
"""

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.feature_extraction import create_feature_extractor

# The deepest map of each stride of torchvision's backbones, and its channels, shallow to deep.
MAPS = {
    "resnet18": {"relu": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512},
    "mobilenet_v2": {
        f"features.{i}": channels
        for i, channels in ((1, 16), (3, 24), (6, 32), (13, 96), (18, 1280))
    },
}


class ConvBlock(nn.Module):
    """Convolution, ReLU, batch norm and dropout, of an image that is doubled first, or is not."""

    def __init__(self, channels: int, features: int, doubles: bool, spec: dict[str, Any]) -> None:
        super().__init__()
        self.Conv_0 = nn.Conv2d(channels, features, 3, padding=1)
        norm = nn.BatchNorm2d(features, eps=1e-3, momentum=0.01)
        self.BatchNorm_0 = norm if spec["norm"] else nn.Identity()
        self.dropout, self.doubles = nn.Dropout(spec["dropout"]), doubles

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to [n, features, h', w']."""
        x = functional.interpolate(x, scale_factor=2) if self.doubles else x
        return self.dropout(self.BatchNorm_0(functional.relu(self.Conv_0(x))))


class Encoder(nn.Module):
    """Blocks with a max-pool before each but the first."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        widths = (spec["image"][-1], *spec["encoder"])
        for i, features in enumerate(spec["encoder"]):
            self.add_module(f"ConvBlock_{i}", ConvBlock(widths[i], features, False, spec))

    def forward(self, x: Tensor) -> Tensor:
        """Images to codes [n, features, h, w]."""
        for i, block in enumerate(self.children()):
            x = block(functional.max_pool2d(x, 2) if i else x)
        return x


class Decoder(nn.Module):
    """Blocks that double the image, but for the first, and a convolution that does."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        widths = (spec["encoder"][-1], *spec["decoder"])
        for i, features in enumerate(spec["decoder"]):
            self.add_module(f"ConvBlock_{i}", ConvBlock(widths[i], features, i > 0, spec))
        self.Conv_0 = nn.Conv2d(widths[-1], spec["outputs"], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Codes to logits [n, outputs, height, width]."""
        *blocks, last = self.children()
        for block in blocks:
            x = block(x)
        return last(functional.interpolate(x, scale_factor=2))


class Head(nn.Module):
    """A linear layer on the numbers of a code, in the order of ours."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        places = (spec["image"][0] // 2 ** (len(spec["encoder"]) - 1)) ** 2
        self.Dense_0 = nn.Linear(places * spec["encoder"][-1], spec["outputs"])

    def forward(self, code: Tensor) -> Tensor:
        """Codes to logits [n, classes]."""
        return self.Dense_0(code.permute(0, 2, 3, 1).flatten(1))


class Study(nn.Module):
    """The study's encoder, and its mirror or a head."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(spec)
        if spec["decoder"]:
            self.decoder = Decoder(spec)
        else:
            self.head = Head(spec)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] to logits."""
        return (self.decoder if hasattr(self, "decoder") else self.head)(self.encoder(images))


class SkipBlock(nn.Module):
    """A doubled map and a skip, joined; convolution, ReLU and batch norm."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, features, 3, padding=1)
        self.BatchNorm_0 = nn.BatchNorm2d(features, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[n, channels, h, w] and [n, channels', 2 h, 2 w] to [n, features, 2 h, 2 w]."""
        x = torch.cat([functional.interpolate(x, scale_factor=2), skip], dim=1)
        return self.BatchNorm_0(functional.relu(self.conv(x)))


class UNetDecoder(nn.Module):
    """U-Net's decoder of maps of so many `channels`, shallow to deep."""

    def __init__(self, channels: Sequence[int], spec: dict[str, Any]) -> None:
        super().__init__()
        *skips, x = channels
        for i, (features, skip) in enumerate(zip(spec["decoder"], reversed(skips), strict=True)):
            self.add_module(f"SkipBlock_{i}", SkipBlock(x + skip, features))
            x = features
        self.score = nn.Conv2d(x, spec["outputs"], 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, shallow to deep, to logits [n, outputs, height, width]."""
        *blocks, score = self.children()
        *skips, x = maps
        for block, skip in zip(blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return functional.interpolate(score(x), scale_factor=2, mode="bilinear")


class UNet(nn.Module):
    """U-Net's decoder on a backbone of torchvision."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        maps = MAPS[spec["backbone"]]
        backbone = getattr(torchvision.models, spec["backbone"])()
        self.encoder = create_feature_extractor(backbone, list(maps))
        self.decoder = UNetDecoder(list(maps.values()), spec)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] to logits."""
        return self.decoder(list(self.encoder(images).values()))


def network(spec: dict[str, Any]) -> nn.Module:
    """Return a row's network, freshly drawn."""
    if not spec["backbone"]:
        return Study(spec)
    if spec["network"] == "unet":
        return UNet(spec)
    model = getattr(torchvision.models, spec["backbone"])(num_classes=spec["outputs"])
    if spec["backbone"] == "mobilenet_v2":
        model.classifier[0] = nn.Identity()  # its dropout, which our head has not
    return model
