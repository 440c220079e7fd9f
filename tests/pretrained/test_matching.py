"""A file fits a network wholly or not at all, and says how it does not; export is the way back."""

import jax
import numpy as np
import pytest
from models.backbones.parity import apply, random_variables, shapes

from vocjax.errors import UserError
from vocjax.models.backbones.darknet import Darknet, darknet_keys
from vocjax.models.backbones.heads import ConvHead, FlattenHead, Network
from vocjax.models.backbones.keys import Layout
from vocjax.models.backbones.vgg import VGG, torchvision_keys
from vocjax.pretrained.formats import darknet, read, write
from vocjax.pretrained.matching import fill, flatten, match, restore_names

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
    "head/bias": (3,),  # which the table has not
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
    for path, array in found.arrays.items():
        np.testing.assert_array_equal(array, OURS[path])


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
    with pytest.raises(UserError) as caught:
        match(arrays, NAMES, SHAPES)
    assert str(caught.value).splitlines() == [
        "the file does not fit the network, which wants all its parameters and nothing else.",
        "1 missing from it:",
        "  head/bias (without a foreign name)",
        "1 left over in it:",
        "  bn3.bias of shape (7,)",
        "5 not as the network has it:",
        "  backbone/conv1/kernel (conv1.weight) has shape (4, 2, 5, 5), expected (4, 2, 3, 3)",
        "  backbone/conv1/bias (conv1.bias) has elements of int64, expected floating-point numbers",
        "  backbone/conv2/kernel (conv2.weight) holds zeros alone: was its download cut off?",
        "  backbone/conv2/norm/var (bn2.running_var) holds a negative variance",
        "  head/kernel (fc.weight) holds NaN or infinity, expected finite numbers",
        "Name the network, its variant and the source of names that the file is of; what is no "
        "part of it, as another head, is left out by --ignore REGEX, for its name.",
        "To draw anew what it lacks, skip that part: head|backbone",
    ]


@pytest.mark.parametrize("kept", [("conv1.weight", "conv1.bias"), tuple(ARRAYS)])
@pytest.mark.parametrize("skip", [("backbone/conv2|head",), ("head", "backbone/conv2/.*")])
def test_a_backbone_up_to_a_stage(kept, skip):
    arrays = {name: ARRAYS[name] for name in kept}
    found = match(arrays, NAMES, SHAPES, skip)
    assert list(found.arrays) == ["backbone/conv1/kernel", "backbone/conv1/bias"]
    assert set(found.arrays) | set(found.skipped) == set(SHAPES)
    assert set(found.ignored) == set(kept) - {"conv1.weight", "conv1.bias"}


def test_the_part_that_is_missing_is_what_the_refusal_names():
    arrays = {name: ARRAYS[name] for name in ("conv1.weight", "conv1.bias", "conv2.weight")}
    text = refused("2 missing", arrays)
    part = text.rsplit(": ", 1)[1]
    assert part == "backbone/conv2/norm|head/kernel"
    assert len(match(arrays, NAMES, SHAPES, [part, "head/bias"]).arrays) == 3


def test_another_number_of_classes_leaves_the_head_fresh():
    shapes = SHAPES | {"head/kernel": (5, 20), "head/bias": (20,)}
    found = match(ARRAYS, NAMES, shapes, ["head"])
    assert found.skipped == ("head/kernel", "head/bias")
    assert found.ignored == ("fc.weight",)


def test_a_backbone_alone_has_no_use_for_the_head():
    shapes = {path: shape for path, shape in SHAPES.items() if path.startswith("backbone")}
    found = match(ARRAYS, NAMES, shapes)
    assert set(found.arrays) == set(shapes)
    assert found.ignored == ("fc.weight",)


def test_what_torchvision_adds_is_ignored():
    more = {
        "bn2.num_batches_tracked": np.asarray(9),
        "aux1.conv.conv.weight": np.zeros((2, 2, 1, 1), np.float32),
        "AuxLogits.fc.bias": np.zeros(3, np.float32),
    }
    assert match(ARRAYS | more, NAMES, SHAPES, ["head/bias"]).ignored == tuple(more)


def test_names_to_ignore_are_left_out_and_listed():
    more = {"classifier.1.0.weight": np.zeros(2, np.float32), "logits": np.zeros(1, np.float32)}
    refused("left over in it:\n  classifier.1.0.weight of", ARRAYS | more, ["head"])
    found = match(ARRAYS | more, NAMES, SHAPES, ["head"], [r"classifier\..*", "logits"])
    assert found.ignored == ("fc.weight", *more)
    assert len(found.arrays) == 4
    ours = match(ARRAYS | more, NAMES, SHAPES, ["head"], [r"(fc|classifier)\..*|logits"])
    assert set(ours.ignored) == set(found.ignored)
    with pytest.raises(UserError, match=r"1 left over in it:\n  logits of .*\n.* --ignore REGEX"):
        match(ARRAYS | more, NAMES, SHAPES, ["head"], ["classifier.*"])


def test_what_the_network_wants_is_missing_where_it_is_ignored():
    with pytest.raises(UserError, match=r"1 missing from it:\n  backbone/conv1/bias \(conv1.bias"):
        match(ARRAYS, NAMES, SHAPES, ["head"], ["conv1.bias"])


