"""The decoders on one encoder: the same encoder in all, their table and their picture."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reporting.example_runs import run_of

from experiments.decoders import DECODERS, plan
from experiments.tables.decoders import decoders_table, painted, side_by_side
from vocjax.errors import UserError
from vocjax.models import build
from vocjax.runner import checked

NAMES = [name for name, *_ in DECODERS]
SCORES = {"hard_dice_per_image_full_size": 0.5, "iou_of_set_full_size": 0.25}


def test_all_decoders_have_the_same_encoder_down_to_a_stride_of_32():
    found = {}
    for experiment in plan(argparse.Namespace(dataset="toy", data_dir="data")):
        config = checked(experiment)
        model = build.segmenter(config, 1)
        image = jnp.zeros((1, 96, 96, 3))
        variables = jax.eval_shape(model.init, jax.random.key(0), image)
        found[config.name] = model.encoder, variables["params"]["encoder"]
    assert list(found) == NAMES
    strides = [max(encoder.strides.values()) for encoder, _ in found.values()]
    assert strides == [32, 32, 32, 32, 8]
    made = [
        (encoder.filters, encoder.stem, encoder.style._replace(upsample=""))
        for encoder, _ in found.values()
    ]
    shapes = [jax.tree.map(jnp.shape, params) for _, params in found.values()]
    assert made == made[:1] * len(made)
    assert shapes == shapes[:1] * len(shapes)


def kept_runs(without=()):
    """A run of each decoder, of two images; only the second shows an object, in its first row."""
    mask = np.zeros((2, 4, 4), np.uint8)
    mask[1, 0] = 1
    probability = np.full((2, 4, 4), 0.4, np.float16)
    probability[1, :2] = 0.6
    samples = {"image": np.full((2, 4, 4, 3), 0.5), "mask": mask, "probability": probability}
    runs = {}
    for i, name in enumerate(NAMES):
        results = {
            "threshold": 0.5 if i else 0.3,
            "train": SCORES,
            "val": SCORES,
            "baselines": {"all foreground": {"val": {"iou_of_set_full_size": 0.125}}},
        }
        if name not in without:
            runs[name] = run_of("segmentation", name, results, samples)
            runs[name].provenance["parameters"] = 1000 + i
    return runs


def test_a_mask_is_what_exceeds_the_threshold_of_its_run():
    columns = painted(kept_runs())
    assert list(columns) == ["image", "truth", *NAMES]
    covered = {name: (column != columns["image"]).any(axis=-1) for name, column in columns.items()}
    assert {len(of) for of in covered.values()} == {1}  # without the image that shows no object
    assert covered["truth"][0].sum(axis=1).tolist() == [4, 0, 0, 0]
    assert covered[NAMES[0]].all()
    assert covered[NAMES[1]][0].sum(axis=1).tolist() == [4, 4, 0, 0]
    figure = side_by_side([list(kept_runs().values())] * 2)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(columns)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "no folder of runs is named"),
        ([list(kept_runs(("U-Net",)).values())], "no finished run of U-Net; .*decoders.py"),
    ],
)
def test_a_picture_without_its_runs_is_refused(groups, message):
    with pytest.raises(UserError, match=message):
        side_by_side(groups)


def test_a_table_of_decoders_has_a_row_for_each_and_one_for_a_constant():
    one, none = list(kept_runs().values()), list(kept_runs(("DeepLab",)).values())
    header, _, *rows = decoders_table({"toy": one, "real": none}).splitlines()
    assert header.split(" | ")[2:4] == ["toy: hard Dice", "toy: IoU of set"]
    assert rows[0] == "| FCN-32s | 1,000 | 0.500 | 0.250 |  | 0.500 | 0.250 |  |"
    assert rows[4] == "| DeepLab | 1,004 | 0.500 | 0.250 |  |  |  |  |"
    assert rows[5] == "| all foreground |  |  | 0.125 |  |  | 0.125 |  |"
