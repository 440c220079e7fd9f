"""Imported weights come back as they went in, whole or not at all."""

import contextlib
import functools
import hashlib
import json
import re
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
from drawn_weights import CLASSES, drawn, imported, same

from vocjax.errors import UserError
from vocjax.models.backbones import SOURCES
from vocjax.models.backbones.preprocessing import TORCHVISION
from vocjax.pretrained import store
from vocjax.pretrained.export import export_weights
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.matching import flatten
from vocjax.pretrained.store import import_weights, is_imported, read_imported
from vocjax.runs.provenance import environment

README = Path(store.__file__).with_name("README.md")
PAIRS = [
    ("squeezenet", "gluon"),
    ("mobilenet_v2", "keras"),  # of another variant, with depthwise kernels
    ("mobilenet_v2", "gluon"),  # without a head
    ("tiny_darknet", "darknet"),  # without names
]


@pytest.fixture
def bring(squeezenet_file, tmp_path):
    """`bring(backbone, **arguments)` imports that file into tmp_path / "out"."""

    def bring(backbone="squeezenet", classes=CLASSES, **arguments):
        out = tmp_path / "out"
        return import_weights(backbone, squeezenet_file, out, classes=classes, **arguments)

    return bring


def facts_of(weights):
    return weights._asdict() | {"arrays": None}


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_python_of_the_readme_gives_the_networks_variables(squeezenet, tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/squeezenet").symlink_to(squeezenet)
    monkeypatch.chdir(tmp_path)
    exec(block, scope := {})
    same(flatten(scope["variables"]), drawn("squeezenet", "gluon")[0])


@pytest.mark.parametrize(("backbone", "source"), PAIRS)
def test_through_every_source_and_back(backbone, source, tmp_path):
    ours, theirs = drawn(backbone, source)
    skip = ["head"] if len(theirs) < len(ours) else []
    bring = functools.partial(import_weights, backbone, classes=CLASSES, skip=skip)
    write(tmp_path / "in.npz", theirs)
    first = bring(tmp_path / "in.npz", tmp_path / "first")
    assert (first.source, first.ignored) == (source, [])
    assert first.skipped == sorted(path for path in ours if skip and path.startswith("head"))
    assert first.classes == (None if skip else CLASSES)
    assert first.parameters == sum(array.size for array in theirs.values())
    kept = read_imported(tmp_path / "first")
    assert facts_of(kept) == facts_of(first)
    chosen = SOURCES[backbone][source]
    assert (kept.fields, kept.preprocessing) == (chosen.fields, chosen.preprocessing)
    same(kept.arrays, {path: a for path, a in ours.items() if path not in first.skipped})

    out = tmp_path / "out.safetensors"
    assert export_weights(tmp_path / "first", out).source == source
    same(read(out), theirs)
    again = bring(out, tmp_path / "again")
    same(again.arrays, kept.arrays)
    assert facts_of(again) | {"file": None} == facts_of(kept) | {"file": None}


def test_the_directory_says_what_it_holds(bring, squeezenet_file, tmp_path):
    bring(skip=["backbone/fire9/expand3x3", "backbone/fire8/.*/bias"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"weights.npz", "weights.json"}
    facts = json.loads((tmp_path / "out/weights.json").read_text())
    with np.load(tmp_path / "out/weights.npz") as arrays:
        assert facts.pop("parameters") == sum(arrays[name].size for name in arrays.files)
        assert len(arrays.files) == 52 - 5
    assert len(facts.pop("ignored")) == 5
    content, run = squeezenet_file.read_bytes(), environment()
    assert facts == {
        "backbone": "squeezenet",
        "fields": {},
        "source": "gluon",
        "preprocessing": json.loads(json.dumps(TORCHVISION._asdict())),
        "classes": CLASSES,
        "skipped": [
            "backbone/fire8/expand1x1/bias",
            "backbone/fire8/expand3x3/bias",
            "backbone/fire8/squeeze/bias",
            "backbone/fire9/expand3x3/bias",
            "backbone/fire9/expand3x3/kernel",
        ],
        "file": {
            "name": "squeezenet.safetensors",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        },
        **{field: run[field] for field in ("commit", "dirty", "versions")},
        "prefix": "",
    }


def test_the_source_that_is_named_is_taken(bring):
    assert bring(source="gluon").source == "gluon"
    with pytest.raises(UserError, match=r"52 left over in it:\n  squeezenet0_conv0_bias"):
        bring(source="torchvision")


@pytest.mark.parametrize(
    ("backbone", "arguments", "words"),
    [
        ("squeeze", {}, "--backbone is 'squeeze'; it is one of alexnet, .* mean 'squeezenet'"),
        ("squeezenet", {"source": "tf"}, "--source of squeezenet is 'tf'; it is one of torchvis"),
        ("squeezenet", {"classes": 0}, "--classes is 0; it must be at least 1"),
        (
            "squeezenet",
            {"skip": [".*"]},
            r"--skip \.\* leaves nothing of the backbone to .*squeeze",
        ),
        (
            "squeezenet",
            {"skip": ["backbone/fire.*", "backbone/conv1"]},
            r"--skip backbone/fire\.\* --skip backbone/conv1 leaves nothing of the backbone",
        ),
        ("resnet50", {}, "squeezenet.safetensors: .* come from no source of this backbone"),
        (
            "squeezenet",
            {"classes": CLASSES + 7},
            rf"(?s)squeezenet.safetensors: the file does .*--skip head\n.*--classes {CLASSES}\.$",
        ),
        ("squeezenet", {"ignore": ["x"]}, "squeezenet.safetensors: --ignore 'x' matches no whole"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(backbone, arguments, words, bring, tmp_path):
    with pytest.raises(UserError, match=words):
        bring(backbone, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_without_names_has_no_source_of_names(tmp_path):
    file = tmp_path / "tiny.weights"
    file.write_bytes(struct.pack("<4i", 0, 1, 0, 0) + bytes(4000))
    with pytest.raises(UserError, match="is Darknet's, without names, and the source torchvision"):
        import_weights("squeezenet", file, tmp_path / "weights", source="torchvision")


def test_an_empty_folder_is_filled_and_older_weights_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to("folder")
    for skipped in (["head/bias"], ["head/kernel"]):
        imported(tmp_path / "out", "squeezenet", "gluon", skipped)
        assert read_imported(tmp_path / "folder").skipped == skipped
    assert (tmp_path / "out").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "out"}
    assert is_imported(imported(tmp_path / "a/new/one", "squeezenet", "gluon"))


def test_nothing_else_is_replaced(bring, tmp_path):
    output = tmp_path / "out"
    output.write_text("precious")
    with pytest.raises(UserError, match="out exists and is no directory; give another --output"):
        bring()
    assert output.read_text() == "precious"
    output.unlink()
    output.mkdir()
    words = r"has something other than imported weights \(notes.txt\); give another --output"
    for name in ("notes.txt", "weights.json"):
        (output / name).write_text("{}")
        with pytest.raises(UserError, match=words):
            bring()
    assert (output / "notes.txt").read_text() == "{}"


OLD, NEW = ({"a": np.full(30_000, value, np.float32)} for value in (1, 2))


def put(folder, arrays):
    return imported(folder / "out", "squeezenet", "gluon", arrays=arrays)


@pytest.fixture(params=[False, True], ids=["new", "replaced"])
def before(request, tmp_path):
    """The files that are there: none, or older weights."""
    if request.param:
        put(tmp_path, OLD)
    return files(tmp_path)


@pytest.fixture
def little_room():
    """No file may have more than 100,000 bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_what_was_there(before, little_room, tmp_path):
    with pytest.raises(UserError, match=r"out can't be written \(File too large\)"):
        put(tmp_path, NEW)
    assert files(tmp_path) == before


def test_a_place_that_can_not_be_written_is_refused(tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(UserError, match=r"out/out can't be written \(File exists\). Give an --out"):
        put(tmp_path / "out", NEW)


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_ctrl_c_leaves_what_was_there_or_what_is_new(before, renamed, tmp_path, monkeypatch):
    rename, done = Path.rename, []

    def interrupted(path, target):
        if len(done) == renamed:
            done.append("")
            raise KeyboardInterrupt
        done.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        put(tmp_path, NEW)
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}
    if renamed < 1 + bool(before):
        assert files(tmp_path) == before
    else:
        same(read_imported(tmp_path / "out").arrays, NEW)


def test_ctrl_c_while_it_writes(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "write_json", interrupted)  # the arrays are written by then
        put(tmp_path, NEW)
    assert not list(tmp_path.iterdir())


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
def test_a_damaged_directory_is_refused(damage, words, tmp_path):
    weights = put(tmp_path, OLD)
    damage(weights)
    assert is_imported(weights)
    with pytest.raises(UserError, match=rf"are damaged \(.*{words}.*\)\. Import them again: `vocj"):
        read_imported(weights)


def test_a_directory_without_weights_is_refused(tmp_path):
    for directory in (tmp_path, tmp_path / "absent"):
        assert not is_imported(directory)
        with pytest.raises(UserError, match=r"has no imported weights \(no weights.json\)"):
            read_imported(directory)
