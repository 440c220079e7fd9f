"""Each backbone's sources are told apart by the names in a file."""

import pytest
from models.backbones.parity import shapes

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES
from vocjax.pretrained.formats import darknet
from vocjax.pretrained.matching import flatten
from vocjax.pretrained.sources import SOURCES, detect

PAIRS = [(backbone, source) for backbone, sources in SOURCES.items() for source in sources]


def tables(backbone):
    return {
        name: source.names(BACKBONES[backbone](**source.fields))
        for name, source in SOURCES[backbone].items()
    }


def test_every_backbone_has_sources():
    assert set(SOURCES) == set(BACKBONES)


@pytest.mark.parametrize(("backbone", "source"), PAIRS)
def test_a_source_is_found_by_its_names(backbone, source):
    names = [name for name, _ in tables(backbone)[source].values()]
    counts = [f"{i}.num_batches_tracked" for i in range(2 * len(names))]
    assert detect([*names, *counts], tables(backbone)) == source
    assert detect(names[: len(names) // 4], tables(backbone)) == source  # up to some stage
    assert detect([*names, "optimizer"], tables(backbone)) == source


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v2", "inception_v3", "tiny_darknet"])
def test_a_sources_fields_are_of_the_network(backbone):
    for source in SOURCES[backbone].values():
        network = BACKBONES[backbone](**source.fields)
        for field, value in source.fields.items():
            assert getattr(network.backbone, field) == value


@pytest.mark.parametrize(  # those that no parity test compares with a peer's names
    ("backbone", "source", "unnamed"),
    [
        ("squeezenet", "gluon", set()),
        ("resnet50", "caffe", set()),
        ("mobilenet_v2", "gluon", {"head/dense/kernel", "head/dense/bias"}),
    ],
)
def test_names_cover_the_network_that_the_source_asks_for(backbone, source, unnamed):
    chosen = SOURCES[backbone][source]
    network = BACKBONES[backbone](3, **chosen.fields)
    names = chosen.names(network)
    assert set(names) == set(flatten(shapes(network, (96, 96, 3)))) - unnamed
    assert len({name for name, _ in names.values()}) == len(names)


def test_darknets_numbers_are_darknets():
    assert detect([darknet.NUMBERS], tables("darknet19")) == "darknet"
    with pytest.raises(
        UserError, match=r"has for instance 'features.*, the file 'darknet numbers'"
    ):
        detect([darknet.NUMBERS], tables("vgg16"))


def test_other_names_are_refused_with_the_nearest_source():
    theirs = [name for name, _ in tables("resnet50")["caffe"].values()]
    strange = [f"strange{i}" for i in range(len(theirs))]
    with pytest.raises(UserError) as caught:
        detect([*theirs, *strange], tables("resnet50"))
    text = f"nearest is caffe, which knows {len(theirs)} of {2 * len(theirs)}"
    assert text in str(caught.value)
    assert "'conv1/kernel', the file 'strange0', 'strange1'" in str(caught.value)
    assert "Name the backbone" in str(caught.value)
    with pytest.raises(UserError, match="knows 0 of 0"):
        detect([], tables("resnet50"))
