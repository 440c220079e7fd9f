"""The names in a file say which source it comes from."""

import pytest

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.pretrained.formats import darknet
from vocjax.pretrained.matching import detect


def key_maps(backbone):
    return {
        name: source.key_map(BACKBONES[backbone](**source.fields))
        for name, source in SOURCES[backbone].items()
    }


@pytest.mark.parametrize("backbone", SOURCES)
def test_a_source_is_found_by_its_names(backbone):
    maps = key_maps(backbone)
    for source, key_map in maps.items():
        names = [name for name, _ in key_map.values()]
        counts = [f"{i}.num_batches_tracked" for i in range(2 * len(names))]
        assert detect([*names, *counts, "aux1.fc1.weight", "AuxLogits.fc.bias"], maps) == source
        assert detect(names[: len(names) // 4], maps) == source  # up to some stage
        assert detect([*names, "optimizer"], maps) == source


def test_a_file_without_names_is_of_darknet():
    assert detect([darknet.NUMBERS], key_maps("darknet19")) == "darknet"
    with pytest.raises(UserError, match=r"array 'features.* the file has 'darknet numbers'"):
        detect([darknet.NUMBERS], key_maps("vgg16"))


def test_other_names_are_refused_with_the_nearest_source():
    maps = key_maps("resnet50")
    theirs = [name for name, _ in maps["caffe"].values()]
    strange = [f"strange{i}" for i in range(len(theirs))]
    with pytest.raises(UserError) as caught:
        detect([*theirs, *strange], maps)
    assert str(caught.value) == (
        "the names of the file's arrays come from no source of this backbone (torchvision, keras, "
        f"caffe). The nearest is caffe, which has {len(theirs)} of {2 * len(theirs)} names. It "
        "names an array 'conv1/kernel', for instance; the file has 'strange0', 'strange1', "
        "'strange10'. Give --backbone the network that the file belongs to."
    )
    with pytest.raises(UserError, match="has 0 of 0 names"):
        detect([], maps)
