"""Where an image lies in a frame of another size: pure geometry of heights and widths."""

SQUASH, PAD = FITS = ("squash", "pad")  # the choices of `data.fit`
SHRUNK = "shrunk"  # how images are kept that a random scale changes
GREY = 128  # of the pixels around an image that fills no frame

Size = int | tuple[int, int]  # (height, width), or the side of a square


def sides(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


def within(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) with which an image fills a frame and keeps its aspect.

    One side is that of the frame, and the other at least 1 and at most the frame's.
    """
    factor = min(f / s for f, s in zip(frame, size, strict=True))
    height, width = (min(f, max(1, round(factor * s))) for f, s in zip(frame, size, strict=True))
    return height, width


def placed(size: tuple[int, int], frame: tuple[int, int], fit: str) -> tuple[int, int]:
    """Return the (height, width) that an image has in a frame, for one of `FITS`, or `SHRUNK`.

    `SHRUNK` is as `PAD`, but a smaller image stays as it is.
    """
    if fit == SQUASH:
        return frame
    if fit == SHRUNK and all(s <= f for s, f in zip(size, frame, strict=True)):
        return size
    return within(size, frame)


def at_most(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the (height, width) of an image whose longer side is shrunk to `longest`; 0: as is."""
    if not longest or max(size) <= longest:
        return size
    return within(size, (longest, longest))
