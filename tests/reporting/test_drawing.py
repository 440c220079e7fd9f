"""The drawings of networks: maps that are really there, and skips from where they really come."""

import re
from xml.etree import ElementTree

import jax
import pytest

from vocjax.config import load_config
from vocjax.models import build
from vocjax.reporting import drawing
from vocjax.reporting.shapes import maps_of

SMALL = {
    "pca": ["model.components=9"],
    "autoencoder_256": [],
    "classifier_joint": [],
    "classifier_lecture": [],
    "segmentation_unet": ["model.encoder=(4, 6, 8)", "model.decoder=(8, 6)"],
    "segmentation_fcn": [],
    "segmentation_deeplab": ["model.norm=batch", "model.dropout=0.5"],
}


def config_of(name):
    return load_config(name, [f"--config.{change}" for change in SMALL[name]])


def sizes(maps, part):
    return [
        found.size.replace("\N{MULTIPLICATION SIGN}", "x") for found in maps if found.part == part
    ]


@pytest.fixture(scope="module")
def maps():
    return {name: maps_of(config_of(name)) for name in SMALL}


def test_the_studys_autoencoder_has_the_maps_of_its_slides(maps):
    found = maps["autoencoder_256"]
    assert sizes(found, "image") == sizes(found, "output") == ["64x64x3"]
    assert sizes(found, "encoder") == ["64x64x256", "32x32x128", "16x16x64", "8x8x32"]
    assert sizes(found, "code") == ["4x4x16"]
    assert sizes(found, "decoder") == ["4x4x32", "8x8x64", "16x16x128", "32x32x256"]
    assert not any(m.skip for m in found)


def test_a_head_follows_the_code_and_a_joint_network_has_both(maps):
    lecture = maps["classifier_lecture"]
    assert (sizes(lecture, "head"), sizes(lecture, "output")) == (["128"], ["2"])
    joint = [found.part for found in maps["classifier_joint"]]
    assert joint[joint.index("code") :] == ["code", "output", *["decoder"] * 4, "output"]
    assert [m.part for m in maps["pca"]] == ["image", "code", "output"]


def test_skips_come_from_the_map_that_the_decoder_gets(maps):
    unet = [m for m in maps["segmentation_unet"] if m.part == "decoder"]
    assert [m.skip for m in unet] == [1, 0]
    fcn = [m for m in maps["segmentation_fcn"] if m.part == "decoder"]
    encoder = [m for m in maps["segmentation_fcn"] if m.part == "encoder"]
    assert [m.skip for m in fcn] == [None, 3, 2]
    assert all(encoder[m.skip].shape[:2] == m.shape[:2] for m in fcn[1:])


def test_the_branches_of_deeplab_are_next_to_each_other_and_norms_are_no_maps(maps):
    decoder = [m for m in maps["segmentation_deeplab"] if m.part == "decoder"]
    # 1x1, three rates, and the image's mean; then the projection and the scores.
    assert [m.beside for m in decoder] == [5, 1, 1]


def test_a_backbone_has_a_map_for_each_stride():
    config = load_config("segmentation_fcn")
    with config.unlocked():
        for field in {"encoder", "downsample", "stem"} & set(config.model):
            del config.model[field]
        config.model.backbone = {
            "name": "mobilenet_v2", "stem": "imagenet", "output_stride": 32, "last": "",
            "fields": (), "preprocessing": {
                "order": "RGB", "white": 1.0, "mean": (0, 0, 0), "scale": (1, 1, 1)
            },
        }  # fmt: skip
    found = maps_of(config)
    assert [m.shape[0] for m in found if m.part in ("encoder", "code")] == [32, 16, 8, 4, 2]
    network = build.segmenter(config, 21)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    (_, code), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), image)
    assert sizes(found, "code") == ["x".join(map(str, code.shape[1:]))]


@pytest.mark.parametrize("name", SMALL)
def test_a_drawing_lies_within_its_frame_and_says_what_it_shows(maps, name):
    svg = ElementTree.fromstring(drawing.draw(maps[name], "cat & dog", "Network of <mine>"))
    width, height = (float(svg.get(side)) for side in ("width", "height"))
    assert svg.get("viewBox") == f"0 0 {width:.0f} {height:.0f}"
    boxes = [
        [float(rect.get(side)) for side in ("x", "y", "width", "height")]
        for rect in svg.iter("rect")
    ]
    assert len(boxes) == sum(found.beside for found in maps[name])
    for x, y, w, h in boxes:
        assert x >= 0 and x + w <= width and y >= 0 and y + h <= height
    for i, (x, y, w, h) in enumerate(boxes):
        for left, top, wide, high in boxes[i + 1 :]:
            apart = x + w <= left or left + wide <= x or y + h <= top or top + high <= y
            assert apart
    described = svg.get("aria-label")
    assert described.startswith("Network of <mine>: image 64")
    for text in svg.itertext():
        assert len(text) < 40
        number = re.match(r"[\d\N{MULTIPLICATION SIGN}]+", text)
        assert number is None or number[0] in described
    skips = sum(found.skip is not None for found in maps[name])
    assert sum("stroke-dasharray" in line.attrib for line in svg.iter("line")) == skips
