"""A small VOC devkit of drawn scenes: for tests, and for a first run without any download.

`writer` writes the files; `scenes` composes an image and its mask, and knows who draws a class.
"""

from vocjax.data.toy.writer import write_devkit

__all__ = ["write_devkit"]
