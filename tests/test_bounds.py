"""Files that would cost more than they weigh are refused before the work is done."""

import io
import json
import logging
import resource
import struct
import zipfile
import zlib

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from vocjax import bounds
from vocjax.data import photo
from vocjax.data.layouts.annotations import read_objects
from vocjax.errors import UserError
from vocjax.mesh import make_mesh, replicated
from vocjax.pretrained.formats import read
from vocjax.runs.checkpoints import Checkpoints, abstract, check_room
from vocjax.runs.reader import read_arrays, read_json


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_an_hdf5_chunk_inflates_to_what_it_holds(tmp_path):
    for name, length in (("sound", 24), ("bomb", 1 << 26)):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs["layer_names"] = ["conv"]
            group = file.create_group("conv")
            group.attrs["weight_names"] = ["kernel:0"]
            numbers = group.create_dataset("kernel:0", (6,), "f4", chunks=(6,), compression="gzip")
            numbers.id.write_direct_chunk((0,), zlib.compress(bytes(length)))
    np.testing.assert_array_equal(read(tmp_path / "sound")["conv/kernel"], np.zeros(6))
    with pytest.raises(UserError, match="inflates to more than its 24 bytes"):
        read(tmp_path / "bomb")


def test_links_of_hdf5_that_lead_to_the_same_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("vocjax.pretrained.formats.keras_h5.PARTS", 200)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("layers")
        for _ in range(40):  # 2 ** 40 ways
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    with pytest.raises(UserError, match="more than 200 groups"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("shape", [b"9" * 4000, b"1," * 40 + b"1", b"true", b"-1", b"1e400"])
def test_a_shape_that_no_array_has(tmp_path, shape):
    header = b'{"a":{"dtype":"F32","shape":[' + shape + b'],"data_offsets":[0,24]}}'
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    with pytest.raises(UserError, match="'a' has"):
        read(tmp_path / "a")


def test_json_that_is_nested_or_too_long(tmp_path, monkeypatch):
    usual = bounds.read_bytes
    for text in ("[" * 100_000, '{"a":' * 65 + "1" + "}" * 65):
        (tmp_path / "deep.json").write_text(text)
        with pytest.raises(UserError, match="nested too deep"):
            read_json(tmp_path / "deep.json")
    (tmp_path / "deep.json").write_text('{"a":' * 63 + "1" + "}" * 63)
    assert read_json(tmp_path / "deep.json")
    monkeypatch.setattr(bounds, "read_bytes", lambda path, most: usual(path, 100))
    (tmp_path / "long.json").write_text(json.dumps({"a": "b" * 100}))
    with pytest.raises(UserError, match=r"long\.json.*more than 100 bytes"):
        read_json(tmp_path / "long.json")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_run_has_no_arrays_of_other_methods(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "samples.npz", "w", method) as archive:
        archive.writestr("a.npy", bytes(1000))
    with pytest.raises(UserError, match=r"samples\.npz.*compressed by method"):
        read_arrays(tmp_path / "samples.npz")


def test_a_runs_arrays_take_no_more_than_announced(tmp_path, monkeypatch):
    arrays = {"val/ids": np.array(["a", "b"]), "val/mask": np.zeros((8, 400, 400), np.uint8)}
    np.savez_compressed(tmp_path / "samples.npz", **arrays)  # a mask of one colour
    assert read_arrays(tmp_path / "samples.npz").keys() == arrays.keys()
    monkeypatch.setattr(bounds, "ARRAYS", 1 << 20)
    with pytest.raises(UserError, match="announces arrays of"):
        read_arrays(tmp_path / "samples.npz")


def test_scans_of_a_jpeg_are_counted():
    content = encoded(Image.new("L", (64, 64)), "JPEG", progressive=True)
    assert photo.stored_pixels(content, 3).shape == (64, 64, 3)
    first = content.index(b"\xff\xda")
    second = content.index(b"\xff\xc4", first) if b"\xff\xc4" in content[first:] else -2
    scan = content[first:second]
    with pytest.raises(UserError, match="too long to decode"):
        photo.stored_pixels(content[:second] + 100 * scan + content[second:], 3)


def test_what_only_looks_like_scans_is_not_counted(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    noise[:, ::2] = (255, 0xDA, 0)
    plain, jpeg = Image.fromarray(noise), encoded(Image.fromarray(noise), "JPEG")
    (tmp_path / "plain.tif").write_bytes(encoded(plain, "TIFF"))
    (tmp_path / "packed.tif").write_bytes(encoded(plain, "TIFF", compression="jpeg"))
    (tmp_path / "motion.jpg").write_bytes(jpeg + 200 * b"\xff\xda\0\x08film")
    assert np.array_equal(photo.read_photo(tmp_path / "plain.tif"), noise)
    for name in ("packed.tif", "motion.jpg"):
        assert photo.read_photo(tmp_path / name).shape == noise.shape


def test_tiles_of_a_tiff_are_no_larger_than_an_image(tmp_path):
    def write(rows):
        packed = zlib.compress(bytes(16 * 16))
        tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 16, 323: rows}
        tags |= {324: 8, 325: len(packed)}
        entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
        directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        head = b"II*\0" + struct.pack("<I", 8 + len(packed))
        (tmp_path / "a.tif").write_bytes(head + packed + directory)
        return tmp_path / "a.tif"

    assert photo.read_photo(write(16)).shape == (16, 16, 3)
    with pytest.raises(UserError, match="tiles of 2147483392 numbers in all, expected"):
        photo.read_photo(write(134_217_712))


def test_strips_of_a_tiff_are_not_the_same_bytes(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(
        encoded(Image.new("L", (64, 64)), "TIFF", compression="tiff_lzw", strip_size=64)
    )
    assert photo.read_photo(path).shape == (64, 64, 3)
    content = bytearray(path.read_bytes())
    with Image.open(path) as picture:
        counts = picture.tag_v2[279]
    packed = struct.pack(f"<{len(counts)}H", *counts)
    place = content.index(packed)
    content[place : place + len(packed)] = struct.pack(
        f"<{len(counts)}H", *[len(content)] * len(counts)
    )
    path.write_bytes(content)
    with pytest.raises(UserError, match="too long to decode"):
        photo.read_photo(path)


@pytest.mark.parametrize("encoding", ["gb2312", "big5", "Shift_JIS", "EUC-KR", "utf-16"])
def test_annotations_in_encodings_of_several_bytes(tmp_path, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><a><object><name>人</name></object></a>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    assert read_objects(tmp_path / "a.xml") == {"人": False}


@pytest.mark.parametrize("encoding", ["utf-7", "rot13", "nope"])
def test_other_encodings_are_refused_by_name(tmp_path, encoding):
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>')
    with pytest.raises(UserError, match=encoding):
        read_objects(tmp_path / "a.xml")


def test_a_checkpoint_that_can_not_be_written(tmp_path, caplog):
    config = ConfigDict({"best": {"metric": "loss", "mode": "min"}, "model": {}})
    state = {"x": jnp.asarray(np.random.default_rng(0).normal(size=1 << 16))}
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(1, state, {"loss": 1.0})
        checkpoints.wait()
    with (
        pytest.raises(UserError, match=r"can't be written in .*step 1 is whole; make room"),
        caplog.at_level(logging.ERROR),
        Checkpoints(tmp_path, config) as checkpoints,
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, most[1]))
        try:
            checkpoints.save(2, state, {"loss": 0.5})
            checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert not caplog.records
    with Checkpoints(tmp_path, config) as checkpoints:
        assert checkpoints.last_step == 1
        restored = checkpoints.restore(1, abstract(state, replicated(make_mesh())))
    np.testing.assert_array_equal(restored["x"], state["x"])


def test_the_room_for_checkpoints_is_known_before(tmp_path, monkeypatch):
    state = {"x": np.zeros(500_000, np.float32)}
    assert "takes 2.00 MB" in check_room(tmp_path, state)
    free = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    with pytest.raises(UserError, match=r"need 6\.00 MB in .*5\.00 MB are free"):
        check_room(tmp_path, state)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_annotation_declares_no_entity_and_is_small(tmp_path, encoding):
    text = '<!DOCTYPE a [<!ENTITY b "dog">]><a><object><name>&b;</name></object></a>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match=r"a\.xml isn't valid XML .*declares an entity"):
        read_objects(tmp_path / "a.xml")
    (tmp_path / "a.xml").write_bytes(b"<a>" + b" " * bounds.ANNOTATION + b"</a>")
    with pytest.raises(UserError, match=r"a\.xml isn't valid XML .*more than 1048576 bytes"):
        read_objects(tmp_path / "a.xml")
