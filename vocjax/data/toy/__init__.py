"""A small VOC devkit of procedurally drawn scenes: for tests, and for a first run without any download."""

from vocjax.data.toy.writer import write_devkit

__all__ = ["write_devkit"]
