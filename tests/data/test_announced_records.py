"""Records that would inflate to too much are refused before any of them is."""

import shutil

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from vocjax.data import records, voc
from vocjax.data.records import check_records
from vocjax.errors import UserError


def write(path, sizes, options="group_size:1"):
    """A file with records of as many random bytes; of zeros where a size is negative."""
    rng, writer = np.random.default_rng(0), ArrayRecordWriter(str(path), options)
    for size in sizes:
        writer.write(rng.bytes(size) if size > 0 else bytes(-size))
    writer.close()
    return path


# Sizes that put headers on, before and across the 64 KiB at which a block begins.
@pytest.mark.parametrize(
    "options",
    ["group_size:1", "group_size:3,uncompressed", "group_size:2,pad_to_block_boundary:true"],
)
@pytest.mark.parametrize("last", [7, -2_000_000])
def test_headers_are_followed_to_the_end(tmp_path, monkeypatch, options, last):
    monkeypatch.setattr(records, "IMAGE", 1_000_000)
    path = write(tmp_path / "file", [*range(65_300, 65_520, 5), 200_000, 0, last], options)
    if last > 0:
        check_records(path)
    else:
        with pytest.raises(ValueError, match=r"announces 1 records|announces . records of 2\d{6}"):
            check_records(path)


@pytest.mark.parametrize("held", [1 << 40, 1 << 63, 100_000])
def test_a_chunk_that_does_not_end_in_the_file(tmp_path, held):
    """Its own size, of 8 bytes behind the header of the block and the hash."""
    path = write(tmp_path / "file", [9] * 20)
    content = bytearray(path.read_bytes())
    content[32:40] = held.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ends within|announces"):
        check_records(path)


def test_too_many_records_of_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORDS", 100)
    path = write(tmp_path / "file", [0] * 101, "group_size:1000")
    with pytest.raises(ValueError, match="announces 101 records of"):
        check_records(path)


def test_a_prepared_data_set_with_a_bomb_is_refused(prepared_year, tmp_path):
    home = tmp_path / "data"
    folder = home / prepared_year.directory.relative_to(prepared_year.directory.parents[2])
    shutil.copytree(prepared_year.directory, folder)
    shard = next(folder.glob("*.array_record*"))
    write(shard, [-(records.IMAGE + 1)] + [9] * 20)
    assert shard.stat().st_size < 2**20
    with pytest.raises(UserError, match=f"announces 1 records of {records.IMAGE + 1} bytes"):
        voc.load(prepared_year.name, home)
