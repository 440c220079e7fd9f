"""Real VOC images, where a copy is at hand: their counts, and what PCA makes of them."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.data import voc
from vocjax.data.index import counts
from vocjax.data.splits import select
from vocjax.devices import make_mesh
from vocjax.models import pca
from vocjax.training.setup import all_images, open_data

FOLDER = Path(os.environ.get("VOCJAX_DEVKITS", "nowhere"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not FOLDER.is_dir(),
        reason="set VOCJAX_DEVKITS to a folder that holds VOCdevkit/VOC2009 and "
        "VOCdevkit_objects/VOC2009, parts of VOC 2009 in a devkit's layout",
    ),
]


@pytest.fixture(scope="module")
def objects_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("objects")
    voc.prepare("voc2009", data_dir, devkit=FOLDER / "VOCdevkit_objects")
    return data_dir


def test_part_of_a_year_is_read_whole(tmp_path: Path):
    prepared = voc.prepare("voc2009", tmp_path, devkit=FOLDER / "VOCdevkit")
    assert prepared.partial
    assert counts(prepared.index) == ((895, 933), (411, 450))
    dogs = {
        split: len(select(prepared.index, "Main", split, ("dog",))) for split in ("train", "val")
    }
    cats = {
        split: len(select(prepared.index, "Main", split, ("cat",))) for split in ("train", "val")
    }
    assert dogs == {"train": 316, "val": 333} and cats == {"train": 266, "val": 277}


def test_object_crops_hold_the_two_classes(objects_dir: Path):
    index = voc.load("voc2009", objects_dir).index
    both = ("aeroplane", "dog")
    assert [len(select(index, "Main", split, both)) for split in ("train", "val")] == [428, 426]
    assert len(select(index, "Main", "train", ("dog",))) == 244
    assert len(select(index, "Main", "val", ("dog",))) == 240


def test_pca_of_the_object_crops(objects_dir: Path, tiny_config):
    """Figures measured on these crops by others: mean image .0656, PCA 256 .0017 and .0105."""
    config = tiny_config(
        "pca", **{"data.dataset": "voc2009", "data.data_dir": str(objects_dir), "data.size": 64}
    )
    mesh = make_mesh()
    data = open_data(config, voc.load("voc2009", objects_dir), mesh)
    train, val = (
        np.asarray(all_images(data.splits[split], 32, mesh)).reshape(data.counts[split], -1)
        for split in ("train", "val")
    )
    assert ((val - train.mean(axis=0)) ** 2).mean() == pytest.approx(0.0656, abs=5e-5)
    state = pca.fit(jnp.asarray(train), 256)
    errors = [
        ((pca.decode(state, pca.encode(state, jnp.asarray(x))) - x) ** 2).mean()
        for x in (train, val)
    ]
    assert errors == pytest.approx([0.0017, 0.0105], abs=5e-5)
