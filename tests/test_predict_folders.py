"""What `vocjax predict` makes of folders, odd names, damaged files and what was there before."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from vocjax import cli
from vocjax.data.folder import find_images, is_image
from vocjax.data.pictures import picture_names, save
from vocjax.errors import UserError
from vocjax.files import printable
from vocjax.predict import Model, predict

RUN, JSON = "segmentation_dice", "predictions.json"
BYTES = os.fsdecode(b"caf\xe9")  # Latin-1, as in a zip file from Windows


def draw(path, colour=90):
    Image.new("RGB", (9, 8), (colour, 40, 200)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two images among the files that cameras, tools and systems put beside them."""
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    draw(photos / "more" / "img0.jpg")
    for name in ("img0.jpg", "img1.jpg"):
        draw(photos / name)
    for name, content in {
        "img0.json": b"{}",
        "img1.xml": b"<annotation/>",
        "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        ".DS_Store": b"\0\0\0\1Bud1",
        "._img0.jpg": b"\0\5\x16\7\0\2\0\0Mac OS X",
        "README.txt": b"BMI and age of each person",
        "img0.CR2": b"II*\0\x10\0\0\0CR\2\0",
        "empty": b"",
    }.items():
        (photos / name).write_bytes(content)
    return photos


def said(output):
    return json.loads((output / "predictions.json").read_text())


def test_what_is_no_image_is_passed_over_and_counted(finished_run, folder, tmp_path, capsys):
    line = ["predict", "--workdir", str(finished_run(RUN)), str(folder), "--output"]
    assert cli.main([*line, str(tmp_path / "out")]) == 0
    assert list(said(tmp_path / "out")) == [str(folder / name) for name in ("img0.jpg", "img1.jpg")]
    printed = capsys.readouterr()
    assert "files that are no images, and were passed over: 8\n" in printed.out
    assert f"folders in folders, which are not entered: {folder / 'more'}\n" in printed.out
    assert "json" not in printed.err


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_image_of_every_format_is_known_by_its_content_or_its_name(format, tmp_path):
    name = f"noname.{format.lower()}" if format == "TIFF" else "noname"
    Image.new("RGB", (3, 2)).save(tmp_path / name, format)
    (tmp_path / f"cut.{format.lower()}").write_bytes(b"")
    assert is_image(tmp_path / name) and is_image(tmp_path / f"cut.{format.lower()}")


def test_damaged_images_are_named_and_the_others_predicted(finished_run, folder, tmp_path, capsys):
    cut, zeros, lost = (folder / name for name in ("cut.jpg", "zeros.jpg", "lost.png"))
    cut.write_bytes((folder / "img0.jpg").read_bytes()[:300])
    zeros.write_bytes(bytes(100))
    lost.symlink_to(tmp_path / "gone.png")
    loop = folder / "loop.jpg"
    loop.symlink_to(loop)
    text, missing = folder / "README.txt", tmp_path / "missing.jpg"  # given by name
    line = ["predict", "--workdir", str(finished_run(RUN)), str(folder), str(text), str(missing)]
    assert cli.main([*line, "--output", str(tmp_path / "out")]) == 1
    assert list(said(tmp_path / "out")) == [str(folder / name) for name in ("img0.jpg", "img1.jpg")]
    errors = capsys.readouterr().err
    for path in (cut, zeros, lost, loop, text, missing):
        assert f"{path} is skipped: the file can't be " in errors
    assert "vocjax: 6 of 8 images could not be read: " in errors


