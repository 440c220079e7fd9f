"""SqueezeNet's weights as a file and imported, made once."""

from pathlib import Path

import pytest
from drawn_weights import CLASSES, drawn, shapes

from vocjax.pretrained import store
from vocjax.pretrained.formats import write
from vocjax.pretrained.store import import_weights


@pytest.fixture(scope="module", autouse=True)
def shapes_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "shapes", shapes)
        yield


@pytest.fixture(scope="session")
def squeezenet_file(tmp_path_factory) -> Path:
    """A file with Gluon's names and a head of `CLASSES`."""
    file = tmp_path_factory.mktemp("files") / "squeezenet.safetensors"
    write(file, drawn("squeezenet", "gluon")[1])
    return file


@pytest.fixture(scope="session")
def squeezenet(squeezenet_file, tmp_path_factory) -> Path:
    """What that file is imported as; to be read, not written."""
    output = tmp_path_factory.mktemp("imported") / "squeezenet"
    import_weights("squeezenet", squeezenet_file, output, classes=CLASSES)
    return output
