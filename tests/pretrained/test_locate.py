"""A network is found in a file by its names, whatever stands before them and beside them."""

import re
import shlex

import pytest

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.pretrained.formats import darknet
from vocjax.pretrained.locate import Place, locate


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
        assert locate([*names, *counts, "aux1.fc1.weight", "AuxLogits.fc.bias"], maps) == Place(
            source, ""
        )
        trunk = names[: len(names) // 4]  # up to some stage; timm's VGG has torchvision's names
        assert locate(trunk, maps) in (Place(source, ""), Place("torchvision", ""))
        assert locate([*names, "optimizer"], maps) == Place(source, "")


def test_a_file_without_names_is_of_darknet():
    assert locate([darknet.NUMBERS], key_maps("darknet19")) == Place("darknet", "")
    with pytest.raises(UserError, match=r"array 'features.* the file has 'darknet numbers'"):
        locate([darknet.NUMBERS], key_maps("vgg16"))


def test_other_names_are_refused_with_the_nearest_source():
    maps = key_maps("resnet50")
    theirs = [name for name, _ in maps["caffe"].values()]
    strange = [f"strange{i}" for i in range(len(theirs))]
    with pytest.raises(UserError) as caught:
        locate([*theirs, *strange], maps)
    assert str(caught.value) == (
        "the names of the file's arrays come from no source of this backbone (torchvision, keras, "
        f"caffe). The nearest is caffe, which has {len(theirs)} of {2 * len(theirs)} names. It "
        "names an array 'conv1/kernel', for instance; the file has 'strange0', 'strange1', "
        "'strange10'. Give --backbone the network that the file belongs to, and leave out what is "
        "no part of it, by --ignore REGEX."
    )
    with pytest.raises(UserError, match="has 0 of 0 names"):
        locate([], maps)


RESNET = key_maps("resnet18")
NAMES = [name for name, _ in RESNET["torchvision"].values()]
COUNTS = [f"{i}.num_batches_tracked" for i in range(20)]


def under(prefix, names=(*NAMES, *COUNTS)):
    return [prefix + name for name in names]


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.", "model.module."),
        *("state_dict.", "net.", "model_state_dict.", "params.", "ema_state_dict.model.", "0."),
        "resnet50/",
    ],
)
def test_what_stands_before_all_names_is_found(prefix):
    assert locate(under(prefix), RESNET) == Place("torchvision", prefix)
    assert locate(under(prefix), RESNET, "torchvision") == Place("torchvision", prefix)
    trunk = under(prefix, [name for name in NAMES if name.startswith(("conv1", "bn1", "layer1"))])
    assert locate(trunk, RESNET).prefix == prefix


def test_other_arrays_may_stand_beside_the_networks_own():
    decoder = [f"decoder.{i}.conv1.weight" for i in range(300)]
    momenta = [f"optimizer.state.{name}.exp_avg" for name in NAMES]
    heads = ["classifier.weight", "fc.weight", "best", "rng_state"]
    names = under("backbone.") + decoder + momenta + heads
    assert locate(names, RESNET) == Place("torchvision", "backbone.")


def test_a_prefix_of_some_names_only_is_none():
    half = len(NAMES) // 2
    mixed = [*under("module.", NAMES[:half]), *NAMES[half:]]
    with pytest.raises(UserError, match=r"2 prefixes of their names, '' and 'module\.', as"):
        locate(mixed, RESNET)
    few = under("module.", NAMES[:10]) + NAMES[10:]
    assert locate(few, RESNET) == Place("torchvision", "")  # and `match` lists the ten


def test_a_head_alone_is_no_network():
    other = [f"stem.{i}.weight" for i in range(30)]
    with pytest.raises(UserError, match="has 2 of 32 names"):
        locate([*other, "x.fc.weight", "x.fc.bias"], RESNET)


@pytest.mark.parametrize(
    "prefixes",
    [
        ("model.", "ema."),
        ("", "ema."),
        ("state_dict.", "state_dict_ema."),
        ("student.module.", "teacher."),
        ("model.", "opt.0.", "opt.1.", "opt.2."),
        ("", "ema.", "ema.module."),
        ("ema.", "ema.module.", "it's."),
    ],
)
def test_a_network_that_is_there_twice_is_refused_with_a_way_to_choose(prefixes):
    names = [name for prefix in prefixes for name in under(prefix)]
    first = prefixes[0]
    with pytest.raises(UserError) as caught:
        locate(names, RESNET)
    message = str(caught.value)
    listed = " and ".join(map(repr, prefixes))
    assert f"after {len(prefixes)} prefixes of their names, {listed}, as" in message
    _, regex, *_ = shlex.split(message[message.index("--ignore") :].split(" takes ")[0])
    kept = [name for name in names if not re.fullmatch(regex, name)]
    assert locate(kept, RESNET) == Place("torchvision", first)
