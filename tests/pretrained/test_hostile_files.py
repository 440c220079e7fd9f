"""Damaged and hostile files are refused in a sentence: nothing runs, nothing large is allocated."""

import base64
import contextlib
import itertools
import json
import pickle
import re
import struct
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import torch_files as torch_

from vocjax.errors import UserError
from vocjax.pretrained.formats import read, write

SIX = np.arange(6, dtype="<f4")
MOST = 4 << 20  # bytes that reading a small file may take


@contextlib.contextmanager
def little_memory(most=MOST):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused(path, words, most=MOST):
    """The file is refused with a reason, without allocating what it announces."""
    text = rf"(?s)^{re.escape(str(path))}: .*({words})"
    with little_memory(most), pytest.raises(UserError, match=text):
        read(path)


TENSOR = {"a": torch_.tensor()}
DEEP = b")" + b"\x85" * 30_000  # a tuple in a tuple in a tuple ...
SHELL = torch_.sequence(torch_.text("touch ran"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch_.named("os", "system") + SHELL + b"R", "no tensor by name, but 'os system'"),
        (torch_.text("builtins") + torch_.text("eval") + b"\x93" + SHELL + b"R", "builtins eval"),
        (b"(" + torch_.text("touch ran") + b"ios\nsystem\n", "no tensor by name"),
        (torch_.named("os", "system") + SHELL + b"\x81", "no tensor by name"),
        (torch_.named("os", "system") + SHELL + b"}\x92", "no tensor by name"),
        (b"(" + torch_.named("os", "system") + torch_.text("touch ran") + b"o", "no tensor by"),
        (b"}" + torch_.named("os", "system") + SHELL + b"Rb", "no tensor by name"),
        (torch_.named("torchvision.models", "AlexNet") + b")R", r"save model\.state_dict\(\)"),
        (torch_.named("torch._utils", "_rebuild_tensor_v2") + SHELL + b"R", "no tensor by name"),
        (torch_.text("a") + b")R", "no tensor by name"),
        (torch_.sequence(torch_.text("module")) + b"Q", "refers to something other"),
        (b"}" + DEEP + torch_.integer(1) + b"s", "no tensor by name"),
        (b"]q\x00(" + b"h\x00" * 1000 + b"e", "no tensor by name"),  # a list in itself
        (b"}" + torch_.text("a") + torch_.integer(1) + b"e", "IndexError"),
        (b")}b", "no tensor by name"),
        (b"b", "IndexError"),
        (b"]" + torch_.integer(1) + torch_.integer(1) + b"s", "has a int where|has a list where"),
        (b"X\xff\xff\xff\x7f", "expected"),
        (b"\x96" + b"\xff" * 7 + b"\x7f", "expected"),  # a bytearray of 2^63 bytes
        (b"h\x05", "KeyError"),
        (b"}", "Expected a state dict"),
        (torch_.tensor(), "no tensor by name"),
    ],
    ids=itertools.count(),
)
def test_a_pickle_that_is_no_state_dict(tmp_path, monkeypatch, value, words):
    monkeypatch.chdir(tmp_path)
    refused(torch_.write_zip(tmp_path / "weights", value, {"0": SIX}), words)
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]


def test_a_far_place_in_the_memo_takes_no_memory(tmp_path):
    value = torch_.dictionary({"a": torch_.tensor() + b"r\xff\xff\xff\x7f"})
    path = torch_.write_zip(tmp_path / "weights", value, {"0": SIX})
    with little_memory():
        np.testing.assert_array_equal(read(path)["a"], SIX.reshape(2, 3))


def test_a_pickle_longer_than_any_checkpoints(tmp_path):
    value = torch_.text("x" * (17 << 20)) + torch_.integer(1)
    path = torch_.write_zip(tmp_path / "weights", value, {})
    refused(path, "more than the 16777216 bytes", most=128 << 20)


def test_pythons_own_pickle_never_runs(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Payload(), 2))
    with pytest.raises(UserError, match="bare pickle"):
        read(tmp_path / "weights.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("write_", [torch_.write_zip, torch_.write_legacy])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch_.tensor((2, 3), (3, 1), 1), "reaches number 6"),
        (torch_.tensor((2, 3), (4, 1), 0), "reaches number 6"),
        (torch_.tensor((2, 3), (-3, 1), 5), "no counts"),
        (torch_.tensor((2, 3), (3,), 0), "no counts"),
        (torch_.tensor((2**30, 2**30), (0, 0), 0, torch_.storage()), "announces arrays"),
        (torch_.tensor((6,), (1,), 0, torch_.storage("Double")), "6 numbers|announces 48 bytes"),
        (torch_.tensor((6,), (1,), 0, torch_.storage(size=2**31 - 1)), "2147483647 numbers|bytes"),
        (torch_.tensor((6,), (1,), 0, torch_.storage(size=-6)), "refers to something other"),
        (torch_.tensor((6,), (1,), 0, torch_.storage("Quint8")), "Quint8Storage"),
        (torch_.tensor((6,), (1,), 0, torch_.storage(key="../0")), "KeyError"),
    ],
    ids=range(10),
)
def test_a_tensor_beyond_its_storage(tmp_path, write_, value, words):
    path = write_(tmp_path / "weights", torch_.dictionary({"a": value}), {"0": SIX})
    refused(path, words)


