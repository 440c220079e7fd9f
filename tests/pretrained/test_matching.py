"""A file fits a network wholly or not at all, and says how it does not; export is the way back."""

import re
import shlex

import jax
import numpy as np
import pytest
from drawn_weights import same
from models.backbones.parity import random_variables

from vocjax.errors import UserError
from vocjax.models.backbones.darknet import Darknet, darknet_keys
from vocjax.models.backbones.heads import ConvHead, FlattenHead, Network
from vocjax.models.backbones.keys import Layout
from vocjax.models.backbones.size import shapes
from vocjax.models.backbones.vgg import VGG, torchvision_keys
from vocjax.pretrained.formats import darknet
from vocjax.pretrained.matching import fill, flatten, match, restore_names, without

NAMES = {
    "backbone/conv1/kernel": ("conv1.weight", Layout.OIHW),
    "backbone/conv1/bias": ("conv1.bias", Layout.VECTOR),
    "backbone/conv2/kernel": ("conv2.weight", Layout.OIHW),
    "backbone/conv2/norm/var": ("bn2.running_var", Layout.VECTOR),
    "head/kernel": ("fc.weight", Layout.OI),
}
SHAPES = {
    "backbone/conv1/kernel": (3, 3, 2, 4),
    "backbone/conv1/bias": (4,),
    "backbone/conv2/kernel": (1, 1, 4, 5),
    "backbone/conv2/norm/var": (5,),
    "head/kernel": (5, 3),
    "head/bias": (3,),  # which has no foreign name
}
RNG = np.random.default_rng(0)
OURS = {path: 1 + RNG.random(shape, np.float32) for path, shape in SHAPES.items()}
ARRAYS = restore_names({path: OURS[path] for path in NAMES}, NAMES)


def refused(words, arrays=ARRAYS, skip=("head/bias",)):
    with pytest.raises(UserError, match=words) as caught:
        match(arrays, NAMES, SHAPES, skip)
    return str(caught.value)


def test_everything_is_brought_into_our_layout():
    found = match(ARRAYS, NAMES, SHAPES, ["head/bias"])
    assert ARRAYS["conv1.weight"].shape == (4, 2, 3, 3)
    assert found.skipped == ("head/bias",)
    assert found.ignored == ()
    assert list(found.arrays) == list(NAMES)
    same(found.arrays, {path: OURS[path] for path in NAMES})


def test_what_does_not_fit_is_listed_whole_by_both_names():
    arrays = {
        "conv1.weight": np.zeros((4, 2, 5, 5), np.float32),
        "conv1.bias": ARRAYS["conv1.bias"].astype(int),
        "bn2.running_var": -ARRAYS["bn2.running_var"],
        "conv2.weight": np.zeros_like(ARRAYS["conv2.weight"]),
        "fc.weight": ARRAYS["fc.weight"] * np.float32(np.nan),
        "bn3.bias": np.zeros(7, np.float32),
        "bn3.num_batches_tracked": np.asarray(3),
    }
    assert refused("does not fit", arrays, skip=()).splitlines() == [
        "the file does not fit the network, which takes all its parameters and nothing else.",
        "1 missing from it:",
        "  head/bias (without a foreign name)",
        "1 left over in it:",
        "  bn3.bias of shape (7,)",
        "5 not as the network has it:",
        "  backbone/conv1/kernel (conv1.weight) has shape (4, 2, 5, 5), expected (4, 2, 3, 3)",
        "  backbone/conv1/bias (conv1.bias) has elements of int64, expected floating-point numbers",
        "  backbone/conv2/kernel (conv2.weight) has only zeros: was its download cut off?",
        "  backbone/conv2/norm/var (bn2.running_var) has a negative variance",
        "  head/kernel (fc.weight) has NaN or infinity, expected finite numbers",
        "Name the network, its variant and the source of names that the file has; leave out what "
        "is no part of it, as another head, by --ignore REGEX, for its name.",
        "To draw anew what does not fit, skip that part: --skip 'head|backbone'",
    ]


