"""`vocjax weights` as it is typed: what it prints, and each mistake as one message."""

import itertools
import re
import shlex
import shutil
import struct

import numpy as np
import pytest
import torch_files as torch_
from drawn_weights import CLASSES, drawn, same
from PIL import Image

from vocjax import cli
from vocjax.data.pipeline import resize_image
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.pretrained.classify import classifier_of
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.published import PUBLISHED
from vocjax.pretrained.store import import_weights, read_imported

PREPROCESSING = "RGB from 0 to 1, minus (0.485, 0.456, 0.406), times (4.36681, 4.46429, 4.44444)"


def run(capsys, *arguments):
    """(exit code, stdout, stderr); flags that don't parse exit too."""
    try:
        code = cli.main(["weights", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with SqueezeNet's weights, of three classes, and what they are imported as."""
    folder, (_, theirs) = tmp_path_factory.mktemp("home"), drawn("squeezenet", "torchvision")
    small = {name: 0.07 * (array - 0.55) for name, array in theirs.items()}
    write(folder / "squeezenet.npz", small)
    (folder / "notes.txt").write_text("no weights")
    photo = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    Image.fromarray(photo).save(folder / "photo.png")
    import_weights("squeezenet", folder / "squeezenet.npz", folder / "imported", classes=CLASSES)
    return folder


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """The working directory: the same files, to be written to."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, here, message, *arguments):
    """The message is all that comes of it."""
    before = {path: path.is_file() and path.read_bytes() for path in here.rglob("*")}
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("vocjax: ")
    assert message in err
    assert {path: path.is_file() and path.read_bytes() for path in here.rglob("*")} == before


@pytest.mark.parametrize("verb", ["import", "fetch", "export", "classify"])
def test_help_shows_examples_that_parse(verb, capsys):
    code, out, err = run(capsys, verb, "--help")
    assert (code, err) == (0, "")
    examples = [line for line in out.splitlines() if line.startswith("  vocjax weights")]
    assert examples
    for example in examples:
        options, left = cli._parser().parse_known_args(shlex.split(example)[1:])
        assert callable(options.verb)
        assert options.prog == f"vocjax weights {verb}"
        assert not left
    assert verb in run(capsys, "--help")[1]


def test_help_names_every_backbone_and_source_and_all_published_weights(capsys):
    _, out, _ = run(capsys, "import", "--help")
    assert {*BACKBONES, *itertools.chain(*SOURCES.values())} <= set(re.findall(r"\w+", out))
    _, out, _ = run(capsys, "fetch", "--help")
    assert set(PUBLISHED) <= set(re.findall(r"[\w-]+", out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: VERB"),
        ("import a.npz --output o", "the following arguments are required: --backbone"),
        ("import --backbone vgg16 a.npz --output o --classes ten", "invalid int value: 'ten'"),
        ("import --backbone vgg16 a.npz --output o --mean 1,2", "'1,2' is not three numbers, as"),
        ("import a.npz --backbone vgg16 --output o --force", "unknown argument '--force'; see `vo"),
        ("export --output a.npz", "the following arguments are required: DIR"),
    ],
)
def test_flags_that_do_not_parse(arguments, message, capsys):
    code, out, err = run(capsys, *arguments.split())
    assert (code, out) == (2, "")
    assert message in err


def test_import_says_what_it_did(here, capsys):
    arrays = read(here / "squeezenet.npz")
    counts = {f"{i}.num_batches_tracked": np.zeros(()) for i in range(5)}
    write(here / "more.npz", arrays | counts)
    arguments = ["--backbone", "squeezenet", "more.npz", "--output", "out"]
    skip = ["--skip", "backbone/fire[89]", "--skip", "head"]
    code, out, err = run(capsys, "import", *arguments, *skip)
    assert (code, err) == (0, "")
    taken = [name for name in arrays if not name.startswith(("features.11", "features.12", "cla"))]
    assert out.splitlines() == [
        "squeezenet, without a head, from more.npz by torchvision's names",
        f"taken: 38 arrays, {sum(arrays[name].size for name in taken):,} numbers",
        "skipped (drawn anew): 14 arrays (backbone/fire[89], head)",
        "ignored in the file: 19 arrays (features.11.squeeze.weight, features.11.squeeze.bias, "
        "features.11.expand1x1.weight, ...)",
        f"preprocessing: {PREPROCESSING}",
        "imported weights: out",
    ]
    assert len(taken) == len(read_imported(here / "out").arrays) == 38
    arguments[2] = "squeezenet.npz"
    code, out, _ = run(capsys, "import", *arguments, "--classes", 3, "--source", "torchvision")
    assert code == 0
    assert "squeezenet, head of 3 classes, from squeezenet.npz by torchvision's names" in out
    assert "skipped (drawn anew): nothing\nignored in the file: nothing\n" in out


def test_import_ignores_names_that_are_given(here, capsys):
    """Also where most of the file is of something else."""
    own = {f"decoder.{i}.weight": np.zeros(2, np.float32) for i in range(99)}
    write(here / "own.npz", read(here / "squeezenet.npz") | own)
    arguments = ["--backbone", "squeezenet", "own.npz", "--classes", "3", "--output", "out"]
    code, out, err = run(capsys, "import", *arguments, "--ignore", "decoder.*")
    assert (code, err) == (0, "")
    assert "\nignored in the file: 99 arrays (decoder.0.weight, decoder.1.weight, deco" in out
    assert set(read_imported(here / "out").ignored) == set(own)
    refused(capsys, here, "come from no source of this backbone", "import", *arguments)


def test_import_says_what_it_strips_and_takes_a_preprocessing_that_is_given(here, capsys):
    arrays = read(here / "squeezenet.npz")
    beside = {"ema_decay": np.ones(1), "decoder.0.weight": np.ones(2)}
    write(here / "own.npz", {f"module._orig_mod.{n}": a for n, a in arrays.items()} | beside)
    arguments = ["--backbone", "squeezenet", "own.npz", "--classes", "3", "--output", "out"]
    values = ["--mean", "1,2,3", "--std", "2,4,5", "--scale", "255", "--channels", "BGR"]
    code, out, err = run(capsys, "import", *arguments, *values)
    assert (code, err) == (0, "")
    prefix = "prefix of the names: 'module._orig_mod.' is stripped; 2 others are passed over"
    assert f"\n{prefix}\ntaken: 52 arrays" in out
    assert "ignored in the file: 2 arrays (ema_decay, decoder.0.weight)" in out
    given = "BGR from 0 to 255, minus (1, 2, 3), times (0.5, 0.25, 0.2), as given"
    assert f"\npreprocessing: {given}\n" in out
    made = read_imported(here / "out")
    assert (made.prefix, made.ignored) == ("module._orig_mod.", list(beside))
    assert made.preprocessing == ("BGR", 255.0, (1.0, 2.0, 3.0), (0.5, 0.25, 0.2))
    same(made.arrays, read_imported(here / "imported").arrays)


def test_import_says_what_follows_darknets_backbone(here, capsys):
    arrays = drawn("tiny_darknet", "darknet")[1].values()
    numbers = np.concatenate([array.ravel() for array in arrays])
    (here / "a.weights").write_bytes(struct.pack("<3iq", 0, 2, 0, 0) + numbers.tobytes())
    arguments = ["--backbone", "tiny_darknet", "a.weights", "--output", "out"]
    code, out, err = run(capsys, "import", *arguments, "--skip", "head")
    assert (code, err) == (0, "")
    assert f", {len(numbers) - 387:,} numbers\nskipped (drawn anew): 2 arrays (head)" in out
    assert "\nignored in the file: 387 numbers at the end\n" in out


def test_export_says_what_it_did(here, capsys):
    code, out, err = run(capsys, "export", "imported", "--output", "out.safetensors")
    assert (code, err) == (0, "")
    numbers = read_imported(here / "imported").parameters
    assert out.splitlines() == [
        "squeezenet by torchvision's names",
        f"written: 52 arrays, {numbers:,} numbers",
        f"preprocessing: {PREPROCESSING}",
        "weights: out.safetensors",
    ]
    facts = here / "imported/weights.json"
    facts.write_text(facts.read_text().replace('"RGB"', '"BGR"'))
    code, out, _ = run(capsys, "export", "imported", "--source", "gluon", "--output", "out.npz")
    assert code == 0
    assert "squeezenet0_conv0_weight" in read(here / "out.npz")
    assert "\npreprocessing: BGR from 0 to 1, minus (0.485, 0.456" in out
    note = "note: the file does not contain it; an import of the file takes the usual one of gluon"
    assert f"\n{note}: {PREPROCESSING}\n" in out


def test_classify_names_the_likeliest_classes_and_skips_what_is_no_photo(here, capsys):
    (here / "labels.txt").write_text("cat\ndog\nbird\n")
    arguments = ["imported", "photo.png", "notes.txt", "--size", "64"]
    code, out, err = run(capsys, "classify", *arguments, "--labels", "labels.txt")
    assert (code, err.startswith("notes.txt is skipped: the file can't be read")) == (1, True)
    found = [line.rsplit(" ", 1) for line in out.removeprefix("photo.png ").strip().split(", ")]
    photo = np.asarray(Image.open(here / "photo.png"))
    image = resize_image(photo, 64, 3)[None].astype(np.float32) / 255
    (probability,) = classifier_of(here / "imported")(image)
    expected = zip(("cat", "dog", "bird"), probability, strict=True)
    assert dict(found) == {name: f"{value:.4f}" for name, value in expected}
    assert found[0][0] == ("cat", "dog", "bird")[probability.argmax()]
    assert probability.sum() == pytest.approx(1) and np.ptp(probability) > 0.01
    code, out, _ = run(capsys, "classify", "imported", "photo.png", "--size", "64")
    assert code == 0 and {part.split()[0] for part in out[10:].split(", ")} == {"0", "1", "2"}


SQUEEZENET = "import --backbone squeezenet --output out"
PHOTO = "classify imported photo.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{SQUEEZENET} no.pth", "no.pth: it can't be opened (No such file or directory)"),
        (f"{SQUEEZENET} hostile.pth", "it has no tensor by name, but 'os system'"),
        (f"{SQUEEZENET} squeezenet.npz", "expected (1000, 512, 1, 1)"),
        (f"{SQUEEZENET} squeezenet.npz --classes 3 --mean 124,117,104", "Give --scale 255 if"),
        (
            f"{SQUEEZENET} squeezenet.npz --classes 3 --std 1,0,1",
            "--std is 1,0,1; they must be great",
        ),
        (f"{SQUEEZENET} squeezenet.npz --classes 3 --channels GBR", "--channels is 'GBR'; it is"),
        ("fetch squeeze", "published weights is 'squeeze'; it is one of alexnet, "),
        (f"{SQUEEZENET} a.npz --output notes.txt", "notes.txt exists and is no directory"),
        ("export absent --output a.npz", "absent has neither imported weights (no weights.json)"),
        ("export run --output a.npz", "a run without a backbone (model.name is 'autoencoder')"),
        ("export imported --output no/a.npz", "no/a.npz can't be written (No such file or direc"),
        ("classify absent a.jpg", "absent has no imported weights"),
        ("classify headless a.jpg", "can't classify: their import skipped head/conv/bias, head/co"),
        (f"{PHOTO} --labels no.txt", "no.txt can't be read as labels"),
        (f"{PHOTO} --labels notes.txt --size 32", "notes.txt has 1 lines, and the head of impor"),
        (f"{PHOTO} --size 0", "--size is 0; it must be at least 1"),
        (f"{PHOTO} --size 8", "images of 8x8 pixels leave"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(arguments, message, here, capsys):
    hostile = torch_.named("os", "system") + torch_.sequence(torch_.text("touch ran")) + b"R"
    torch_.write_zip(here / "hostile.pth", hostile, {})
    (here / "run").mkdir()
    (here / "run/config.json").write_text('{"model": {"name": "autoencoder"}}')
    shutil.copytree("imported", "headless")
    facts = here / "headless/weights.json"
    skipped = '"skipped": ["head/conv/bias", "head/conv/kernel"]'
    facts.write_text(facts.read_text().replace('"skipped": []', skipped))
    refused(capsys, here, message, *arguments.split())