def test_a_compressed_or_big_endian_state_dict(tmp_path):
    value, zeros = torch_.dictionary(TENSOR), {"0": SIX, "1": np.zeros(1 << 20)}
    path = torch_.write_zip(tmp_path / "a", value, zeros, zipfile.ZIP_DEFLATED)
    refused(path, "compressed")
    path = torch_.write_zip(tmp_path / "b", value, {"0": SIX}, byteorder=b"big")
    refused(path, "big-endian")


def npy(dtype, shape, data=b""):
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    return with_header(repr(header).encode()) + data


def with_header(header):
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy("|O", (1,)), "of type object"),
        (npy("<f4", (9999999999,)), "and has"),
        (npy("<f4", (-1,)), "other than counts"),
        (npy("<U9", (1,)), "of type <U9"),
        (with_header(b"__import__('os')"), "malformed"),
        (b"\x93NUMPY\x03\x00", "format"),
        (b"junk", "magic|EOF"),
        (npy("<f8", (1 << 22,), bytes(8 << 22)), "announces arrays of"),
    ],
    ids=range(8),
)
def test_an_array_of_an_npz_that_is_none(tmp_path, content, words):
    with zipfile.ZipFile(tmp_path / "weights.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    del content
    refused(tmp_path / "weights.npz", words)


def test_names_that_an_npz_can_not_have(tmp_path):
    np.savez(tmp_path / "a.npz", **{"darknet numbers": np.zeros((1000, 6), np.float32)})
    refused(tmp_path / "a.npz", "an array 'darknet numbers', a name that no network has")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("a.npy", npy("<f4", (6,), SIX.tobytes()))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", npy("<f4", (6,), SIX.tobytes()))
    refused(tmp_path / "b.npz", "two entries of the same name")


def safetensors(header, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + (SIX.tobytes())


def entry(first, last, shape=(6,), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            safetensors({"a": entry(0, 24)}, length=1 << 62),
            "its header has 4611686018427387904 bytes, expected",
        ),
        (safetensors({"a": entry(0, 12)}), "invalid shape"),
        (safetensors({"a": entry(0, 28, (7,))}), "not fully covered"),
        (safetensors({"a": entry(0, 16, (4,)), "b": entry(12, 24, (3,))}), "offset for tensor `b`"),
        (safetensors({"a": entry(0, 8, (2,)), "b": entry(12, 24, (3,))}), "offset for tensor `b`"),
        (safetensors({"a": entry(0, 12, (3,))}), "not fully covered"),
        (safetensors({"a": entry(24, 0)}), "offset for tensor `a`"),
        (
            safetensors({"a": entry(0, 24, (-6,))}),
            "'a' has a shape with something other than counts",
        ),
        (safetensors({"a": entry(0, 24, (2**40, 2**40, 0))}), "overflow"),
        (safetensors({"a": entry(0, 24, (24,), "F8_E4M3")}), "'a' has elements of type F8_E4M3"),
        (safetensors({"a": entry(0, 24, (3,), "C64")}), "'a' has elements of type C64"),
        (safetensors({}), "not fully covered"),
        (safetensors(b'{"a":' + b"[" * 100_000), "nested too deep"),
    ],
    ids=range(13),
)
def test_a_safetensors_header_that_lies(tmp_path, content, words):
    (tmp_path / "weights").write_bytes(content)
    refused(tmp_path / "weights", words)


def test_darknets_numbers_that_are_cut(tmp_path):
    for data in (SIX.tobytes()[:-1], b""):
        (tmp_path / "weights").write_bytes(struct.pack("<3iI", 0, 1, 0, 0) + data)
        refused(tmp_path / "weights", "expected float32")


