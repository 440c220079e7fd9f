"""Imported weights come back as they went in, whole or not at all."""

import contextlib
import functools
import hashlib
import json
import resource
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from drawn_weights import CLASSES, drawn, same, shapes

from vocjax.errors import UserError
from vocjax.models.backbones import SOURCES
from vocjax.pretrained import store
from vocjax.pretrained.export import export_weights
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.store import import_weights, is_imported, read_imported
from vocjax.runs.provenance import environment

PAIRS = [
    (backbone, source)
    for backbone in ("squeezenet", "resnet18", "mobilenet_v2", "tiny_darknet")
    for source in SOURCES[backbone]
]


@pytest.fixture(scope="module", autouse=True)
def shapes_once():
    """Tracing a network takes most of an import's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "shapes", shapes)
        yield


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """A file with Gluon's names."""
    file = tmp_path_factory.mktemp("files") / "squeezenet.safetensors"
    write(file, drawn("squeezenet", "gluon")[1])
    return file


@pytest.fixture(scope="module")
def whole(squeezenet, tmp_path_factory):
    """What it is imported as; to be read, not written."""
    output = tmp_path_factory.mktemp("imported") / "squeezenet"
    import_weights("squeezenet", squeezenet, output, classes=CLASSES)
    return output


@pytest.fixture
def bring(squeezenet, tmp_path):
    """`bring(**arguments)` imports that file into tmp_path / "out"."""
    output = tmp_path / "out"
    return functools.partial(import_weights, "squeezenet", squeezenet, output, classes=CLASSES)


def told(weights):
    return weights._asdict() | {"arrays": None}


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.parametrize(("backbone", "source"), PAIRS)
def test_through_every_source_and_back(backbone, source, tmp_path):
    ours, theirs = drawn(backbone, source)
    without_head = "head" if len(theirs) < len(ours) else ""
    bring = functools.partial(
        import_weights, backbone, classes=CLASSES, skip=[without_head] if without_head else []
    )
    write(tmp_path / "in.npz", theirs)
    first = bring(tmp_path / "in.npz", tmp_path / "first")
    assert (first.source, first.ignored) == (source, [])
    assert first.skipped == sorted(
        path for path in ours if without_head and path.startswith("head")
    )
    assert first.classes == (None if without_head else CLASSES)
    assert first.parameters == sum(array.size for array in theirs.values())
    kept = read_imported(tmp_path / "first")
    assert told(kept) == told(first)
    chosen = SOURCES[backbone][source]
    assert (kept.fields, kept.preprocessing) == (chosen.fields, chosen.preprocessing)
    same(kept.arrays, {path: a for path, a in ours.items() if path not in first.skipped})

    out = tmp_path / "out.safetensors"
    assert export_weights(tmp_path / "first", out).source == source
    same(read(out), theirs)
    again = bring(out, tmp_path / "again")
    same(again.arrays, kept.arrays)
    assert told(again) | {"file": None} == told(kept) | {"file": None}


