"""PyTorch's part of the benchmark: the study's networks as its users write them, and torchvision's.

Modules have the names of our parameters' paths. Images are [n, channels, height, width].
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from .benchmark_rows import batch_of  # relative: the wheel has this folder as vocjax.experiments

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


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


def network(spec: dict[str, Any]) -> nn.Module:
    """Return a row's network, freshly drawn."""
    if not spec["backbone"]:
        return Study(spec)
    model = getattr(torchvision.models, spec["backbone"])(num_classes=spec["outputs"])
    if spec["backbone"] == "mobilenet_v2":
        model.classifier[0] = nn.Identity()  # its dropout, which our head has not
    return model


def soft_dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """Soft Dice over the batch."""
    p = torch.sigmoid(logits)
    return 1 - 2 * (p * wanted).sum() / (p.sum() + wanted.sum())


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda logits, wanted: functional.mse_loss(torch.sigmoid(logits), wanted),
    "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    "softmax_cross_entropy": functional.cross_entropy,
    "soft_dice": soft_dice,
}


def pixels_of(images: np.ndarray) -> Tensor:
    """[n, height, width, channels] uint8 to [n, channels, height, width] in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255


def wanted_of(spec: dict[str, Any], images: Tensor, wanted: np.ndarray) -> Tensor:
    """Return what the loss of a row compares the logits with."""
    if spec["loss"] == "mse":
        return images
    if spec["loss"] == "soft_dice":
        return torch.from_numpy(wanted)[:, None].float()
    return functional.one_hot(torch.from_numpy(wanted).long(), spec["outputs"]).float()


class Contender:
    """As ours: `outputs` of images, and `step`, which returns the loss."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Make the network, its optimizer and the batch; compile where the framework says so."""
        torch.manual_seed(0)
        self.spec, self.model = spec, network(spec)
        images, wanted = batch_of(spec)
        self._images = pixels_of(images)
        self._wanted = wanted_of(spec, self._images, wanted)
        self._loss = LOSSES[spec["loss"]]
        make: dict[str, Any] = {
            "rmsprop": partial(torch.optim.RMSprop, alpha=0.9),
            "adam": torch.optim.Adam,
        }
        parameters, rate = self.model.parameters(), spec["learning_rate"]
        self._optimizer = make[spec["optimizer"]](parameters, lr=rate, eps=1e-7)
        compiled = spec["framework"] == "torch_compile"
        self._apply = torch.compile(self.model) if compiled else self.model

    def step(self) -> float:
        """Take a step on the batch."""
        self._optimizer.zero_grad()
        loss = self._loss(self._apply(self._images), self._wanted)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Begin with our arrays, by our paths."""
        if self.spec["backbone"]:
            state = published(self.spec["backbone"], arrays)
        else:
            state = dict(renamed(path, array) for path, array in arrays.items())
        own = self.model.state_dict()
        counts = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
        found = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        self.model.load_state_dict(found | counts)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 to what ours says: [n, height, width, outputs] or [n, classes]."""
        self.model.eval()
        with torch.inference_mode():
            found = self._apply(pixels_of(images))
        self.model.train()
        if self.spec["loss"] == "mse":
            found = torch.sigmoid(found)
        return (found.permute(0, 2, 3, 1) if found.ndim == 4 else found).numpy()


def renamed(path: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return PyTorch's name and layout of an array of the study's networks."""
    *modules, leaf = path.split("/")
    if leaf == "kernel":
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    return ".".join((*modules, LEAVES.get(leaf, leaf))), array


def published(backbone: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return our classifier's arrays under torchvision's names."""
    from vocjax.models.backbones import BACKBONES, SOURCES
    from vocjax.pretrained.matching import restore_names

    names = SOURCES[backbone]["torchvision"].key_map(BACKBONES[backbone]())
    ours = {"encoder/backbone": "backbone", "head/Dense_0": "head/dense"}
    own = {}
    for path, array in arrays.items():
        old = next(start for start in ours if path.startswith(start))
        own[ours[old] + path.removeprefix(old)] = array
    return restore_names(own, names)