def keras_file(path, make):
    """A file of Keras's older layout whose one weight `make` puts into a group."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv"]
        group = file.create_group("conv")
        group.attrs["weight_names"] = ["kernel:0"]
        make(group)
    return path


def linked(link):
    return lambda group: group.__setitem__("kernel:0", link)


def array(*arguments, **options):
    return lambda group: group.create_dataset("kernel:0", *arguments, **options)


def virtual(group):
    layout = h5py.VirtualLayout((6,), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "key", (6,))
    group.create_virtual_dataset("kernel:0", layout)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (linked(h5py.ExternalLink("secret.h5", "/key")), "is a ExternalLink"),
        (linked(h5py.SoftLink("/elsewhere")), "is a SoftLink"),
        (lambda group: None, "is missing"),
        (lambda group: group.create_group("kernel:0"), "no array in the file"),
        (array((6,), "f4", external=[("secret.h5", 0, 24)]), "no array in the file"),
        (virtual, "no array in the file"),
        (array((1 << 20, 1 << 20), "f4", chunks=(64, 64)), "announces arrays of"),  # not written
        (array((6,), "f4", maxshape=(None,), chunks=(1 << 28,)), "announces arrays of"),
        (array(data=np.zeros(1 << 22, "f4"), compression="gzip"), "announces arrays of"),
        (array(data=["a", "b"]), "of type object"),
        (lambda group: group.attrs.pop("weight_names"), "has no weight_names"),
    ],
    ids=range(11),
)
def test_keras_files_that_lead_elsewhere_or_announce_too_much(tmp_path, monkeypatch, make, words):
    monkeypatch.chdir(tmp_path)
    with h5py.File("secret.h5", "w") as file:
        file["key"] = SIX
    refused(keras_file(tmp_path / "weights.h5", make), words)


def small_files(folder):
    """One file of each format that knows its own end."""
    for ending in (".npz", ".safetensors"):
        write(folder / f"a{ending}", {"a": SIX, "b": SIX.reshape(2, 3)})
    torch_.write_zip(folder / "a.pth", torch_.dictionary(TENSOR), {"0": SIX})
    torch_.write_legacy(folder / "legacy.pth", torch_.dictionary(TENSOR), {"0": SIX})
    keras_file(folder / "a.h5", array(data=SIX))
    return sorted(folder.iterdir())


@pytest.fixture
def one_process(monkeypatch):
    """Two hundred processes, each of which reads a file first, would take a minute."""
    monkeypatch.setattr("vocjax.pretrained.formats.keras_h5._check_ends", lambda path: None)


def test_truncated_files(one_process, tmp_path):
    files = small_files(tmp_path)
    assert len(files) == 5
    for file in files:
        assert read(file)
        content = file.read_bytes()
        for end in {*range(0, len(content), 1 + len(content) // 40), len(content) - 1}:
            file.write_bytes(content[:end])
            with pytest.raises(UserError):
                read(file)


def test_damaged_bytes_never_lead_further_than_a_refusal(one_process, tmp_path):
    rng = np.random.default_rng(0)
    for file in small_files(tmp_path):
        content, refusals = file.read_bytes(), 0
        for place in rng.integers(len(content), size=120):
            damaged = bytearray(content)
            damaged[place] ^= int(rng.integers(1, 256))
            file.write_bytes(damaged)
            try:
                assert isinstance(read(file), dict)
            except UserError:
                refusals += 1
        assert refusals > 10


# A file of 9 KB that `make fuzz` made: its B-tree leads the HDF5 library round for ever.
ENDLESS = (
    "c-rlm%TB^T6ozM}&@?Doj0qPPR(Sz0M2Rbnpe&3Sb>T`&uwEh}L82HJ#+8`(06v0`!P2FVpuPxBr!#G*iAFK"
    "T5YD$b%$%7s&Gerk`Fmf;twbZK2(r;M6hb=k)8R~}<+jM1JYpVOJU$W8udrN#_v^gAp*Za(@890c=k3v*0Ai"
    "gT)rlGc`jJ9@X@lv&)se$9k;j$KsuzAe7Jj*IjIR{b^&o!|On;41byrGPR(-EpI<?MOe-dLhQ+J=mQ7*<<Ix"
    "ixIeB#DmoEy>c-E-4Q!nuKS<DDC!C#1^bPON&>sw_;QfG!uiTz6}|n8UP+(A}dV*KPCmYZ%_qf3mt<T*JN#R"
    "l1LS_o=vMHCZn+)0z29c6Kh46$RVFu&Dq500000008tBW3UB4A0dp+pfTeaol$0VURuY8M-9*E{Hf8Y`CJ6T"
    "`c)@~#khntU-(oaDl~6rV#YW(DGU_XQ2d7H!?d`aCkkN&256ocs&0KdkI}w$P$@Mm*XYprx(XpLDY2C2gCOr"
    "y$KMh(&YB6(W;fWzIHn2<8sqwB6Zi+N5#+smKYChji+l*S8UO$Q0D6|@ZrMb)>b3Dk|I_a<Yu9R~d4%4>Ln!"
    "h<CO!bxc7IF"
)


def test_an_hdf5_file_on_which_the_library_finds_no_end(tmp_path, monkeypatch):
    monkeypatch.setattr("vocjax.pretrained.formats.keras_h5.LEAST_SECONDS", 5)
    (tmp_path / "endless").write_bytes(zlib.decompress(base64.b85decode(ENDLESS)))
    refused(tmp_path / "endless", "no end in it within 6 s")


def test_no_module_of_the_current_folder_is_run(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["layer_names"] = []
    (tmp_path / "h5py.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(UserError):
        read(tmp_path / "a.h5")
    assert not (tmp_path / "ran").exists()


def test_a_long_name_does_not_stand_in_those_of_many_tensors(tmp_path):
    inner = {str(i): torch_.tensor() for i in range(3)}
    value = torch_.ordered({"k" * 10**6: torch_.ordered(inner)})
    torch_.write_zip(tmp_path / "a.pth", value, {"0": np.arange(6, dtype="<f4")})
    refused(tmp_path / "a.pth", "a name has 1000000 letters, expected 1000 at most")
