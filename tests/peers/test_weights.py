"""Files of torch, safetensors and torchvision are read as they read them, and ours by them."""

import numpy as np
import pytest
from models.backbones.parity import apply, error, random_variables, shapes

from vocjax.errors import UserError
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.preprocessing import TORCHVISION
from vocjax.models.backbones.preprocessing import apply as preprocess
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.locate import Place, locate
from vocjax.pretrained.matching import fill, flatten, match, restore_names

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
of_torch = pytest.importorskip("safetensors.torch")
of_numpy = pytest.importorskip("safetensors.numpy")


def module():
    """Small, with batch norm, and every kind of tensor that a state dict can have."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    numbers = torch.arange(24.0).reshape(4, 6)
    for name, tensor in {
        "transposed": numbers.T,
        "cut": numbers[1:3, ::2],
        "float16": numbers.half(),
        "bfloat16": numbers.bfloat16(),
        "float64": numbers.double(),
        "int64": torch.arange(5),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "flags": torch.tensor([True, False]),
    }.items():
        layers.register_buffer(f"a_{name}", tensor)
    return layers


def same(arrays, state):
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach()
        if tensor.is_floating_point():
            expected = expected.float()
        assert arrays[name].dtype == expected.numpy().dtype
        np.testing.assert_array_equal(arrays[name], expected.numpy())


@pytest.mark.parametrize(
    "options",
    [{}, *({"pickle_protocol": p} for p in (4, 5)), {"_use_new_zipfile_serialization": False}],
    ids=str,
)
def test_state_dicts_are_read(tmp_path, options):
    state = module().state_dict()
    torch.save(state, tmp_path / "a.pth", **options)
    same(read(tmp_path / "a.pth"), state)


def test_parameters_and_plain_dicts(tmp_path):
    state = dict(module().named_parameters())
    torch.save(state, tmp_path / "a.pt")
    same(read(tmp_path / "a.pt"), state)


@pytest.mark.parametrize("legacy", [False, True])
def test_whole_models_and_checkpoints_are_refused(tmp_path, legacy):
    path, options = tmp_path / "a.pth", {"_use_new_zipfile_serialization": not legacy}
    torch.save(module(), path, **options)
    with pytest.raises(UserError, match=r"asks for.*save model\.state_dict\(\)"):
        read(path)
    model = module()
    adam = torch.optim.Adam(model.parameters())
    torch.save({"epoch": 3, "model": model.state_dict(), "adam": adam.state_dict()}, path)
    with pytest.raises(UserError, match="under 'model'"):
        read(path)


def test_safetensors_both_ways(tmp_path):
    state = {name: tensor.contiguous() for name, tensor in module().state_dict().items()}
    of_torch.save_file(state, tmp_path / "a.safetensors", {"format": "pt"})
    arrays = read(tmp_path / "a.safetensors")
    same({name: arrays[name] for name in state}, state)

    ours = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    write(tmp_path / "b.safetensors", ours)
    again = of_numpy.load_file(tmp_path / "b.safetensors")
    assert set(again) == set(ours)
    for name, array in ours.items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    ("backbone", "make", "ignored"),
    [
        ("resnet18", torchvision.models.resnet18, 20),
        ("squeezenet", torchvision.models.squeezenet1_1, 0),
        ("inception_v1", torchvision.models.GoogLeNet, 57 + 2 * 10),
    ],
)
def test_a_model_of_torchvision_comes_and_goes(tmp_path, backbone, make, ignored):
    torch.manual_seed(0)
    options = {"init_weights": False} if backbone == "inception_v1" else {}
    peer = make(num_classes=10, **options).eval()
    torch.save(peer.state_dict(), tmp_path / "a.pth")
    network, source = BACKBONES[backbone](10), SOURCES[backbone]["torchvision"]
    names = source.key_map(network)
    arrays = read(tmp_path / "a.pth")
    assert locate(arrays, {"torchvision": names}) == Place("torchvision", "")

    abstract = shapes(network, (64, 64, 3))
    wanted = {path: leaf.shape for path, leaf in flatten(abstract).items()}
    found = match(arrays, names, wanted)
    assert len(found.ignored) == ignored
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)
    with torch.inference_mode():
        expected = peer(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert error(apply(network, fill(abstract, found.arrays), images), expected) < 1e-4

    variables = random_variables(network, (64, 64, 3))
    write(tmp_path / "b.safetensors", restore_names(flatten(variables), names))
    state = of_torch.load_file(tmp_path / "b.safetensors")
    missing, left = peer.load_state_dict(state, strict=False)
    assert not left and set(missing) <= set(found.ignored)


@pytest.mark.parametrize("name", ["AlexNet", "VGG16", "ResNet18", "MobileNet_V2", "SqueezeNet1_1"])
def test_torchvisions_usual_values(name):
    published = torchvision.models.get_weight(f"{name}_Weights.IMAGENET1K_V1").transforms()
    images = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    expected = torchvision.transforms.functional.normalize(
        torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), published.mean, published.std
    )
    got = np.asarray(preprocess(TORCHVISION, images)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "peer"), [("inception_v1", "GoogLeNet"), ("inception_v3", "Inception3")]
)
def test_the_published_inceptions_turn_usual_values_into_symmetric_ones(backbone, peer):
    with torch.device("meta"):
        peer = getattr(torchvision.models, peer)(transform_input=True, init_weights=False)
    images = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    usual = np.array(preprocess(TORCHVISION, images)).transpose(0, 3, 1, 2)
    expected = peer._transform_input(torch.from_numpy(usual.copy())).numpy()
    source = SOURCES[backbone]["torchvision"]
    got = np.asarray(preprocess(source.preprocessing, images)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
