"""Devkits of one's own: which classes, labels and splits they give, and what is said about them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_folders import annotation, image, kit, mask, text
from PIL import Image

from vocjax.data import info, voc
from vocjax.data.classes import VOC
from vocjax.data.devkit import Source
from vocjax.data.layouts.kit import read
from vocjax.data.layouts.request import Request
from vocjax.errors import UserError

IDS = {"a0": "train", "a1": "train", "b 0": "val", "b.1": "val"}


def labels(source: Source) -> dict[str, dict[str, int]]:
    """Id -> class -> 1 or 0; absent classes are left out."""
    found = {}
    for record in source.records:
        assert record.labels is not None
        states = zip(source.classes.names, record.labels.tolist(), strict=True)
        found[record.id] = {name: state for name, state in states if state != -1}
    return found


def test_class_lists_of_ones_own_give_the_classes(tmp_path: Path):
    root = kit(tmp_path, IDS)
    main = root / "ImageSets/Main"
    text(main / "airplane_train.txt", "a0  1", "a1 -1")
    text(main / "airplane_val.txt", "b 0 0", "# a comment", "", "b.1 1", encoding="utf-16")
    text(main / "sour pear_train.txt", "a1.jpg")  # ids alone: what shows the class
    text(main / "notes.txt", "hello")
    source = read(root, Request())
    assert source.classes.names == ("airplane", "sour pear")
    assert labels(source) == {
        "a0": {"airplane": 1},
        "a1": {"sour pear": 1},
        "b 0": {"airplane": 0},
        "b.1": {"airplane": 1},
    }
    assert any("nothing reads notes.txt" in warning for warning in source.warnings)
    named = read(root, Request(classes=("airplane", "cat")))
    assert named.classes.names == ("airplane", "cat")
    assert any("class lists of sour pear (1 image)" in warning for warning in named.warnings)


def test_class_lists_say_the_splits_where_no_list_does(tmp_path: Path):
    root = kit(tmp_path, IDS, sets=())
    for name, state in (("apple", "1"), ("pear", "-1")):
        text(root / f"ImageSets/Main/{name}_train.txt", f"a0 {state}", f"a1 {state}")
        text(root / f"ImageSets/Main/{name}_val.txt", f"b 0 {state}")
    source = read(root, Request())
    assert {r.id: r.main for r in source.records} == {"a0": "train", "a1": "train", "b 0": "val"}
    assert labels(source)["b 0"] == {"apple": 1}


def test_annotations_alone_give_labels_and_a_share_is_held_out(tmp_path: Path):
    for number in range(10):
        image(tmp_path / f"JPEGImages/{number}.png", number)
        annotation(tmp_path / f"Annotations/{number}.xml", "dog?", "cat", "cat?")
    (tmp_path / "Annotations/9.xml").unlink()
    source = read(tmp_path, Request(held_out=0.3))
    assert source.classes.names == ("cat", "dog")  # not VOC's 20, though both are VOC's
    assert labels(source)["0"] == {"dog": 0, "cat": 1} and labels(source)["9"] == {}
    assert [r.main for r in source.records].count("val") == 3
    assert source.origin == "devkit, 0.3 of the images held out"
    assert source.warnings == ("no annotation for 1 image, taken as without an object: 9.",)


def test_lists_count_where_annotations_contradict_them(tmp_path: Path):
    root = kit(tmp_path, IDS)
    text(root / "ImageSets/Main/dog_train.txt", "a0 1", "a1 -1")
    text(root / "ImageSets/Main/dog_val.txt", "b 0 -1")
    annotation(root / "Annotations/a0.xml", "cat")
    source = read(root, Request())
    assert labels(source)["a0"] == {"dog": 1}
    lines, contradiction = source.warnings
    assert "dog_train.txt) have no line for 1 image, taken as without the class: b.1" in lines
    assert "contradict each other in 1 image, and the lists count: a0 (dog; cat)" in contradiction


def test_a_label_map_gives_names_and_colours_and_another_file_is_mentioned(tmp_path: Path):
    root = kit(tmp_path, IDS, masks=1, sets=("Segmentation",))
    label_map = ("# label:color_rgb:parts:actions", "background:9,9,9::", "cat:10,20,30::")
    text(root / "labelmap.txt", *label_map, encoding="utf-8-sig")
    source = read(root, Request())
    assert source.classes.names == ("cat",) and source.warnings == ()
    assert source.classes.palette[[0, 1]].tolist() == [[9, 9, 9], [10, 20, 30]]
    text(root / "class_names.txt", "__ignore__", "_background_", "cow", "dog")
    source = read(root, Request())
    assert source.classes.names == ("cow", "dog")
    assert "labelmap.txt (cat): class_names.txt counts" in source.warnings[0]


def test_a_list_of_cvat_is_split_alike_for_both_sets(tmp_path: Path):
    ids = dict.fromkeys((f"sub/{number}" for number in range(10)), "default")
    root = kit(tmp_path, ids, masks=12, sets=("Main", "Segmentation"))
    text(root / "ImageSets/Segmentation/default.txt", *list(ids)[:5])
    source = read(root, Request())
    both = [(r.main, r.segmentation) for r in source.records]
    assert {*both} == {(s, t) for s in ("train", "val") for t in (s, "none")}
    assert both.count(("val", "val")) == 1


def test_lists_may_have_paths_of_images_and_masks(tmp_path: Path):
    root = kit(tmp_path, IDS, masks=3, sets=())
    for split in ("train", "val"):
        lines = (
            f"/JPEGImages/{id_}.jpg /SegmentationClassAug/{id_}.png"
            for id_ in IDS
            if IDS[id_] == split
        )
        text(root / f"ImageSets/Segmentation/{split}.txt", *lines)
    for id_ in IDS:
        mask(root / f"SegmentationClassAug/{id_}.png", 4)
    records = {record.id: record for record in read(root, Request()).records}
    assert {id_: record.segmentation for id_, record in records.items()} == IDS
    assert records["b.1"].mask == root / "SegmentationClassAug/b.1.png"


def test_endings_do_not_matter_unless_two_files_have_one_name(tmp_path: Path):
    root = kit(tmp_path, IDS)
    (root / "JPEGImages/a0.jpg").rename(root / "JPEGImages/A0.JPEG")
    (root / "JPEGImages/a1.jpg").rename(root / "JPEGImages/a1")  # told by its content
    assert [r.image.name for r in read(root, Request()).records][:2] == ["A0.JPEG", "a1"]
    image(root / "JPEGImages/b.1.png")
    with pytest.raises(UserError, match=r"holds b\.1\.jpg and b\.1\.png for the image b\.1"):
        read(root, Request())


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("ImageSets/Main/train.txt", ("a0", "../x"), "line 2: '../x' leads out of the folder"),
        ("ImageSets/Main/train.txt", ("/etc/passwd",), "'/etc/passwd' leads out of the folder"),
        ("ImageSets/Main/train.txt", ("c7", "c8"), "c7 (.jpg, .png or another ending) is missing"),
        ("ImageSets/Main/train.txt", ("a0", "b 0"), "b 0, which train.txt lists already"),
        ("ImageSets/Main/dog_train.txt", ("a0 1", "a1 2"), "line 2: 'a1 2'; expected an image id"),
        ("ImageSets/Segmentation/train.txt", ("a0",), "no folder SegmentationClass or"),
        ("Annotations/a0.xml", ("<annotation>",), "a0.xml isn't valid XML"),
        ("Annotations/a0.xml", ("<a><object/></a>",), "a0.xml has an object without a name"),
        ("ImageSets/Main/dog_train.txt", ("a0 1", "a0 -1"), "a line above says 1"),
        ("Annotations/c7.xml", ("<a/>",), "Annotations belongs to an image: c7.xml"),
        ("SegmentationClassAug/c7.png", ("GIF87a",), "has the name of an image: c7"),
        ("ImageSets/Main/train.txt/x", (), "train.txt can't be read (Is a directory)"),
        ("classes.txt", ("cat\0",), "classes.txt isn't a text file"),
        ("classes.txt", ("cat", "cat"), "names 'cat' twice"),
        ("classes.txt", ("cat", "background"), "background among other classes"),
        ("classes.txt", ("background", "Void", "cat"), "names Void among other classes"),
        ("classes.txt", ("0 cat", "1 dog"), "begins names with the numbers 0, 1; expected"),
        ("classes.txt", ("2: cat", "1: dog"), "begins names with the numbers 2, 1; expected"),
        ("classes.txt", (), "classes.txt names no class"),
        ("labelmap.txt", ("# label:color_rgb",), "labelmap.txt names no class"),
        ("labelmap.txt", ("a:1,2,3", "b:1,2,3"), "gives a and b one colour, (1, 2, 3)"),
        ("labelmap.txt", ("a:0,0,0",), "gives background and a one colour, (0, 0, 0)"),
        ("labelmap.txt", ("cat 1",), "has the line 'cat 1'; expected a class and its colour"),
        ("labelmap.txt", ("cat:1,2,300::",), "the colour [1, 2, 300]"),
        ("_classes.csv", ("Value, Class",), "expected Pixel Value, Class"),
        ("_classes.csv", (" Pixel Value, Class", "x, cat"), "has the row 'x, cat'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, file: str, lines: tuple[str, ...], message: str):
    root = kit(tmp_path, IDS)
    if file.endswith("train.txt/x"):
        (root / "ImageSets/Main/train.txt").unlink()
    text(root / file, *lines)
    with pytest.raises(UserError) as error:
        read(root, Request())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("Classes.TXT", ("0: background", "1: cat", "2: sour pear", "255: void")),
        ("classes.txt", ("1 cat", "2 sour pear")),
        ("classes.txt", ("Void", "Background", "cat\u00a0", "sour\u2028pear\u3000", "Unlabeled")),
        ("labelmap.txt", ("cat: 1, 2, 3", "background:0,0,0::", "sour pear:4,5,6:a,b:")),
        ("_classes.csv", ("Pixel Value, Class", "0, background", "1, cat", '2, "sour pear"')),
    ],
)
def test_names_are_read_as_programs_write_them(tmp_path: Path, file: str, lines: tuple[str, ...]):
    root = kit(tmp_path, IDS)
    text(root / file, *lines)
    assert read(root, Request()).classes.names == ("cat", "sour pear")


def test_a_label_map_colours_the_classes_of_a_flag(tmp_path: Path):
    root = kit(tmp_path, IDS)
    text(root / "labelmap.txt", "cat:1,2,3::", "dog:4,5,6::")
    source = read(root, Request(classes=("dog", "cat")))
    assert source.classes.names == ("dog", "cat") and source.classes.stated
    assert source.classes.palette[:3].tolist() == [[0, 0, 0], [4, 5, 6], [1, 2, 3]]
    numbered = read(root, Request(classes=("1: dog", "2: cat")))
    assert numbered.classes.names == ("dog", "cat")
    other = read(root, Request(classes=("dog",)))
    assert not other.classes.stated
    assert (
        other.warnings[0] == "--classes names dog, and labelmap.txt (cat, dog): --classes counts."
    )


@pytest.mark.parametrize(
    ("index", "objects", "values", "names"),
    [
        (12, (), "", VOC.names),
        (12, ("dog", "cat"), "", VOC.names),
        (1, ("dog",), "", ("dog",)),  # VOC's first colour, and no aeroplane
        (1, ("pear",), "", ("pear",)),
        (0, ("dog", "cat"), "", ("cat", "dog")),
        (7, (), "0=background,7=plum", ("plum",)),
        (7, ("dog",), "0=background,7=cat", ("dog", "cat")),
        (7, ("dog", "cat"), "0=background,7=cat", ("cat", "dog")),
    ],
)
def test_vocs_classes_are_those_of_its_colours_alone(
    tmp_path: Path, index: int, objects: tuple[str, ...], values: str, names: tuple[str, ...]
):
    root = kit(tmp_path, IDS, masks=1, sets=("Segmentation",))
    for id_ in IDS:
        mask(root / f"SegmentationClass/{id_}.png", index)
    if objects:
        annotation(root / "Annotations/a0.xml", *objects)
    assert read(root, Request(mask_values=values)).classes.names == names


def test_grey_masks_without_names_are_refused(tmp_path: Path):
    root = kit(tmp_path, IDS, masks=1, sets=("Segmentation",))
    for id_ in IDS:
        Image.fromarray(np.eye(10, 12, dtype=np.uint8)).save(root / f"SegmentationClass/{id_}.png")
    with pytest.raises(UserError, match="not in VOC's colours; nothing says which index"):
        read(root, Request())


def test_an_index_has_one_colour_in_all_masks(tmp_path: Path):
    root = kit(tmp_path / "kit", IDS, masks=1, sets=("Segmentation",))
    text(root / "classes.txt", "cat", "dog")
    picture = Image.fromarray(np.eye(10, 12, dtype=np.uint8))
    picture.putpalette([0, 0, 0, 9, 200, 9])  # an optimiser's: index 1 is what the file shows
    picture.save(root / "SegmentationClass/b 0.png")
    with pytest.raises(
        UserError, match=r"index 1 is \(9, 200, 9\) in .*b 0.png, and \(128, 0, 0\)"
    ):
        voc.prepare("mine", tmp_path / "data", devkit=root)


def test_other_colours_are_other_data(tmp_path: Path):
    root = kit(tmp_path / "kit", IDS, masks=1, sets=("Segmentation",))
    for id_ in IDS:
        Image.fromarray(np.eye(10, 12, dtype=np.uint8)).save(root / f"SegmentationClass/{id_}.png")
    text(root / "labelmap.txt", "cat:100,0,0::")
    voc.prepare("mine", tmp_path / "data", devkit=root)
    text(root / "labelmap.txt", "cat:101,0,0::")
    with pytest.raises(UserError, match="What differs is the colours of its classes"):
        voc.prepare("mine", tmp_path / "data", devkit=root)


def test_names_without_an_order_of_indices_are_refused(tmp_path: Path):
    root = kit(tmp_path, IDS, masks=1, sets=("Segmentation",))
    annotation(root / "Annotations/a0.xml", "pear", "apple")
    with pytest.raises(UserError, match=r"apple, pear; nothing says which index .*--classes"):
        read(root, Request())
    assert read(root, Request(classes=("pear", "apple"))).classes.names == ("pear", "apple")


def test_prepare_keeps_the_classes_and_says_what_looks_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    ids = {"a": "train", "b": "train", "c": "val"}
    root = kit(tmp_path / "kit", ids, masks=1, sets=("Main", "Segmentation"))
    text(root / "classes.txt", "traffic light", "dog")
    for split, lines in (("train", ("a 1", "b -1")), ("val", ("c 1",))):
        text(root / f"ImageSets/Main/dog_{split}.txt", *lines)
    mask(root / "SegmentationClass/b.png", 1, size=(24, 20))
    mask(root / "SegmentationClass/c.png", 0)
    image(root / "JPEGImages/c.jpg", seed=0)  # that of a
    prepared = voc.prepare("mine", tmp_path / "data", devkit=root)
    loaded = voc.load("mine", tmp_path / "data")
    assert loaded.classes.names == ("traffic light", "dog")
    assert loaded.index.labels.tolist() == [[-1, 1], [-1, -1], [-1, 1]]
    assert loaded.warnings == prepared.warnings
    said = "\n".join(loaded.warnings)
    for words in (
        "no mask of val shows an object",
        "no image shows traffic light",
        "labels contradict masks in 3 images (in a the mask shows traffic light, and the labels",
        "train and val share 1 photograph, the same in each pixel: a = c",
        "the masks of 1 image differ in size",
    ):
        assert words in said
    assert loaded.examples[1]["mask"].shape == (10, 12, 1)
    rows = [line.split() for line in info.summary(loaded).splitlines()]
    assert ["dog", "1", "1", "1", "1"] in rows and ["traffic_light", "0", "0", "0", "0"] in rows
    np.testing.assert_array_equal(np.unique(loaded.examples[0]["mask"]), [0, 1])


def test_masks_of_another_shape_are_counted(tmp_path: Path):
    root = kit(tmp_path / "kit", IDS, masks=12, sets=("Segmentation",))
    for id_ in ("a0", "b 0"):
        mask(root / f"SegmentationClass/{id_}.png", 12, size=(10, 12))
    with pytest.raises(UserError, match=r"a0\.png is 10 x 12 .* This holds for 2 of 4 masks\."):
        voc.prepare("mine", tmp_path / "data", devkit=root)


@pytest.mark.parametrize(
    ("lists", "expected", "message"),
    [
        ({"train": ("a0 1", "a1 -1"), "trainval": ("a0 -1",)}, {"a0": 1}, "a1, b 0, b.1|a0"),
        ({"train": ("a0 1", "a1 -1", "c7 1")}, {"a0": 1}, "about 1 image that train and val"),
        ({"train": ("a0 1", "a1 0")}, {"a0": 1, "a1": 0}, "have 0 and never -1"),
        ({"val": ("b 0",)}, {"b 0": 1}, ""),  # an image and not "b", which is difficult
    ],
)
def test_lines_of_class_lists_are_used_or_mentioned(
    tmp_path: Path, lists: dict[str, tuple[str, ...]], expected: dict[str, int], message: str
):
    root = kit(tmp_path, IDS)
    for split, lines in lists.items():
        text(root / f"ImageSets/Main/pear_{split}.txt", *lines)
    source = read(root, Request())
    found = {id_: of["pear"] for id_, of in labels(source).items() if of}
    said = "\n".join(source.warnings)
    assert found == expected
    if "|" in message:
        assert "pear_train.txt contradicts pear_trainval.txt in 1 image, and pear_train" in said
    else:
        assert message in said


@pytest.mark.parametrize(
    ("ids", "file"),
    [
        (("img0",), "IMG0.XML"),
        (("sub/img0",), "img0.xml"),
        (("img0",), "sub/img0.xml"),
        (("img0.x",), "img0.x.jpg.xml"),
        (("other",), "7.xml"),  # its <filename> says so
        (("IMG0", "img0"), "img0.xml"),  # the very name counts
    ],
)
def test_an_annotation_belongs_to_the_image_with_its_name(tmp_path: Path, ids, file: str):
    root = kit(tmp_path, dict.fromkeys((*ids, "b"), "train"))
    annotation(root / "Annotations" / file, "pear?")
    annotation(root / "Annotations/zzz.xml", "fox")
    text(root / "Annotations/yyy.xml", "broken")
    if file == "7.xml":
        (root / "Annotations/zzz.xml").unlink()
    source = read(root, Request())
    assert {id_: of for id_, of in labels(source).items() if of} == {ids[-1]: {"pear": 0}}
    assert any("nothing reads" in warning and "yyy.xml" in warning for warning in source.warnings)


def test_what_a_devkit_has_and_no_list_names_is_mentioned(tmp_path: Path):
    root = kit(tmp_path, IDS, masks=12)
    for name in ("A0.jpg", "c.jpg", "c.png"):
        image(root / "JPEGImages" / name, 7)
    mask(root / "SegmentationClass/c.png", 12)
    mask(root / "SegmentationClassAug/a0.png", 12)
    annotation(root / "annotations/a0.xml", "dog")
    mask(root / "SegmentationObject/a0.png", 1)
    (root / "SegmentationClass/b.1.png").unlink()
    said = "\n".join(read(root, Request()).warnings)
    for words in (
        "no list names 2 images, not read: A0, c.",
        "1 of 4 images have no mask, and are in Main alone: b.1.",
        "nothing reads 1 mask in",
        "nothing reads 2 folders of the kit: SegmentationClassAug, annotations.",
    ):
        assert words in said
    text(root / "ImageSets/Main/train.txt", "a0", "c.png")  # which of two
    assert [r.image.name for r in read(root, Request()).records if r.id == "c"] == ["c.png"]


def test_difficulty_is_compared_too(tmp_path: Path):
    root = kit(tmp_path, IDS)
    text(root / "ImageSets/Main/dog_train.txt", "a0 0", "a1 -1")
    annotation(root / "Annotations/a0.xml", "dog")
    assert "lists count: a0 (difficult dog; dog)" in read(root, Request()).warnings[-1]


def test_ids_may_begin_like_comments_and_have_bytes_that_are_no_text(tmp_path: Path):
    root = kit(tmp_path, {"#1": "train", "b": "val"}, masks=12, sets=("Main", "Segmentation"))
    text(root / "ImageSets/Main/train.txt", "#1", "# a comment", "#2", encoding="utf-32")
    text(root / "ImageSets/Segmentation/train.txt", "#1 #1")
    assert {r.id: r.segmentation for r in read(root, Request()).records} == {
        "#1": "train",
        "b": "val",
    }
    for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        file = root / folder / f"b{ending}"
        file.rename(Path(os.fsdecode(os.fsencode(file.parent) + b"/\xff" + ending.encode())))
    shutil.rmtree(root / "ImageSets")
    voc.prepare("mine", tmp_path / "data", devkit=root)
    assert voc.load("mine", tmp_path / "data").index.ids.tolist() == ["#1", "\\xff"]


def test_folders_of_images_are_splits_without_lists(tmp_path: Path):
    ids = ("train/1", "val/2", "train/3")
    root = kit(tmp_path, dict.fromkeys(ids, "all"), sets=())
    for id_ in ids:
        mask(root / f"SegmentationClass/{Path(id_).name}.png", 12)
    found = {r.id: (r.main, r.segmentation, r.mask) for r in read(root, Request()).records}
    assert found == {
        id_: (s, s, root / f"SegmentationClass/{n}.png") for id_ in ids for s, n in [id_.split("/")]
    }


def test_a_photograph_in_two_splits_or_with_two_labels_is_mentioned(tmp_path: Path):
    root = kit(tmp_path / "kit", {"a": "train", "b": "val"}, masks=12, sets=("Main",))
    image(root / "JPEGImages/b.jpg", seed=0)  # that of a
    mask(root / "SegmentationClass/b.png", 8)
    text(root / "ImageSets/Segmentation/train.txt", "b")
    text(root / "ImageSets/Segmentation/val.txt", "a")
    said = "\n".join(voc.prepare("mine", tmp_path / "data", devkit=root).warnings)
    assert "2 images are for training in one of Main and Segmentation" in said
    assert "labels contradict each other for 1 photograph, the same in each pixel: a = b" in said
