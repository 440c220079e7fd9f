"""`vocjax weights` as it is typed: what it prints, and each mistake as one message."""

import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch_files as torch_
from PIL import Image

from vocjax import cli
from vocjax.config import base_config, to_json
from vocjax.data.pipeline import resize_image
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.classify import classifier_of
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.matching import flatten, restore_names
from vocjax.pretrained.store import read_imported

SHELL = torch_.sequence(torch_.text("touch ran"))


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
    folder, network = tmp_path_factory.mktemp("home"), BACKBONES["squeezenet"](3)
    leaves, rng = flatten(shapes(network, (96, 96, 3))), np.random.default_rng(0)
    ours = {path: rng.random(leaf.shape, np.float32) for path, leaf in leaves.items()}
    names = SOURCES["squeezenet"]["torchvision"].key_map(network)
    write(folder / "squeezenet.npz", restore_names(ours, names))
    (folder / "notes.txt").write_text("no weights")
    arguments = ["--backbone", "squeezenet", f"{folder}/squeezenet.npz", "--classes", "3"]
    assert cli.main(["weights", "import", *arguments, "--output", f"{folder}/imported"]) == 0
    return folder


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """The working directory: the same files, to be written to."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", ["import", "export", "classify"])
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
        "pre-processing: RGB from 0 to 1, minus (0.485, 0.456, 0.406), times "
        "(4.36681, 4.46429, 4.44444)",
        "imported weights: out",
    ]
    assert len(taken) == len(read_imported(here / "out").arrays) == 38
    arguments[2] = "squeezenet.npz"
    code, out, _ = run(capsys, "import", *arguments, "--classes", 3, "--source", "torchvision")
    assert code == 0
    assert "squeezenet, head of 3 classes, from squeezenet.npz by torchvision's names" in out
    assert "skipped (drawn anew): nothing\nignored in the file: nothing\n" in out


def test_import_ignores_what_it_is_told_to(here, capsys):
    """Also where most of the file is of something else."""
    arrays = read(here / "squeezenet.npz")
    decoder = {f"decoder.{i}.weight": np.zeros(2, np.float32) for i in range(99)}
    own = {"classifier.1.0.weight": np.zeros(2, np.float32)}
    kept = {name: a for name, a in arrays.items() if not name.startswith("classifier")}
    write(here / "own.npz", kept | own | decoder)
    arguments = ["--backbone", "squeezenet", "own.npz", "--skip", "head", "--output", "out"]
    ignored = ["--ignore", "decoder.*", "--ignore", r"classifier\.1\.0\.weight"]
    code, out, err = run(capsys, "import", *arguments, *ignored)
    assert (code, err) == (0, "")
    assert "\nignored in the file: 100 arrays (decoder.0.weight, decoder.1.weight, deco" in out
    assert set(read_imported(here / "out").ignored) == {*own, *decoder}
    refused(capsys, here, "--ignore REGEX", "import", *arguments, *ignored[:2])


def test_what_follows_darknets_backbone_is_told(here, capsys):
    network = BACKBONES["tiny_darknet"](7)
    leaves = flatten(shapes(network, (224, 224, 3))).items()
    size = sum(leaf.size for path, leaf in leaves if path.startswith("backbone"))
    numbers = np.full(size + 7 * (128 + 1), 0.5, "<f4")
    (here / "a.weights").write_bytes(struct.pack("<3iq", 0, 2, 0, 0) + numbers.tobytes())
    arguments = ["--backbone", "tiny_darknet", "a.weights", "--output", "out"]
    code, out, err = run(capsys, "import", *arguments, "--skip", "head")
    assert (code, err) == (0, "")
    assert f", {size:,} numbers\nskipped (drawn anew): 2 arrays (head)" in out
    assert "\nignored in the file: 903 numbers at the end\n" in out
    assert read_imported(here / "out").ignored == ["903 numbers at the end"]


def test_export_says_what_it_did(here, capsys):
    code, out, err = run(capsys, "export", "imported", "--output", "out.safetensors")
    assert (code, err) == (0, "")
    numbers = read_imported(here / "imported").parameters
    assert out.splitlines() == [
        "squeezenet by torchvision's names",
        f"written: 52 arrays, {numbers:,} numbers",
        "pre-processing: RGB from 0 to 1, minus (0.485, 0.456, 0.406), times "
        "(4.36681, 4.46429, 4.44444)",
        "weights: out.safetensors",
    ]
    arguments = ["imported", "--source", "gluon", "--output", "out.npz"]
    assert run(capsys, "export", *arguments)[0] == 0
    assert "squeezenet0_conv0_weight" in read(here / "out.npz")


def test_classify_names_the_likeliest_classes_and_skips_what_is_no_photo(here, capsys):
    photo = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    Image.fromarray(photo).save(here / "photo.png")
    (here / "labels.txt").write_text("cat\ndog\nbird\n")
    small = {name: 0.07 * (array - 0.45) for name, array in read(here / "squeezenet.npz").items()}
    write(here / "small.npz", small)
    make = ["--backbone", "squeezenet", "small.npz", "--classes", "3", "--output", "imported"]
    assert run(capsys, "import", *make)[0] == 0
    arguments = ["imported", "photo.png", "notes.txt", "--size", "64"]
    code, out, err = run(capsys, "classify", *arguments, "--labels", "labels.txt")
    assert (code, err.startswith("notes.txt is skipped: the file can't be read")) == (1, True)
    told = [line.rsplit(" ", 1) for line in out.removeprefix("photo.png ").strip().split(", ")]
    image = resize_image(photo, 64, 3)[None].astype(np.float32) / 255
    (probability,) = classifier_of(here / "imported")(image)
    expected = zip(("cat", "dog", "bird"), probability, strict=True)
    assert dict(told) == {name: f"{value:.4f}" for name, value in expected}
    assert told[0][0] == ("cat", "dog", "bird")[probability.argmax()]
    assert probability.sum() == pytest.approx(1) and np.ptp(probability) > 0.01
    code, out, _ = run(capsys, "classify", "imported", "photo.png", "--size", "64")
    assert code == 0 and {part.split()[0] for part in out[10:].split(", ")} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent a.jpg", "absent holds no imported weights"),
        ("headless a.jpg", "can't classify: head/conv/bias, head/conv/kernel was skipped"),
        ("imported photo.png --labels no.txt", "no.txt can't be read as labels"),
        ("imported photo.png --labels notes.txt", "notes.txt has 1 lines, and the head of impor"),
        ("imported photo.png --size 0", "--size is 0; it must be at least 1"),
        ("imported photo.png --size 8", "images of 8x8 pixels leave"),
    ],
)
def test_mistakes_of_classify(arguments, message, here, capsys):
    Image.new("RGB", (40, 30)).save(here / "photo.png")
    make = ["--backbone", "squeezenet", "squeezenet.npz", "--skip", "head"]
    assert run(capsys, "import", *make, "--output", "headless")[0] == 0
    refused(capsys, here, message, "classify", *arguments.split())


def test_another_preprocessing_than_the_sources_is_noted(here, capsys):
    facts = here / "imported/weights.json"
    facts.write_text(facts.read_text().replace('"RGB"', '"BGR"'))
    code, out, _ = run(capsys, "export", "imported", "--output", "out.npz")
    assert code == 0
    assert "\npre-processing: BGR from 0 to 1, minus (0.485, 0.456" in out
    note = "note: that is not torchvision's own, which an import of the file would take: RGB from"
    assert f"\n{note} 0 to 1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--backbone squeezenet no.pth", "no.pth can't be opened (No such file or directory)"),
        ("--backbone squeezenet imported", "imported can't be opened (Is a directory)"),
        ("--backbone squeezenet notes.txt", "notes.txt begins with b'no weigh', as no weight"),
        ("--backbone squeezenet cut.npz", "cut.npz can't be read as a zip file of weights: Bad"),
        ("--backbone squeezenet hostile.pth", "its pickle asks for 'os system'"),
        ("--backbone squeeze squeezenet.npz", "no backbone 'squeeze'; it is one of alexnet, vgg1"),
        (
            "--backbone resnet50 squeezenet.npz",
            "Give --backbone the network that the file belongs to.",
        ),
        ("--backbone resnet50 squeezenet.npz --source keras", "52 left over in it:\n  features.0"),
        ("--backbone squeezenet squeezenet.npz --source tf", "no source of weights 'tf'; it is o"),
        ("--backbone squeezenet squeezenet.npz", "expected (1000, 512, 1, 1)"),
        ("--backbone squeezenet squeezenet.npz --classes 0", "the head has 0 classes; expected 1"),
        ("--backbone squeezenet squeezenet.npz --skip fc", "'fc', matches no parameter and no m"),
        ("--backbone squeezenet squeezenet.npz --skip (", "to skip, '(', is no regex"),
        (
            "--backbone squeezenet squeezenet.npz --skip .*",
            "--skip .* leaves nothing of the back",
        ),
        (
            "--backbone squeezenet squeezenet.npz --classes 3 --skip backbone/fire.* "
            "--skip backbone/conv1",
            "--skip backbone/fire.* --skip backbone/conv1 leaves nothing of the backbone to sq",
        ),
        ("--backbone squeezenet squeezenet.npz --ignore fc", "'fc', match no whole name in the"),
        ("--backbone squeezenet squeezenet.npz --ignore (", "names to ignore, '(', are no regex"),
    ],
)
def test_mistakes_of_import_leave_nothing(arguments, message, here, capsys):
    (here / "cut.npz").write_bytes((here / "squeezenet.npz").read_bytes()[:-1000])
    hostile = torch_.named("os", "system") + SHELL + b"R"
    torch_.write_zip(here / "hostile.pth", hostile, {"0": np.zeros(6, "<f4")})
    refused(capsys, here, message, "import", *arguments.split(), "--output", "out")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("notes.txt", "notes.txt exists and is no directory; give another --output."),
        (".", "holds something else than imported weights (imported, notes.txt, squeezenet"),
        ("notes.txt/out", "notes.txt/out can't be written (File exists). Give an --output in"),
    ],
)
def test_where_nothing_can_be_imported_to(output, message, here, capsys):
    arguments = ["--backbone", "squeezenet", "squeezenet.npz", "--classes", "3"]
    refused(capsys, here, message, "import", *arguments, "--output", output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent --output a.npz", "absent holds neither imported weights (no weights.json) nor a"),
        ("run --output a.npz", "run is a run without a backbone (model.name is 'autoencoder')"),
        ("broken --output a.npz", "the imported weights in broken are damaged (BadZipFile: "),
        ("imported --output a.npz --source keras", "no source of weights 'keras'; it is one of t"),
        ("imported --output a.h5", "a.h5 ends in '.h5', and weights are written to .npz or .safe"),
        ("imported --output no/a.npz", "no/a.npz can't be written (No such file or directory)"),
    ],
)
def test_mistakes_of_export_leave_nothing(arguments, message, here, capsys):
    config = base_config()
    config.model.name = "autoencoder"
    (here / "run").mkdir()
    (here / "run/config.json").write_text(to_json(config))
    shutil.copytree(here / "imported", here / "broken")
    (here / "broken/weights.npz").write_bytes(b"PK\3\4")
    refused(capsys, here, message, "export", *arguments.split())


def refused(capsys, here, message, *arguments):
    """The message is all that comes of it."""
    before = {path: path.is_file() and path.read_bytes() for path in here.rglob("*")}
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("vocjax: ")
    assert message in err
    assert {path: path.is_file() and path.read_bytes() for path in here.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: VERB"),
        ("import a.npz --output o", "the following arguments are required: --backbone"),
        ("import --backbone vgg16 --output o", "the following arguments are required: FILE"),
        ("import --backbone vgg16 a.npz", "the following arguments are required: --output"),
        ("import --backbone vgg16 a.npz --output o --classes ten", "invalid int value: 'ten'"),
        ("import a.npz --backbone vgg16 --output o --force", "unknown argument '--force'; see `vo"),
        ("export --output a.npz", "the following arguments are required: DIR"),
        ("export imported", "the following arguments are required: --output"),
    ],
)
def test_flags_that_do_not_parse(arguments, message, capsys):
    code, out, err = run(capsys, *arguments.split())
    assert (code, out) == (2, "")
    assert message in err


def test_help_names_every_backbone_and_source(capsys):
    _, out, _ = run(capsys, "import", "--help")
    words = set(re.findall(r"\w+", out))
    assert set(BACKBONES) <= words
    assert {source for sources in SOURCES.values() for source in sources} <= words


def test_python_m_vocjax_prints_no_traceback(here):
    typed = ["weights", "import", "--backbone", "vgg16", "squeezenet.npz", "--output", "out"]
    process = subprocess.run(
        [sys.executable, "-m", "vocjax", *typed], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("vocjax: the names of the file's arrays come from no source")
    assert "Traceback" not in process.stderr
    assert not Path("out").exists()
