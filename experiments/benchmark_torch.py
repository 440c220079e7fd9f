"""PyTorch's part of the benchmark: losses, steps and epochs as its users write them.

Images are [n, channels, height, width].
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

# Relative: the wheel has this folder as vocjax.experiments.
from .benchmark_rows import PIXEL_LOSSES, batch_of, epoch_of, joined
from .benchmark_torch_networks import network

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def soft_dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """Soft Dice over the batch."""
    p = torch.sigmoid(logits)
    return 1 - 2 * (p * wanted).sum() / (p.sum() + wanted.sum())


def cross_entropy_and_dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of pixels, and soft Dice over the batch, mean of the classes that occur."""
    truth, p = functional.one_hot(wanted, logits.shape[1]).movedim(-1, 1), logits.softmax(1)
    both, truth, p = (x.sum((0, 2, 3)) for x in (p * truth, truth, p))
    occurs = truth > 0
    dice = ((1 - 2 * both / (p + truth)) * occurs).sum() / occurs.sum()
    return functional.cross_entropy(logits, wanted) + dice


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda logits, wanted: functional.mse_loss(torch.sigmoid(logits), wanted),
    "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    "softmax_cross_entropy": functional.cross_entropy,
    "soft_dice": soft_dice,
    "cross_entropy + soft_dice": cross_entropy_and_dice,
}


def pixels_of(images: np.ndarray) -> Tensor:
    """[n, height, width, channels] uint8 to [n, channels, height, width] in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255


def wanted_of(spec: dict[str, Any], images: Tensor, wanted: np.ndarray) -> Tensor:
    """Return what the loss of a row compares the logits with."""
    if spec["loss"] == "mse":
        return images
    if spec["loss"] in PIXEL_LOSSES:
        found = torch.from_numpy(wanted)
        return found[:, None].float() if spec["outputs"] == 1 else found.long()
    return functional.one_hot(torch.from_numpy(wanted).long(), spec["outputs"]).float()


class Contender:
    """As ours: `outputs` of images, and `step`, which returns the loss."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Make the network, its optimizer and the batch; compile where the framework says so."""
        torch.manual_seed(0)
        self.spec, self.model = spec, network(spec)
        if spec["frozen"]:
            self.model.encoder.requires_grad_(False)
        self._learn()
        self._inputs, self._wanted = self._tensors(*batch_of(spec))
        self._loss = LOSSES[spec["loss"]]
        make: dict[str, Any] = {
            "rmsprop": partial(torch.optim.RMSprop, alpha=0.9),
            "adam": torch.optim.Adam,
        }
        parameters = [x for x in self.model.parameters() if x.requires_grad]
        self._optimizer = make[spec["optimizer"]](parameters, lr=spec["learning_rate"], eps=1e-7)
        compiled = torch.compile if spec["framework"] == "torch_compile" else lambda model: model
        self._apply = compiled(self.model)
        self._trained = compiled(self.model.head) if spec["codes"] else self._apply

    def _learn(self) -> None:
        """Set the training mode of what learns; what is frozen stays in evaluation."""
        self.model.train()
        if self.spec["frozen"]:
            self.model.encoder.eval()

    def _tensors(self, images: np.ndarray, wanted: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return what is trained on images, and what its loss compares the logits with."""
        pixels = pixels_of(images)
        inputs = self.model.encoder(pixels).detach() if self.spec["codes"] else pixels
        return inputs, wanted_of(self.spec, pixels, wanted)

    def step(self) -> float:
        """Take a step on the batch."""
        return self._step(self._inputs, self._wanted)

    def _step(self, inputs: Tensor, wanted: Tensor) -> float:
        self._optimizer.zero_grad()
        loss = self._loss(self._trained(inputs), wanted)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def epochs(self, times: int, ended: Callable[[], None]) -> None:
        """Train some epochs, each with val at its end; call `ended` after each."""
        size = self.spec["batch_size"]
        train, val = (TensorDataset(*self._tensors(*part)) for part in epoch_of(self.spec))
        for _ in range(times):
            for inputs, wanted in DataLoader(train, size, shuffle=True):
                self._step(inputs, wanted)
            self.model.eval()
            with torch.inference_mode():
                for inputs, wanted in DataLoader(val, size):
                    self._loss(self._trained(inputs), wanted).item()
            self._learn()
            ended()

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Begin with our arrays, by our paths."""
        own = self.model.state_dict()
        state = state_of(self.spec, arrays)
        counts = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
        found = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        if "decoder.score.weight" in found:  # a convolution of 1x1
            found["decoder.score.weight"] = found["decoder.score.weight"][..., None, None]
        self.model.load_state_dict(found | counts)
        self._inputs, self._wanted = self._tensors(*batch_of(self.spec))

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 to what ours says: [n, height, width, outputs] or [n, classes]."""
        self.model.eval()
        with torch.inference_mode():
            found = self._apply(pixels_of(images))
        self._learn()
        if self.spec["loss"] == "mse":
            found = torch.sigmoid(found)
        return (found.permute(0, 2, 3, 1) if found.ndim == 4 else found).numpy()


def state_of(spec: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return our arrays under the names of a row's network, in PyTorch's layout."""
    if spec["network"] == "unet":
        ours = {path: array for path, array in arrays.items() if path.startswith("encoder/")}
        others = joined({path: arrays[path] for path in arrays if path not in ours})
        found = published(spec["backbone"], ours)
        state = {f"encoder.{name}": array for name, array in found.items()}
        return state | dict(renamed(path, array) for path, array in others.items())
    if spec["backbone"]:
        return published(spec["backbone"], arrays)
    return dict(renamed(path, array) for path, array in arrays.items())


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
