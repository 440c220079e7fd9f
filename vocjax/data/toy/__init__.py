"""A small VOC devkit of drawn scenes: for tests, and for a first run without any download.

`shapes` draw the classes, `scenes` put them before a backdrop, `writer` writes the files.
"""

from vocjax.data.toy.writer import N_TRAIN, N_VAL, S_TRAIN, S_VAL, draw_scene, write_devkit

__all__ = ["N_TRAIN", "N_VAL", "S_TRAIN", "S_VAL", "draw_scene", "write_devkit"]
