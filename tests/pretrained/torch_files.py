"""Files as torch writes them, put together byte by byte, so that they can also be wrong."""

import math
import struct
import zipfile


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    return b"J" + struct.pack("<i", value)


def sequence(*items):
    return b"(" + b"".join(items) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def call(function, *arguments):
    return function + sequence(*arguments) + b"R"


EMPTY = call(named("collections", "OrderedDict"))


def dictionary(entries, empty=b"}"):
    return empty + b"(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def ordered(entries):
    """An OrderedDict with an attribute, as a module's state dict has it."""
    metadata = dictionary({"_metadata": dictionary({"version": integer(1)})})
    return dictionary(entries, EMPTY) + metadata + b"b"


def storage(kind="Float", key="0", size=6):
    identity = (text("storage"), named("torch", f"{kind}Storage"), text(key), text("cpu"))
    return sequence(*identity, integer(size)) + b"Q"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, where=None):
    return call(
        named("torch._utils", "_rebuild_tensor_v2"),
        storage(size=math.prod(shape)) if where is None else where,
        integer(offset),
        sequence(*map(integer, shape)),
        sequence(*map(integer, strides)),
        b"\x89",
        EMPTY,
    )


def pickle(value):
    return b"\x80\x02" + value + b"."


def write_zip(path, value, storages, compression=zipfile.ZIP_STORED, byteorder=b"little"):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle(value))
        archive.writestr("archive/byteorder", byteorder)
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def write_legacy(path, value, storages):
    magic = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
    system = dictionary({"protocol_version": integer(1001), "little_endian": b"\x88"})
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    pickles = map(pickle, (magic, integer(1001), system, value, keys))
    data = (struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    path.write_bytes(b"".join((*pickles, *data)))
    return path