def test_the_directory_says_what_it_holds(bring, squeezenet, tmp_path):
    bring(skip=["backbone/fire9/expand3x3", "backbone/fire8", "backbone/fire9/squeeze"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"weights.npz", "weights.json"}
    facts = json.loads((tmp_path / "out/weights.json").read_text())
    content, run = squeezenet.read_bytes(), environment()
    assert facts.pop("skipped") == [
        f"backbone/fire{fire}/{layer}/{array}"
        for fire, layers in (
            (8, ("expand1x1", "expand3x3", "squeeze")),
            (9, ("expand3x3", "squeeze")),
        )
        for layer in layers
        for array in ("bias", "kernel")
    ]
    assert len(facts.pop("ignored")) == 10
    with np.load(tmp_path / "out/weights.npz") as arrays:
        assert facts.pop("parameters") == sum(arrays[name].size for name in arrays.files)
        assert len(arrays.files) == 52 - 10
    assert facts == {
        "backbone": "squeezenet",
        "fields": {},
        "source": "gluon",
        "preprocessing": {
            "order": "RGB",
            "white": 1.0,
            "mean": [0.485, 0.456, 0.406],
            "scale": [1 / 0.229, 1 / 0.224, 1 / 0.225],
        },
        "classes": CLASSES,
        "file": {
            "name": "squeezenet.safetensors",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        },
        **{field: run[field] for field in ("commit", "dirty", "versions")},
    }


def test_the_source_that_is_named_is_taken(bring, tmp_path):
    assert bring(source="gluon").source == "gluon"
    with pytest.raises(UserError, match=r"52 left over in it:\n  squeezenet0_conv0_weight"):
        bring(source="torchvision")


def test_a_file_without_names_has_no_source_of_names(tmp_path):
    file = tmp_path / "tiny.weights"
    file.write_bytes(struct.pack("<4i", 0, 1, 0, 0) + bytes(4000))
    with pytest.raises(UserError, match="is Darknet's, without names, and the source torchvision"):
        import_weights("squeezenet", file, tmp_path / "weights", source="torchvision")


def test_an_empty_folder_is_filled_and_older_weights_are_replaced(bring, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to("folder")
    for skip, classes in (([], CLASSES), (["head"], None)):
        bring(skip=skip)
        assert read_imported(tmp_path / "folder").classes == classes
    assert (tmp_path / "out").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "out"}
    import_weights("squeezenet", bring.args[1], tmp_path / "a/new/one", classes=CLASSES)
    assert is_imported(tmp_path / "a/new/one")


def test_nothing_else_is_replaced(whole, bring, tmp_path):
    output = tmp_path / "out"
    output.write_text("precious")
    with pytest.raises(UserError, match="out exists and is no directory; give another --output"):
        bring()
    assert output.read_text() == "precious"
    output.unlink()
    output.mkdir()
    (output / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds something else than imported weights \(notes.txt"):
        bring()
    shutil.copytree(whole, output, dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"something else than imported weights \(notes.txt\)"):
        bring()
    assert (output / "notes.txt").read_text() == "precious"


@contextlib.contextmanager
def room(number):
    """No file may have more bytes than that, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
def test_a_full_disk_leaves_what_was_there(there, whole, bring, tmp_path):
    if there:
        shutil.copytree(whole, tmp_path / "out")
    before = files(tmp_path)
    with room(100_000), pytest.raises(UserError, match=r"out can't be written \(File too large\)"):
        bring(skip=["head"])
    assert files(tmp_path) == before


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_ctrl_c_leaves_what_was_there_or_what_is_new(
    there, renamed, whole, bring, tmp_path, monkeypatch
):
    if there:
        shutil.copytree(whole, tmp_path / "out")
    before, rename, done = files(tmp_path), Path.rename, []

    def interrupted(path, target):
        if len(done) == renamed:
            done.append("")
            raise KeyboardInterrupt
        done.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        bring(skip=["head"])
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}
    if renamed < 1 + there:
        assert files(tmp_path) == before
    else:
        assert read_imported(tmp_path / "out").classes is None


def test_ctrl_c_while_it_writes(bring, tmp_path, monkeypatch):
    before = sorted(tmp_path.rglob("*"))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store.json, "dumps", interrupted)  # the arrays are written by then
        bring()
    assert sorted(tmp_path.rglob("*")) == before


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def altered(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda w: cut(w / "weights.npz"), "BadZipFile"),
        (lambda w: cut(w / "weights.json"), "JSONDecodeError"),
        (lambda w: (w / "weights.npz").unlink(), "FileNotFoundError"),
        (lambda w: (w / "weights.json").write_text("[]"), "TypeError"),
        (lambda w: altered(w / "weights.json", parameters=7), "7 numbers were imported, and"),
        (lambda w: altered(w / "weights.json", more=7), "unexpected keyword argument 'more'"),
        (lambda w: altered(w / "weights.json", source="caffe"), "has no source 'caffe'"),
        (lambda w: altered(w / "weights.json", backbone="lenet"), "KeyError: 'lenet'"),
        (lambda w: np.savez(w / "weights.npz", a=np.zeros(3)), "numbers were imported, and 3 are"),
    ],
    ids=range(9),
)
def test_a_damaged_directory_is_refused(damage, words, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    damage(tmp_path / "out")
    assert is_imported(tmp_path / "out")
    with pytest.raises(UserError, match=rf"are damaged \(.*{words}.*\)\. Import them again: `vocj"):
        read_imported(tmp_path / "out")


def test_a_directory_without_weights_is_refused(tmp_path):
    for directory in (tmp_path, tmp_path / "absent"):
        assert not is_imported(directory)
        with pytest.raises(UserError, match=r"holds no imported weights \(no weights.json\)"):
            read_imported(directory)