def test_names_that_utf8_cannot_say_are_escaped(finished_run, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    long = "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 83  # 249 bytes
    names = (f"{BYTES}.jpg", "two\nlines.jpg", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n.jpg")
    for name in (*names, f"{long}.jpg", r"caf\xe9.jpg"):
        draw(photos / name)
    (photos / f"{BYTES}.png").write_bytes(b"")
    line = ["predict", "--workdir", str(finished_run(RUN)), str(photos), "--output"]
    assert cli.main([*line, str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert f"{photos}/caf\\xe9.jpg background" in printed.out
    assert f"{photos}/two\\nlines.jpg background" in printed.out
    assert f"{photos}/caf\\xe9.png is skipped" in printed.err
    keys = [r"caf\xe9.jpg", r"caf\\xe9.jpg", r"two\nlines.jpg", names[2], f"{long}.jpg"]
    assert set(said(tmp_path / "out")) == {f"{photos}/{key}" for key in keys}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {r"caf\xe9.jpg.png", r"two\nlines.png", "gr\xfcn_mask.png"} <= written
    assert len(written) == 2 * 5 + 1


def test_stdout_may_have_any_encoding(finished_run, tmp_path, monkeypatch):
    photo = draw(tmp_path / "gr\xfcn.jpg")
    with (tmp_path / "stdout").open("w", encoding="ascii") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        line = ["predict", "--workdir", str(finished_run(RUN)), str(photo), "--output"]
        assert cli.main([*line, str(tmp_path / "out")]) == 0
    assert r"gr\xfcn.jpg background" in (tmp_path / "stdout").read_text()


def names(*paths, output=Path("nowhere")):
    return list(picture_names([Path(p) for p in paths], output).values())


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("f/a.jpg", "f/b.jpg"), ["a", "b"]),
        (("f/a.jpg", "f/a.png", "f/b.png"), ["a.jpg", "a.png", "b"]),
        (("f/a.jpg", "f/a_mask.png"), ["a.jpg", "a_mask.png"]),
        (("f/a.jpg", "/g/a.jpg"), ["f_a.jpg", "g_a.jpg"]),
        (("a.jpg", "a.jpg.bmp"), ["a", "a.jpg.bmp"]),
    ],
)
def test_pictures_have_names_of_their_own(paths, expected):
    assert names(*paths) == expected


def test_only_the_same_image_replaces_a_picture(tmp_path):
    save(Image.new("RGB", (2, 2)), tmp_path / "a.png", Path("f/a.jpg"))
    assert names("f/a.png", output=tmp_path) == ["a.png"]
    assert names("g/a.jpg", output=tmp_path) == ["a.jpg"]
    assert names("f/a.jpg", output=tmp_path) == names("f/../f/a.jpg", output=tmp_path) == ["a"]
    assert names("f/a.jpg", "f/a.png", output=tmp_path) == ["a", "a.png"]


def test_no_file_of_the_users_is_replaced(finished_run, tmp_path):
    photo, other = draw(tmp_path / "photo.jpg"), draw(tmp_path / "photo.png", 200)
    (tmp_path / "photo.jpg.png").mkdir()
    (tmp_path / f"{tmp_path.name}_photo.jpg_mask.png").symlink_to("gone")
    before = other.read_bytes()
    for _ in range(2):
        predict(finished_run(RUN), [photo], tmp_path)
        assert other.read_bytes() == before
        assert len(list(tmp_path.glob("*_mask.png"))) == 2
    assert list(said(tmp_path)) == [str(photo)]


def test_the_same_image_is_the_same_however_it_is_written(
    finished_run, folder, tmp_path, monkeypatch
):
    output = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    predict(finished_run(RUN), [Path("photos")], output)
    written = sorted(output.iterdir())
    monkeypatch.chdir(folder)
    given = [Path("img1.jpg"), Path("../photos/img1.jpg"), folder, tmp_path / "link"]
    done = predict(finished_run(RUN), given, Path("../out"))
    assert done.images == [Path("img1.jpg"), folder / "img0.jpg"]
    assert (done.others, done.folders) == (8, [folder / "more"])
    assert sorted(output.iterdir()) == written
    assert list(said(output)) == [str(folder / name) for name in ("img0.jpg", "img1.jpg")]


def test_what_was_predicted_before_is_kept(finished_run, folder, tmp_path):
    output = tmp_path / "out"
    predict(finished_run(RUN), [folder / "img0.jpg"], output)
    first = said(output)
    other = draw(tmp_path / "img0.png", 200)
    predict(finished_run(RUN), [other, folder / "img1.jpg"], output)
    assert list(said(output)) == [str(folder / "img0.jpg"), str(other), str(folder / "img1.jpg")]
    assert first.items() <= said(output).items()
    assert {"img0.png", "img0.png.png", "img1.png"} <= {p.name for p in output.iterdir()}
    (output / "predictions.json").write_text("[1")
    with pytest.raises(UserError, match=r"predictions.json can't be read: .* move it away"):
        predict(finished_run(RUN), [other], output)
    assert (output / "predictions.json").read_text() == "[1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_an_interruption_keeps_what_was_done(finished_run, folder, tmp_path, monkeypatch, number):
    describe, output = Model.describe, tmp_path / "out"

    def interrupted(self, photos):
        yield next(describe(self, photos))
        signal.raise_signal(number)

    monkeypatch.setattr(Model, "describe", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    line = ["predict", "--workdir", str(finished_run(RUN)), str(folder), "--output", str(output)]
    assert cli.main(line) == 128 + number
    assert signal.getsignal(signal.SIGTERM) == before
    assert list(said(output)) == [str(folder / "img0.jpg")]
    assert sorted(path.name for path in output.iterdir()) == ["img0.png", "img0_mask.png", JSON]


def test_files_and_folders_that_do_not_serve_are_named(finished_run, folder, tmp_path):
    run, none, file = finished_run(RUN), tmp_path / "none", tmp_path / "file"
    (none / "inside").mkdir(parents=True)
    file.write_text("no image")
    grey = draw(tmp_path / "grey.png")
    for arguments, message in (
        (
            (run, [none], tmp_path / "out"),
            r"no image in .*none \(other files: 0; folders, .*: 1\)",
        ),
        ((run, [grey], file), r"nothing can be written in .*file"),
        ((none, [grey], tmp_path / "out"), r"holds no run \(no config.json\)"),
        ((run, [folder], folder), r"photos is also a folder of images to read"),
    ):
        with pytest.raises(UserError, match=message):
            predict(*arguments)
    done = predict(run, [tmp_path / "missing.jpg"], tmp_path / "out")
    assert done.unreadable == done.images
    assert not (tmp_path / "out").exists()


def test_paths_that_differ_read_differently():
    same = (r"caf\xe9", BYTES, "two\nlines", r"two\nlines", "\x85", os.fsdecode(b"\x85"), r"a\\xe9")
    assert len({printable(name) for name in same}) == len(same)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_file_that_cannot_be_written_is_named(finished_run, folder, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    (output / "img1.png.part").symlink_to("/dev/full")
    line = ["predict", "--workdir", str(finished_run(RUN)), str(folder), "--output", str(output)]
    assert cli.main(line) == 1
    error = capsys.readouterr().err
    assert f"vocjax: {output}/img1.png can't be read or written: No space left on device." in error
    assert list(said(output)) == [str(folder / "img0.jpg")]
    assert sorted(p.name for p in output.glob("*")) == ["img0.png", "img0_mask.png", JSON]


def test_a_file_given_twice_is_one_image(folder):
    image, text = folder / "img0.jpg", folder / "README.txt"
    assert find_images([image, image]).images == [image]
    found = find_images([folder, text, image])  # what is given by name is taken for an image
    assert found.images == sorted([text, image, folder / "img1.jpg"])
    assert found.others == 7
