"""Real VOC images, where a copy is at hand: their counts, and what PCA makes of them."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA, IncrementalPCA

from vocjax.data import voc
from vocjax.data.index import counts
from vocjax.data.pipeline import resize_image
from vocjax.data.splits import select
from vocjax.models import dct, pca

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


@pytest.fixture(scope="module")
def crops(objects_dir: Path) -> list[np.ndarray]:
    """Train [428, 64, 64, 3] and validation [426, 64, 64, 3], float32 in [0, 1]."""
    prepared = voc.load("voc2009", objects_dir)
    rows = [select(prepared.index, "Main", s, ("aeroplane", "dog")) for s in ("train", "val")]
    return [
        np.stack([resize_image(prepared.examples[int(i)]["image"], 64, 3) for i in of_split])
        / np.float32(255)
        for of_split in rows
    ]


@pytest.fixture(scope="module")
def points(crops) -> list[np.ndarray]:
    return [images.reshape(len(images), -1) for images in crops]


def errors(model, state, splits) -> list[float]:
    """Mean squared reconstruction errors of the splits."""
    return [float(((model.decode(state, model.encode(state, x)) - x) ** 2).mean()) for x in splits]


def peer_errors(peer, splits) -> list[float]:
    return [((peer.inverse_transform(peer.transform(x)) - x) ** 2).mean() for x in splits]


def test_pca_of_the_object_crops(points):
    """Figures measured on these crops by others: mean image .0656, PCA 256 .0017 and .0105."""
    train, val = points
    assert ((val - train.mean(axis=0)) ** 2).mean() == pytest.approx(0.0656, abs=5e-5)
    state = pca.fit(train, 256)
    assert errors(pca, state, points) == pytest.approx([0.0017, 0.0105], abs=5e-5)
    peer = PCA(256, svd_solver="full").fit(train.astype(np.float64))
    np.testing.assert_allclose(state.variance, peer.explained_variance_, rtol=1e-5)
    ratio = pca.explained_variance_ratio(state)
    np.testing.assert_allclose(ratio, peer.explained_variance_ratio_, rtol=1e-5)
    cosines = np.sum(state.components * peer.components_, axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)


def test_streamed_pca_of_the_object_crops_errs_as_scikit_learns(points):
    train = points[0]
    batches = [train[i : i + 128] for i in range(0, len(train), 128)]
    peer = IncrementalPCA(64)
    for batch in batches:
        peer.partial_fit(batch.astype(np.float64))
    streamed = pca.fit_stream(batches, 64)
    assert errors(pca, streamed, points) == pytest.approx(peer_errors(peer, points), rel=1e-5)


def test_256_cosine_coefficients_of_the_object_crops(crops):
    """The figure measured on these crops by others is .0067 on validation."""
    state = dct.fit(crops[0], 256)
    assert errors(dct, state, crops) == pytest.approx([0.0070, 0.0067], abs=5e-5)