@pytest.mark.parametrize("kept", [("conv1.weight", "conv1.bias"), tuple(ARRAYS)])
@pytest.mark.parametrize("skip", [("backbone/conv2|head",), ("head", "backbone/conv2/.*")])
def test_a_backbone_up_to_a_stage(kept, skip):
    arrays = {name: ARRAYS[name] for name in kept}
    found = match(arrays, NAMES, SHAPES, skip)
    assert list(found.arrays) == ["backbone/conv1/kernel", "backbone/conv1/bias"]
    assert set(found.arrays) | set(found.skipped) == set(SHAPES)
    assert set(found.ignored) == set(kept) - {"conv1.weight", "conv1.bias"}


def test_the_refusal_names_the_part_to_skip():
    arrays = {name: ARRAYS[name] for name in ("conv1.weight", "conv1.bias", "conv2.weight")}
    part = refused("2 missing", arrays).rsplit(": ", 1)[1]
    flag, part = shlex.split(part)
    assert (flag, part) == ("--skip", "backbone/conv2/norm|head/kernel")
    assert len(match(arrays, NAMES, SHAPES, [part, "head/bias"]).arrays) == 3


def test_a_head_of_other_classes_or_without_use_is_ignored():
    more = SHAPES | {"head/kernel": (5, 20), "head/bias": (20,)}
    found = match(ARRAYS, NAMES, more, ["head"])
    assert found.skipped == ("head/kernel", "head/bias")
    assert found.ignored == ("fc.weight",)
    alone = {path: shape for path, shape in SHAPES.items() if path.startswith("backbone")}
    found = match(ARRAYS, NAMES, alone)
    assert set(found.arrays) == set(alone)
    assert found.ignored == ("fc.weight",)


def test_what_torchvision_adds_is_ignored_unless_the_network_has_it():
    bias = np.ones(3, np.float32)
    more = {"bn2.num_batches_tracked": np.asarray(9), "aux1.fc.bias": bias}
    more["AuxLogits.fc.bias"] = bias
    assert match(ARRAYS | more, NAMES, SHAPES, ["head/bias"]).ignored == tuple(more)
    names = NAMES | {"auxiliary/bias": ("aux1.fc.bias", Layout.VECTOR)}
    wanted = SHAPES | {"auxiliary/bias": (3,)}
    found = match(ARRAYS | more, names, wanted, ["head/bias"])
    np.testing.assert_array_equal(found.arrays["auxiliary/bias"], bias)
    with pytest.raises(UserError, match=r"auxiliary/bias \(aux1\.fc\.bias\)"):
        match(ARRAYS, names, wanted, ["head/bias"])


def test_names_to_ignore_are_left_out():
    more = {"classifier.1.0.weight": np.zeros(2, np.float32), "logits": np.zeros(1, np.float32)}
    words = r"2 left over in it:\n  classifier.1.0.weight of .*\n.*\n.* --ignore REGEX"
    refused(words, ARRAYS | more)
    assert without(ARRAYS | more, [r"classifier\..*", "logits"]).keys() == ARRAYS.keys()
    assert without(more, ["classifier.*"]).keys() == {"logits"}
    words = r"1 missing from it:\n  backbone/conv1/bias \(conv1.bias"
    refused(words, without(ARRAYS, ["conv1.bias"]))


@pytest.mark.parametrize(
    ("flag", "regex", "words"),
    [
        ("--skip", "conv2", "whole path of .*backbone/conv1, backbone/conv2, head/kernel"),
        ("--skip", "backbone/conv", "matches no whole path"),
        ("--skip", "head(", "is no regular expression: missing"),
        ("--ignore", "classifier", "matches no whole name in the file; it has .*fc.weight"),
        ("--ignore", "fc", "matches no whole name"),
        ("--ignore", "fc(", "is no regular expression: missing"),
    ],
)
def test_regexes_that_match_nothing(flag, regex, words):
    with pytest.raises(UserError, match=rf"^{flag} {re.escape(repr(regex))} .*{words}"):
        if flag == "--skip":
            match(ARRAYS, NAMES, SHAPES, ["head", regex])
        else:
            without(ARRAYS, ["fc.weight", regex])


def test_parameters_without_a_foreign_name_are_not_exported():
    with pytest.raises(UserError, match=r"head/bias can't be exported.*backbone alone"):
        restore_names(OURS, NAMES)


# Whole networks ----------------------------------------------------------------------------------

SMALL_VGG = VGG(table=((1, 2), (2, 3), (1, 3), (1, 4), (1, 4)))
VGG_ = Network(SMALL_VGG, FlattenHead(5, 2, width=6)), torchvision_keys, (64, 64, 3)
SMALL_DARKNET = Darknet(table=(((4, 3),), ((3, 3), (2, 1))))
DARKNET = Network(SMALL_DARKNET, ConvHead(5)), darknet_keys, (8, 8, 3)


