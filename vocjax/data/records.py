"""What the records of a prepared data set announce, read before any of them is inflated.

ArrayRecord is Riegeli's format (its "Riegeli/records file format"): chunks, one after another,
each behind a header that says how many bytes it has and how many they become. Every 64 KiB of the
file begin with a header of a block, which is not part of the chunks.
"""

import struct
from pathlib import Path

from vocjax.bounds import IMAGE, RECORDS

BLOCK, BLOCK_HEADER = 1 << 16, 24
HEADER = struct.Struct("<QQQQQ")  # hash, bytes, hash, kind and count of records, bytes inflated
_HELD = BLOCK - BLOCK_HEADER  # bytes of chunks in a block


def check_records(path: Path) -> None:
    """Raise `ValueError` for a file of ArrayRecord with a chunk that inflates to too much.

    The headers are followed from the first to the end of the file, where the last chunk has to end.
    What a reader finds by the index is not looked at: an index that is made to point into a chunk's
    own bytes is not seen.
    """
    size, offset = path.stat().st_size, 0  # the offset leaves out the headers of blocks
    with path.open("rb") as file:
        while (start := _place(offset)) < size:
            file.seek(start)
            content = file.read(min(HEADER.size, BLOCK - start % BLOCK))
            if len(content) < HEADER.size:  # a block begins within the header
                file.seek(BLOCK_HEADER, 1)
                content += file.read(HEADER.size - len(content))
            if len(content) < HEADER.size:
                raise ValueError(f"{path.name} ends within a header, at byte {start}")
            _, held, _, kind, inflated = HEADER.unpack(content)
            if _place(offset + HEADER.size + held - 1) >= size:
                raise ValueError(f"{path.name} ends within the chunk at byte {start}")
            if inflated > IMAGE or kind >> 8 > RECORDS:
                raise ValueError(
                    f"{path.name} announces {kind >> 8} records of {inflated} bytes together at "
                    f"byte {start}, expected {RECORDS} records of {IMAGE} bytes at most"
                )
            offset += HEADER.size + held


def _place(offset: int) -> int:
    """Return where in the file a byte of the chunks is."""
    block, within = divmod(offset, _HELD)
    return block * BLOCK + BLOCK_HEADER + within
