"""Weight files are recognised by content, read as others wrote them; ours are read back."""

import struct
import zipfile

import numpy as np
import pytest
import torch_files as torch_
from drawn_weights import same

from vocjax.errors import UserError
from vocjax.pretrained.formats import darknet, read, write

RNG = np.random.default_rng(0)
SIX = np.arange(6, dtype="<f4")
ARRAYS = {
    "conv1/kernel": RNG.standard_normal((3, 3, 2, 4), np.float32),
    "file": RNG.standard_normal((5, 4), np.float32).T,  # not contiguous
    "count": np.float32(7).reshape(()),
}


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_what_is_written_is_read_back(tmp_path, ending):
    path = tmp_path / f"weights{ending}"
    write(path, ARRAYS)
    same(read(path), ARRAYS)
    assert list(tmp_path.iterdir()) == [path]


def test_npz_is_numpys(tmp_path):
    write(tmp_path / "weights.npz", ARRAYS)
    with np.load(tmp_path / "weights.npz") as arrays:
        same(dict(arrays), ARRAYS)
    large = np.asarray([1e300, -1e300, 0.5])
    np.savez_compressed(tmp_path / "weights.npz", a=SIX.astype("f8"), b=np.arange(3), c=large)
    float32 = np.asarray([np.inf, -np.inf, 0.5], np.float32)
    same(read(tmp_path / "weights.npz"), {"a": SIX, "b": np.arange(3), "c": float32})


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("F32", np.asarray([1.5, -2], "<f4")),
        ("F16", np.asarray([1.5, -2], "<f2")),
        ("F64", np.asarray([1.5, -2], "<f8")),
        ("BF16", np.asarray([0x3FC0, 0xC000], "<u2")),  # 1.5 and -2
    ],
)
def test_safetensors_of_every_precision(tmp_path, dtype, data):
    header = b'{"a":{"dtype":"%s","shape":[2,1],"data_offsets":[0,%d]},"__metadata__":{"b":"c"}}'
    header %= (dtype.encode(), data.nbytes)
    path = tmp_path / "weights"
    path.write_bytes(struct.pack("<Q", len(header)) + header + data.tobytes())
    same(read(path), {"a": np.asarray([[1.5], [-2]], np.float32)})


@pytest.mark.parametrize("write_", [torch_.write_zip, torch_.write_legacy])
def test_a_state_dict_is_read(tmp_path, write_):
    transposed = torch_.tensor((2, 2), (1, 3), 1, torch_.storage(key="1"))
    half = torch_.tensor((3,), (1,), 0, torch_.storage("BFloat16", "2", 3))
    parameter = torch_.call(
        torch_.named("torch._utils", "_rebuild_parameter"), half, b"\x89", torch_.EMPTY
    )
    long = torch_.tensor((), (), 0, torch_.storage("Long", "3", 1))
    tensors = {"conv.weight": torch_.tensor(), "t": transposed, "p": parameter, "n": long}
    of_bfloat16 = np.asarray([0x3FC0, 0xC000, 0], "<u2")
    storages = {"0": SIX, "1": 10 + SIX, "2": of_bfloat16, "3": np.asarray([9])}
    expected = {
        "conv.weight": SIX.reshape(2, 3),
        "t": np.asarray([[11, 14], [12, 15]], np.float32),
        "p": np.asarray([1.5, -2, 0], np.float32),
        "n": np.asarray(9),
    }
    same(read(write_(tmp_path / "weights", torch_.ordered(tensors), storages)), expected)


def test_a_state_dict_of_python_2_is_read(tmp_path):
    def old(value):
        return b"U" + bytes([len(value)]) + value.encode()

    pair = b"](" + old("a") + torch_.tensor() + b"e"
    state = torch_.call(torch_.named("collections", "OrderedDict"), b"](" + pair + b"e")
    read_back = read(torch_.write_legacy(tmp_path / "weights", state, {"0": SIX}))
    same(read_back, {"a": SIX.reshape(2, 3)})


@pytest.mark.parametrize(
    "header", [struct.pack("<3iI", 0, 1, 0, 4000000000), struct.pack("<3iQ", 0, 2, 5, 1 << 40)]
)
def test_darknets_numbers_follow_either_header(tmp_path, header):
    (tmp_path / "weights").write_bytes(header + SIX.tobytes())
    same(read(tmp_path / "weights"), {darknet.NUMBERS: SIX})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "begins with.*Expected.*name such a file"),
        (b"", "weights: it is empty. Expected"),
        (b"sys_info".ljust(257, b"\0") + b"ustar", "tar file.*save it again with torch"),
    ],
)
def test_other_files_are_refused_with_a_way_on(tmp_path, content, words):
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read(tmp_path / "weights")


def test_what_is_no_weight_file_is_refused(tmp_path):
    for name in ("absent.npz", "."):
        with pytest.raises(UserError, match=r"can't be opened.*Expected"):
            read(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "")
    with pytest.raises(UserError, match=r"zip file with 'notes.txt', none .* weights\. Expected"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weights.h5", r"'\.h5'; it is one of \.npz, \.safetensors"),
        ("absent/weights.npz", "can't be written.*folder that exists"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        write(tmp_path / name, ARRAYS)
    assert not list(tmp_path.iterdir())
