"""The kinds of files and requests that a stranger can send: sound ones to begin with, and readers.

Each kind is a function that returns (sound contents, a reader). A reader takes the path of a file
with a changed content; it may raise `UserError`, and nothing else.
"""

import io
import json
import socket
import struct
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path += [str(Path(__file__).parent / name) for name in ("explorer", "pretrained")]

Reader = Callable[[Path], object]
Kind = tuple[Sequence[bytes], Reader]


def images() -> Kind:
    """Photos in the formats that are read, as `predict` and `data prepare` open them."""
    from vocjax.data import photo

    rng, contents = np.random.default_rng(0), []
    pixels = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    palette = Image.fromarray(rng.integers(0, 21, (24, 32), np.uint8), "L").convert("P")
    exif = Image.Exif()
    exif[0x0112] = 6
    for picture, kind, options in (
        (pixels, "JPEG", {"exif": exif}),
        (pixels, "JPEG", {"progressive": True}),
        (pixels, "PNG", {}),
        (palette, "PNG", {}),
        (palette, "GIF", {}),
        (pixels, "TIFF", {}),
        (pixels, "TIFF", {"compression": "tiff_lzw"}),
        (pixels, "BMP", {}),
        (pixels, "WEBP", {}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        contents.append(file.getvalue())

    def read(path: Path) -> None:
        with path.open("rb") as file:
            found = photo.is_image(file.read(photo.HEAD))
        stored, _ = photo.stored_image(photo.image_bytes(path), path)
        photo.stored_pixels(stored, 3)
        assert found, "it is read, and was told to be no image"
        photo.read_photo(path)

    return contents, read


def annotations() -> Kind:
    """XML as VOC and LabelImg write it, in several encodings."""
    from vocjax.data.layouts.annotations import read_objects

    inner = "<annotation><filename>a.jpg</filename><object><name>{}</name><difficult>0</difficult>"
    inner += "<bndbox><xmin>1</xmin></bndbox></object></annotation>"
    contents = [
        inner.format("dog").encode(),
        (b"\xff\xfe" + inner.format("dog").encode("utf-16le")),
    ]
    for encoding, name in (("gb2312", "狗"), ("shift_jis", "犬"), ("latin-1", "chien")):
        head = f'<?xml version="1.0" encoding="{encoding}"?>'
        contents.append((head + inner.format(name)).encode(encoding))
    contents.append(b"<!DOCTYPE a>" + inner.format("&amp;").encode())
    return contents, read_objects


def lists() -> Kind:
    """Text files with image names, and files of class names and colours."""
    from vocjax.data.layouts import names, text

    contents = [b"a 1\nb -1\nc  0\n", "a.jpg\nb.jpg\n".encode("utf-16"), b"dog\ncat\n"]
    contents += [b"background:0,0,0::\ndog:1,2,3::\n", b"name,r,g,b\ndog,1,2,3\n"]

    def read(path: Path) -> None:
        for line in text.read_lines(path):
            text.image_id(line[1], path.parent, "it")
        labels = path.with_name("classes.txt")
        labels.write_bytes(path.read_bytes())
        names.find((), [labels.parent])

    return contents, read


def archives() -> Kind:
    """Tar files of a devkit."""
    from vocjax.data.download import unpack

    contents = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for name in ("VOCdevkit/VOC2009/JPEGImages/a.jpg", "VOCdevkit/VOC2009/ImageSets/ä.txt"):
                info = tarfile.TarInfo(name)
                info.size = 5
                tar.addfile(info, io.BytesIO(b"abcde"))
        contents.append(file.getvalue())

    def read(path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            unpack(path, Path(folder))

    return contents, read


def weights() -> Kind:
    """Weight files of every format."""
    import h5py
    import torch_files as torch_

    from vocjax.pretrained import formats

    six, contents = np.arange(6, dtype="<f4"), []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("a.npz", "a.safetensors"):
            formats.write(home / name, {"conv/kernel": six.reshape(2, 3), "conv/bias": six})
        for write, name in ((torch_.write_zip, "zip.pth"), (torch_.write_legacy, "legacy.pth")):
            write(home / name, torch_.ordered({"conv.weight": torch_.tensor()}), {"0": six})
        with h5py.File(home / "a.h5", "w") as file:
            file.attrs["layer_names"] = ["conv"]
            group = file.create_group("conv")
            group.attrs["weight_names"] = ["kernel:0"]
            group.create_dataset("kernel:0", data=six, chunks=(3,), compression="gzip")
        darknet = struct.pack("<iiiq", 0, 2, 0, 32) + six.tobytes()
        (home / "a.weights").write_bytes(darknet)
        contents = [path.read_bytes() for path in sorted(home.iterdir())]
    return contents, formats.read


def runs() -> Kind:
    """The files of a run directory: config, provenance, results, metrics and arrays."""
    from vocjax.config import load_config, to_json
    from vocjax.runs import reader

    config = to_json(load_config("classifier_256")).encode()
    results = {"epoch": 1, "step": 2, "seconds": 1.5, "train": {"loss": 1.0}, "val": {"loss": 2.0}}
    line = json.dumps({"epoch": 1, "step": 2, "seconds": 1.0, "train": {}, "val": {}})
    arrays = io.BytesIO()
    np.savez_compressed(arrays, ids=np.array(["a", "b"]), scores=np.eye(2))
    run_json = json.dumps({"dataset": {"name": "toy"}, "versions": {"jax": "0"}, "starts": []})
    bodies = [config, json.dumps(results).encode(), run_json.encode(), (line + "\n").encode() * 2]
    bodies.append(arrays.getvalue())
    names = ["config.json", "results.json", "run.json", "metrics.jsonl", "samples.npz"]
    # The first byte of a content says which file it is, so that it stays with it.
    contents = [bytes([i]) + body for i, body in enumerate(bodies)]

    def read(path: Path) -> None:
        content, run = path.read_bytes(), path.parent / "run"
        run.mkdir(exist_ok=True)
        for name, body in zip(names, bodies, strict=True):
            (run / name).write_bytes(body)
        if content:
            (run / names[content[0] % len(names)]).write_bytes(content[1:])
        found = reader.read_run(run)
        assert (found.name, found.task, found.data, found.outcome, found.device) is not None
        reader.read_config(run)

    return contents, read


def prepared() -> Kind:
    """The files of a prepared data set, as `train` opens them."""
    import shutil
    from functools import partial
    from unittest import mock

    from vocjax.data import toy, voc

    home = Path(tempfile.mkdtemp(prefix="fuzz-prepared-"))
    small = partial(toy.write_devkit, images=(2, 2), segmentation=(1, 1))
    with mock.patch.object(toy, "write_devkit", small):
        directory = voc.prepare("toy", home).directory
    files = sorted(path for path in directory.iterdir() if path.is_file())
    bodies = [path.read_bytes() for path in files]
    shutil.rmtree(home)
    contents = [bytes([i]) + body for i, body in enumerate(bodies)]

    def read(path: Path) -> None:
        content, folder = path.read_bytes(), path.parent / directory.relative_to(home)
        folder.mkdir(parents=True, exist_ok=True)
        for file, body in zip(files, bodies, strict=True):
            (folder / file.name).write_bytes(body)
        if content:
            (folder / files[content[0] % len(files)].name).write_bytes(content[1:])
        voc.load("toy", path.parent)

    return contents, read


def configs() -> Kind:
    """Overrides of a config, as a command line has them, up to the checks before a run."""
    from vocjax.config import load_config
    from vocjax.training.loop import completed
    from vocjax.training.validate import validate

    lines = [
        "classifier_256\n--config.model.encoder=(8,4)\n--config.optimizer.learning_rate=1e-3",
        "autoencoder_256\n--config.data.size=32\n--config.model.decoder=(8,4,4,4)",
        "segmentation_unet\n--config.data.classes=dog,cat\n--config.model.norm_statistics=keras",
        "pca\n--config.model.components=16\n--config.batch_size=4",
        "classifier_head_first\n--config.optimizer.phases=((0,(('encoder/.*',0.0),)),)",
    ]

    def read(path: Path) -> None:
        name, *overrides = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        # Where a config is a file of Python, running it is what was asked for.
        config = load_config(name if "/" not in name else "pca", overrides)
        validate(completed(config, path.parent / "new"))

    return [line.encode() for line in lines], read


def requests() -> Kind:
    """Requests to the explorer's server; an answer of 500, or none to the next one, is a fault."""
    from small_space import SIZE, make_space

    from vocjax.errors import UserError
    from vocjax.explorer.explore import make_server

    server = make_server(make_space(), size=SIZE, channels=3, title="", port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point = json.dumps({"coordinates": [0.5] * 16, "residual": [0.0] * 20}).encode()
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    host = f"Host: localhost:{server.server_port}".encode()
    bodies = {route: b"" for route in server.routes if route.startswith("GET")}
    for route in server.routes.keys() - bodies.keys():
        bodies[route] = png.getvalue() if "encode" in route else point
    contents = [
        b"%s HTTP/1.0\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (r.encode(), host, len(b), b)
        for r, b in sorted(bodies.items())
    ]

    def ask(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            parts = iter(lambda: connection.recv(65536), b"")
            return b"".join(parts)

    def read(path: Path) -> None:
        try:
            answer = ask(path.read_bytes())
        except ConnectionError:
            answer = b""
        sound = ask(contents[0])
        assert b" 200 " in sound.split(b"\r\n")[0], "the server no longer answers"
        status = answer.split(b"\r\n")[0]
        assert b" 500 " not in status, answer[-300:]
        if b" 200 " not in status:
            raise UserError("refused")

    return contents, read


KINDS: dict[str, Callable[[], Any]] = {
    "images": images,
    "annotations": annotations,
    "lists": lists,
    "archives": archives,
    "weights": weights,
    "runs": runs,
    "prepared": prepared,
    "configs": configs,
    "requests": requests,
}