@pytest.mark.parametrize(
    ("regex", "words"),
    [
        ("classifier", "'classifier', match no whole name in the file, which has .*fc.weight"),
        ("fc", "'fc', match no whole name"),
        ("fc(", r"'fc\(', are no regex"),
    ],
)
def test_names_to_ignore_that_there_are_not(regex, words):
    with pytest.raises(UserError, match=words):
        match(ARRAYS, NAMES, SHAPES, ["head"], ["fc.weight", regex])


def test_auxiliary_heads_that_the_network_has_are_not_ignored():
    names = NAMES | {"auxiliary/bias": ("aux1.fc.bias", Layout.VECTOR)}
    shapes = SHAPES | {"auxiliary/bias": (3,)}
    bias = np.ones(3, np.float32)
    found = match(ARRAYS | {"aux1.fc.bias": bias}, names, shapes, ["head/bias"])
    np.testing.assert_array_equal(found.arrays["auxiliary/bias"], bias)
    with pytest.raises(UserError, match=r"auxiliary/bias \(aux1\.fc\.bias\)"):
        match(ARRAYS, names, shapes, ["head/bias"])


@pytest.mark.parametrize(
    ("regex", "words"),
    [
        ("conv2", "'conv2', matches no parameter.*backbone/conv1, backbone/conv2, head/kernel"),
        ("backbone/conv", "'backbone/conv', matches no"),
        ("head(", r"'head\(', is no regex"),
    ],
)
def test_parts_that_there_are_not(regex, words):
    refused(words, skip=["head/bias", regex])


def test_parameters_without_a_foreign_name_are_not_exported():
    with pytest.raises(UserError, match=r"head/bias can't be exported.*backbone alone"):
        restore_names(OURS, NAMES)


NETWORKS = {
    "vgg": (
        Network(VGG(table=((1, 2), (2, 3), (1, 3), (1, 4), (1, 4))), FlattenHead(5, 2, width=6)),
        torchvision_keys,
        (64, 64, 3),
    ),
    "darknet": (
        Network(Darknet(table=(((4, 3),), ((3, 3), (2, 1)))), ConvHead(5)),
        darknet_keys,
        (8, 8, 3),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_network_goes_out_and_comes_back(tmp_path, name, ending):
    network, table, size = NETWORKS[name]
    variables = random_variables(network, size)
    names, ours = table(network), flatten(variables)
    write(tmp_path / f"a{ending}", restore_names(ours, names))

    abstract = shapes(network, size)
    wanted = {path: leaf.shape for path, leaf in flatten(abstract).items()}
    found = match(read(tmp_path / f"a{ending}"), names, wanted)
    assert not found.skipped + found.ignored
    again = fill(abstract, found.arrays)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    images = np.random.default_rng(1).random((1, *size), np.float32)
    np.testing.assert_array_equal(apply(network, again, images), apply(network, variables, images))


def test_filling_takes_no_strange_path():
    with pytest.raises(KeyError):
        fill({"params": {"a": np.zeros(1)}}, {"b": np.ones(1)})


def darknet_numbers():
    """A network, its names, shapes and the numbers of its file."""
    network, table, size = NETWORKS["darknet"]
    variables, names = random_variables(network, size), table(network)
    foreign = restore_names(flatten(variables), names)
    numbers = np.concatenate([array.ravel() for array in foreign.values()])
    return flatten(variables), names, numbers


def test_darknets_numbers_are_cut_in_the_order_of_its_layers():
    ours, names, numbers = darknet_numbers()
    wanted = {path: array.shape for path, array in ours.items()}
    found = match({darknet.NUMBERS: numbers}, names, wanted)
    assert set(found.arrays) == set(ours)
    for path, array in found.arrays.items():
        np.testing.assert_array_equal(array, ours[path])

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
    ("change", "words"),
    [
        (-1, r"end within head/conv/kernel \(3/weights\).*cut off, or of another network"),
        (1, r"numbers, and the network takes .*skip the head"),
    ],
)
def test_darknets_numbers_of_another_network(change, words):
    ours, names, numbers = darknet_numbers()
    wanted = {path: array.shape for path, array in ours.items()}
    other = np.resize(numbers, len(numbers) + change)
    with pytest.raises(UserError, match=words):
        match({darknet.NUMBERS: other}, names, wanted)


@pytest.mark.parametrize("change", [-1, 1, 2])
def test_what_follows_darknets_backbone_is_a_head_or_refused(change):
    """Each class has a bias and a weight for either channel."""
    ours, names, numbers = darknet_numbers()
    wanted = {path: array.shape for path, array in ours.items()}
    other = np.resize(numbers, len(numbers) + change)
    words = rf"has {15 + change} numbers where the head begins .* a multiple of 3, so many for each"
    with pytest.raises(UserError, match=words):
        match({darknet.NUMBERS: other}, names, wanted, ["head"])
    class_more = np.resize(numbers, len(numbers) + 3)
    found = match({darknet.NUMBERS: class_more}, names, wanted, ["head"])
    assert found.ignored == ("18 numbers at the end",)


def test_what_follows_a_stage_of_darknets_that_is_fresh_can_be_anything():
    ours, names, numbers = darknet_numbers()
    wanted = {path: array.shape for path, array in ours.items()}
    other = np.append(numbers, numbers[:1])
    found = match({darknet.NUMBERS: other}, names, wanted, ["backbone/conv2", "head"])
    taken = sum(array.size for array in found.arrays.values())
    assert 0 < taken < len(numbers)
    assert found.ignored == (f"{len(other) - taken} numbers at the end",)