@pytest.mark.parametrize(("network", "table", "size"), [VGG_, DARKNET], ids=["vgg", "darknet"])
def test_a_network_goes_out_and_comes_back(network, table, size):
    variables, abstract = random_variables(network, size), shapes(network, size)
    names = table(network)
    theirs = restore_names(flatten(variables), names)
    wanted = {path: leaf.shape for path, leaf in flatten(abstract).items()}
    found = match(theirs, names, wanted)
    assert not found.skipped + found.ignored
    jax.tree.map(np.testing.assert_array_equal, fill(abstract, found.arrays), variables)


def test_filling_takes_no_strange_path():
    with pytest.raises(KeyError):
        fill({"params": {"a": np.zeros(1)}}, {"b": np.ones(1)})


@pytest.fixture(scope="module")
def of_darknet():
    """(our arrays, their names, their shapes, the numbers of the file)."""
    network, table, size = DARKNET
    ours, names = flatten(random_variables(network, size)), table(network)
    numbers = np.concatenate([array.ravel() for array in restore_names(ours, names).values()])
    return ours, names, {path: array.shape for path, array in ours.items()}, numbers


def test_darknets_numbers_are_cut_in_the_order_of_its_layers(of_darknet):
    ours, names, wanted, numbers = of_darknet
    same(match({darknet.NUMBERS: numbers}, names, wanted).arrays, ours)

    backbone = sum(array.size for path, array in ours.items() if path.startswith("backbone"))
    more_classes = wanted | {"head/conv/kernel": (1, 1, 2, 9), "head/conv/bias": (9,)}
    head = len(numbers) - backbone
    for given, ignored in ((numbers, (f"{head} numbers at the end",)), (numbers[:backbone], ())):
        found = match({darknet.NUMBERS: given}, names, more_classes, ["head"])
        assert found.skipped == ("head/conv/bias", "head/conv/kernel")
        assert found.ignored == ignored
    alone = {path: shape for path, shape in wanted.items() if path.startswith("backbone")}
    found = match({darknet.NUMBERS: numbers}, names, alone)
    assert set(found.arrays) == set(alone)
    assert found.ignored == (f"{head} numbers at the end",)
    with pytest.raises(UserError, match=r"2 missing from it:\n.*head/conv/bias \(3/biases\)"):
        match({darknet.NUMBERS: numbers[:backbone]}, names, wanted)


@pytest.mark.parametrize(
    ("change", "skip", "words"),
    [
        (-1, [], r"ends within head/conv/kernel \(3/weights\).*cut off, or of another network"),
        (1, [], r"numbers, and the network takes .*--skip head leaves them out\.$"),
        (3, [], r"--skip head .* in the file is of 6 classes, say so: --classes 6\.$"),
        (-6, [], r"ends within .* in the file is of 3 classes, say so: --classes 3\.$"),
        # Each class has a bias and a weight for either channel.
        (-1, ["head"], r"has 14 numbers where the head begins .* a multiple of 3, so many for ea"),
        (2, ["head"], r"has 17 numbers where the head begins .* a multiple of 3"),
    ],
)
def test_darknets_numbers_of_another_network(change, skip, words, of_darknet):
    _, names, wanted, numbers = of_darknet
    other = np.resize(numbers, len(numbers) + change)
    with pytest.raises(UserError, match=words):
        match({darknet.NUMBERS: other}, names, wanted, skip)


def test_what_follows_darknets_skipped_parts_is_counted(of_darknet):
    """A head can have any number of classes; after a skipped stage there can be anything."""
    _, names, wanted, numbers = of_darknet
    class_more = np.resize(numbers, len(numbers) + 3)
    found = match({darknet.NUMBERS: class_more}, names, wanted, ["head"])
    assert found.ignored == ("18 numbers at the end",)
    other = np.append(numbers, numbers[:1])
    found = match({darknet.NUMBERS: other}, names, wanted, ["backbone/conv2", "head"])
    taken = sum(array.size for array in found.arrays.values())
    assert 0 < taken < len(numbers)
    assert found.ignored == (f"{len(other) - taken} numbers at the end",)
