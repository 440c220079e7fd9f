"""Folders of classes, images with masks, images alone, SBD, and what of it fits together."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_devkit
from image_files import oriented
from image_folders import image, mask, text
from PIL import Image

from vocjax.cli import main
from vocjax.data import voc
from vocjax.data.layouts import folders, pairs, sbd
from vocjax.data.layouts.files import Folder, hold_out
from vocjax.data.layouts.lists import split_of
from vocjax.data.layouts.request import Request, check_request, parse_features
from vocjax.errors import UserError


def splits(source) -> dict[str, list[str]]:
    return {s: [r.id for r in source.records if r.main == s] for s in ("train", "val")}


def test_a_folder_for_each_class_in_train_and_val(tmp_path: Path):
    for number, path in enumerate(
        ("train/cat/1.jpg", "train/dog/a/ü 2.PNG", "Valid/dog/x.y.webp", "test/dog/1.bmp")
    ):
        image(tmp_path / path, number)
    (tmp_path / "train/cat/Thumbs.db").write_bytes(b"no image")
    (tmp_path / "train/cat/._1.jpg").write_bytes(b"of macOS")
    source = folders.read(tmp_path, Request())
    assert source.classes.names == ("cat", "dog")
    assert splits(source) == {"train": ["train/cat/1", "train/dog/a/ü 2"], "val": ["Valid/dog/x.y"]}
    assert [r.labels.tolist() for r in source.records if r.labels is not None] == [
        [-1, 1], [1, -1], [-1, 1],
    ]  # fmt: skip
    assert source.warnings == ("nothing reads 1 image in test: train and Valid are the splits.",)
    with pytest.raises(UserError, match=r"--held_out 0\.2 with data that says"):
        folders.read(tmp_path, Request(held_out=0.2))


def test_of_one_tree_a_share_of_each_class_is_held_out(tmp_path: Path):
    for name, count in (("cat", 10), ("train", 5), ("zebra", 5)):
        for number in range(count):
            image(tmp_path / name / f"{number}.png", number)
    source = folders.read(tmp_path, Request(classes=("train", "cat"), held_out=0.4))
    assert source.classes.names == ("train", "cat")
    val = splits(source)["val"]
    assert [sum(id_.startswith(name) for id_ in val) for name in ("cat", "train")] == [4, 2]
    assert "folders zebra: --classes" in source.warnings[0]
    assert (
        splits(folders.read(tmp_path, Request(classes=("train", "cat"), held_out=0.4)))["val"]
        == val
    )
    with pytest.raises(UserError, match=r"--classes names cow, and .* has the folders cat, train"):
        folders.read(tmp_path, Request(classes=("cow",)))
    with pytest.raises(UserError, match="has no folder of a class with images"):
        folders.read(tmp_path / "cat", Request())
    with pytest.raises(UserError, match="isn't a folder"):
        folders.read(tmp_path / "nowhere", Request())


def test_folders_without_images_links_and_a_folder_around_are_said(tmp_path: Path):
    for number, path in enumerate(("ph/set/cat/1.jpg", "ph/set/cat/2.jpg", "dog/3.heic")):
        image(tmp_path / path.replace("heic", "png"), number)
    (tmp_path / "dog/4.HEIC").write_bytes(b"damaged")
    (tmp_path / "ph/set/dog").symlink_to(tmp_path / "dog")
    (tmp_path / "dog/back").symlink_to(tmp_path / "ph")
    text(tmp_path / "ph/set/fox/readme.md", "no fox yet")
    (tmp_path / "ph/set/wolf").mkdir()
    source = folders.read(tmp_path / "ph", Request())
    assert [r.id for r in source.records] == ["cat/1", "cat/2", "dog/3", "dog/4"]
    assert source.warnings == (
        f"the folders of the classes are those in {tmp_path / 'ph/set'}.",
        "no image is read from the folders fox, wolf, which make no class.",
    )


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("cat/train/1", "cat/val/2", "dog/train/3"), "has splits in the folder cat"),
        (("cat/train/1", "cat/val/2"), "has no folder of a class"),
        (("JPEGImages/1", "SegmentationClass/1"), "is a devkit.* Give --devkit"),
        (("VOC2007/JPEGImages/1", "VOC2012/JPEGImages/1"), "is a devkit"),
        (("train/images/1", "train/masks/1", "val/images/2"), "holds images and masks"),
        ([f"{k}/1" for k in range(255)], "has 255 folders with images; expected at most 254"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path: Path, paths, message: str):
    for path in paths:
        image(tmp_path / f"{path}.png")
    with pytest.raises(UserError, match=message):
        folders.read(tmp_path, Request())


def test_annotations_beside_images_are_mentioned(tmp_path: Path):
    for split in ("train", "valid"):
        image(tmp_path / f"{split}/1.jpg")
        text(tmp_path / f"{split}/1.xml", "<annotation/>")
    (warning,) = pairs.read(tmp_path, Request()).warnings
    assert "nothing reads 2 files beside images: train/1.xml, valid/1.xml" in warning


def test_crops_of_one_photograph_are_held_out_together():
    ids = [f"2008_{number:06d}_{crop}" for number in range(10) for crop in range(3)]
    held = hold_out(ids, 0.2)
    assert len(held) == 6 and len({id_[:11] for id_ in held}) == 2
    crops = {f"{kind}/{id_}": kind for kind in ("cat", "dog") for id_ in ids}
    shot = {id_.split("/")[1][:11]: set() for id_ in crops}
    for id_, part in split_of({"all": crops}, 0.3, class_of=crops).of.items():
        shot[id_.split("/")[1][:11]].add(part)
    assert all(len(parts) == 1 for parts in shot.values())
    assert len(hold_out([f"2024_010203_{k}" for k in range(8)], 0.5)) == 4  # dates of a camera
    with pytest.raises(UserError, match="crops of one photograph by their names"):
        split_of({"all": ids[:3]}, 0.3)
    assert hold_out(["a"], 0.5) == set() and len(hold_out(["a", "b"], 0.01)) == 1


def test_masks_are_paired_by_name(tmp_path: Path):
    for number in range(4):
        image(tmp_path / f"img/s/im.{number}.jpg", number)
        mask(tmp_path / f"masks/s/im.{number + 1}_mask.png", 1 + number % 2)
    text(tmp_path / "classes.txt", "background", "cell", "nucleus", encoding="utf-16")
    text(tmp_path / "train.txt", "img/s/im.0.jpg", "s/im.1")
    text(tmp_path / "val.txt", "s\\im.2", "s/im.3")
    request = Request(images=tmp_path / "img", masks=tmp_path / "masks")
    source = pairs.read(tmp_path / "img", request)
    assert source.classes.names == ("cell", "nucleus")
    assert splits(source) == {"train": ["s/im.0", "s/im.1"], "val": ["s/im.2", "s/im.3"]}
    assert [r.segmentation for r in source.records] == ["none", "train", "val", "val"]
    assert source.warnings == (
        "1 of 4 images have no mask, and are in Main alone: s/im.0.",
        "1 of 4 masks belong to no image: s/im.4_mask.",
    )
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"nothing names the classes .*classes\.txt.*--classes"):
        pairs.read(tmp_path / "img", request)
    with pytest.raises(UserError, match=r"no mask in .* has the name of an image: .* s/im\.0"):
        other = request._replace(masks=tmp_path / "img", classes=("a",))
        pairs.read(tmp_path / "img", other._replace(masks=tmp_path / "masks" / "s"))


@pytest.mark.parametrize(
    ("images", "masks", "pairs_"),
    [
        (("a", "a_mask"), ("a", "a_mask"), {"a": "a", "a_mask": "a_mask"}),
        (("a", "b"), ("a", "a_mask", "b_mask"), {"a": "a", "b": "b_mask"}),
        (("a", "a_mask"), ("a_mask", "x"), {"a_mask": "a_mask"}),
        (("p1", "p2"), ("P1", "P2_MASK"), {"p1": "P1", "p2": "P2_MASK"}),
        (("p", "P"), ("P",), {"P": "P"}),
        (("train/a", "val/b"), ("a", "b_mask"), {"train/a": "a", "val/b": "b_mask"}),
    ],
)
def test_a_mask_goes_to_the_image_of_its_very_name(
    tmp_path: Path, images: tuple[str, ...], masks: tuple[str, ...], pairs_: dict[str, str]
):
    for name in images:
        image(tmp_path / f"img/{name}.jpg")
    for name in masks:
        mask(tmp_path / f"masks/{name}.PNG", 1)
    request = Request(masks=tmp_path / "masks", classes=("cell",))
    source = pairs.read(tmp_path / "img", request)
    found = {r.id: r.mask.relative_to(tmp_path / "masks").stem for r in source.records if r.mask}
    assert found == pairs_
    left = sorted({*masks} - {*pairs_.values()})
    assert any(", ".join(left) in warning for warning in source.warnings) or not left


def test_what_lists_and_names_of_masks_leave_unsaid_is_said(tmp_path: Path):
    for name in ("p1", "p2", "p3"):
        image(tmp_path / f"img/{name}.jpg")
        mask(tmp_path / f"img/{name}_MASK.png", 1)
    (warning,) = pairs.read(tmp_path / "img", Request()).warnings
    assert "3 files with _mask in the name are taken for photographs: p1_MASK" in warning
    request = Request(masks=tmp_path / "img", classes=("cell",))
    text(tmp_path / "test.txt", "p1", "p2.jpg p3_MASK.png")
    source = pairs.read(tmp_path / "img", request)
    assert [r.mask.name for r in source.records if r.mask] == ["p1_MASK.png", "p3_MASK.png"]
    assert "nothing reads 1 of 3 images, in no list (test.txt): p3." in source.warnings
    for line, message in (
        ("p1_mask", r"lists \(test.txt\) name masks as images: p1_MASK.png"),
        ("p1.jpg zz.png", r"zz \(.*is missing, but a list names it"),
        ("p4", r"p4 \(.*is missing.* p4\.jp2 is there, which is not of a format that is read"),
    ):
        text(tmp_path / "test.txt", line, "p2")
        (tmp_path / "img/p4.jp2").write_bytes(b"JPEG 2000")
        with pytest.raises(UserError, match=message):
            pairs.read(tmp_path / "img", request)
    (tmp_path / "test.txt").unlink()
    for name in ("train/a.jpg", "val/a.jpg"):
        image(tmp_path / "two" / name)
    mask(tmp_path / "masks/a.png", 1)
    with pytest.raises(UserError, match=r"a\.png has the name of two images, "):
        pairs.read(tmp_path / "two", request._replace(masks=tmp_path / "masks"))


def test_images_and_masks_in_one_folder_as_roboflow_writes_them(tmp_path: Path):
    for split in ("train", "valid"):
        image(tmp_path / f"{split}/{split}.jpg", len(split))
        mask(tmp_path / f"{split}/{split}_mask.png", 7)
        rows = (" Pixel Value, Class", " 0, background", " 7, cat", " 9, dog")
        text(tmp_path / f"{split}/_classes.csv", *rows)
    given = {"images": tmp_path, "masks": tmp_path}
    prepared = voc.prepare("rf", tmp_path / "data", **given)
    assert prepared.index.ids.tolist() == ["train/train", "valid/valid"]
    assert prepared.classes.names == ("cat", "dog")
    assert prepared.index.labels.tolist() == [[1, -1], [1, -1]]
    assert np.unique(prepared.examples[0]["mask"]).tolist() == [0, 1]


def test_of_a_mask_that_fits_the_image_turned_or_not_the_reading_is_said(tmp_path: Path):
    for number in range(2):
        image(tmp_path / f"img/{number}.png", number)
        mask(tmp_path / f"masks/{number}.png", 1)
    picture = Image.open(tmp_path / "img/1.png")
    picture.save(tmp_path / "img/1.png", exif=oriented(3))
    given = {"images": tmp_path / "img", "masks": tmp_path / "masks", "classes": ("cell",)}
    prepared = voc.prepare("turned", tmp_path / "data", **given)
    (warning,) = prepared.warnings
    assert "masks of 1 image fit both" in warning and "were taken as shown: 1." in warning
    example = prepared.examples[1]
    assert (example["mask"][2:6, 2:6] == 1).all()
    np.testing.assert_array_equal(example["image"], np.asarray(picture)[::-1, ::-1])


def test_images_alone_have_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture):
    for number in range(5):
        image(tmp_path / f"img/{number}.jpg", number)
    flags = ["--dataset", "alone", "--data_dir", str(tmp_path / "data")]
    assert main(["data", "prepare", *flags, "--images", str(tmp_path / "img")]) == 0
    assert "no classes" in capsys.readouterr().out
    prepared = voc.load("alone", tmp_path / "data")
    assert prepared.index.labels.shape == (5, 0) and prepared.warnings == ()
    assert prepared.examples[0]["labels"].shape == (0,)
    assert prepared.source == "images, 0.2 of the images held out"


def test_sbd_joins_voc2012(tmp_path: Path):
    kit = tmp_path / "VOCdevkit/VOC2012"
    write_devkit(kit)
    for id_ in ("2008_000001", "2008_000002"):
        image(kit / f"JPEGImages/{id_}.jpg", int(id_[-1]))
        mask(tmp_path / f"SBD/SegmentationClassAug/{id_}.png", 3)
    mask(tmp_path / "SBD/SegmentationClassAug/2007_000011.png", 3)  # a validation image of VOC
    mask(tmp_path / "SBD/SegmentationClassAug/2009_000002.png", 3, size=(24, 20))
    request = Request(devkit=tmp_path / "VOCdevkit", sbd=tmp_path / "SBD")
    official = {"2007_000010": "train", "2007_000011": "val", "2009_000001": "train"}
    joined = sbd.read(kit, request)
    found = {r.id: r.segmentation for r in joined.records if r.segmentation != "none"}
    new = dict.fromkeys(("2008_000001", "2008_000002", "2009_000002"), "train")
    assert found == official | new and joined.warnings == ()
    lines = (f"/JPEGImages/{i}.jpg /SegmentationClassAug/{i}.png" for i in ("2007_000011", *new))
    text(tmp_path / "SBD/list/train_aug.txt", *list(lines)[:3])
    joined = sbd.read(kit, request)
    records = {r.id: r for r in joined.records}
    assert "names 1 validation image of VOC, not trained on: 2007_000011" in joined.warnings[0]
    assert "2009_000002" in records and records["2009_000002"].segmentation == "none"
    assert records["2007_000011"].mask == kit / "SegmentationClass/2007_000011.png"
    prepared = voc.prepare("voc2012_aug", tmp_path / "data", **request._asdict())
    assert prepared.source == "devkit and SBD" and not prepared.partial
    row = prepared.index.ids.tolist().index("2008_000001")
    assert prepared.classes.names[int(prepared.index.labels[row].argmax())] == "bird"
    with pytest.raises(UserError, match="holds no SegmentationClassAug"):
        sbd.read(kit, request._replace(sbd=kit))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": Path(), "classes": ("a",)}, "--classes names what masks show"),
        ({"images": Path(), "mask_values": "1=a"}, "give --masks DIR"),
        ({"folders": Path(), "held_out": 1.5}, "--held_out is 1.5; expected a share"),
        ({"folders": Path(), "held_out": 0.0}, "--held_out is 0.0; expected a share"),
        ({"masks": Path()}, "nothing says where it lies"),
        ({"folders": Path(), "images": Path()}, "--images makes no sense with --folders"),
        ({"devkit": Path(), "features": "label=x"}, "--features makes no sense with --devkit"),
    ],
)
def test_flags_that_make_no_sense_together_are_refused(given: dict, message: str):
    with pytest.raises(UserError, match=message):
        check_request("mine", Request(**given))


def test_features_are_read():
    assert parse_features("label=species, mask = m") == {
        "image": "image", "label": "species", "mask": "m",
    }  # fmt: skip
    for text_, message in (("labels=x", "Did you mean 'label'"), ("mask", "expected mask=NAME")):
        with pytest.raises(UserError, match=message):
            parse_features(text_)


def test_letters_with_accents_are_found_in_either_form(tmp_path: Path):
    image(tmp_path / "u\u0308.jpg")  # as macOS writes it
    found = Folder(tmp_path).find("\u00fc")
    assert found and found[0] == "\u00fc"
