"""An encoder begins with that of another run or of imported weights, or is refused."""

from pathlib import Path

import jax
import numpy as np
import pytest
from drawn_weights import drawn, imported, same, write_run
from flax.traverse_util import flatten_dict

from vocjax.config import load_config, to_json
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.models.backbones.preprocessing import TORCHVISION
from vocjax.pretrained.initialise import with_encoder_of
from vocjax.pretrained.resolve import complete
from vocjax.tasks import make_task

CONFIGS = Path(__file__).parents[2] / "configs"
AUTOENCODER = {"model.encoder": (4, 4), "model.decoder": (4,), "model.norm": "batch"}
CLASSIFIER = {"model.encoder": (4, 4), "model.norm": "batch"}


def config_of(name, origin="", **overrides):
    config = load_config(CONFIGS / f"{name}.py")
    config.update_from_flattened_dict({"data.size": 16, "init_from": str(origin)} | overrides)
    return config


def begun(config):
    """The variables of a run by path; those that are not from `init_from` are shapes alone."""
    variables = jax.eval_shape(make_task(config).init, jax.random.key(0))
    variables = with_encoder_of(variables, config, make_mesh())
    return {
        path: leaf
        for path, leaf in flatten_dict(variables, sep="/").items()
        if not isinstance(leaf, jax.ShapeDtypeStruct)
    }


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """(the directory of an autoencoder's run, its encoder's variables by path)."""
    workdir = tmp_path_factory.mktemp("runs") / "autoencoder"
    variables = write_run(workdir, config_of("autoencoder_256", **AUTOENCODER))
    flat = flatten_dict(variables, sep="/")
    return workdir, {path: leaf for path, leaf in flat.items() if path.split("/")[1] == "encoder"}


def test_parameters_and_statistics_are_those_of_the_run(autoencoder):
    origin, encoder = autoencoder
    found = begun(config_of("classifier_256", origin, **CLASSIFIER))
    assert {path.split("/")[0] for path in found} == {"params", "batch_stats"}
    same(found, encoder)


def test_a_grey_encoder_begins_with_the_sum_over_the_colours(autoencoder):
    """A grey image then has the features of three equal channels."""
    origin, encoder = autoencoder
    found = begun(config_of("autoencoder_256", origin, **AUTOENCODER, **{"data.channels": 1}))
    summed = [path for path, leaf in found.items() if leaf.shape != encoder[path].shape]
    assert len(summed) == 1
    np.testing.assert_array_equal(found[summed[0]], encoder[summed[0]].sum(axis=2, keepdims=True))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.encoder": (4, 6)}, r"ConvBlock_1/Conv_0/kernel: \(3, 3, 4, 4\) there, \(3, 3, 4"),
        ({"model.encoder": (4, 4, 4)}, r"ConvBlock_2/Conv_0/bias: absent there, \(4,\) here"),
        ({"data.channels": 4}, r"kernel: \(3, 3, 3, 4\) there, \(3, 3, 4, 4\) here"),
        ({"model.activation": "tanh"}, r"activation is 'tanh', and the encoder of .*with 'relu'"),
        ({"model.norm": "none"}, r"model.norm is 'none', and .*with 'batch'; set it to that"),
    ],
)
def test_an_encoder_that_differs_is_refused(overrides, words, autoencoder):
    config = config_of("classifier_256", autoencoder[0], **(CLASSIFIER | overrides))
    with pytest.raises(UserError, match=words):
        begun(config)


def test_an_encoder_can_be_cut_off_after_a_stage(autoencoder):
    whole = config_of("classifier_256", autoencoder[0], **CLASSIFIER)
    cut = config_of("classifier_256", autoencoder[0], **(CLASSIFIER | {"model.encoder": (4,)}))
    first, every = begun(cut), begun(whole)
    assert first.keys() == {path for path in every if "/ConvBlock_0/" in path} != every.keys()
    for path, array in first.items():
        np.testing.assert_array_equal(array, every[path])


def test_a_run_without_encoder_or_of_grey_images_or_none_is_refused(tmp_path):
    write_run(tmp_path / "pca", config_of("pca", **{"model.components": 3}))
    write_run(tmp_path / "grey", config_of("classifier_256", **CLASSIFIER, **{"data.channels": 1}))
    for name, words in (
        ("pca", r"Conv_0/kernel: absent there, \(3, 3, 3, 4\) here"),
        ("grey", r"Conv_0/kernel: \(3, 3, 1, 4\) there, \(3, 3, 3, 4\) here"),
        ("none", r"none has neither imported weights .* nor a run"),
    ):
        with pytest.raises(UserError, match=words):
            begun(config_of("classifier_256", tmp_path / name, **CLASSIFIER))


def test_an_encoder_is_cut_off_before_its_code_or_after_it(tmp_path):
    linear = {"model.encoder": (4, 4), "model.trunk": "linear", "model.residual": 1}
    variables = write_run(
        tmp_path, config_of("autoencoder_256", **linear, **{"model.decoder": (4,), "model.code": 2})
    )
    encoder = flatten_dict({"params": {"encoder": variables["params"]["encoder"]}}, sep="/")
    same(begun(config_of("classifier_256", tmp_path, **linear, **{"model.code": 2})), encoder)
    before = {path: leaf for path, leaf in encoder.items() if "/code/" not in path}
    assert len(before) == len(encoder) - 2
    same(begun(config_of("classifier_256", tmp_path, **linear)), before)
    with pytest.raises(UserError, match=r"code/kernel: \(1, 1, 4, 2\) there, \(1, 1, 4, 3\) here"):
        begun(config_of("classifier_256", tmp_path, **linear, **{"model.code": 3}))


# Imported weights --------------------------------------------------------------------------------


def pretrained(origin, **overrides):
    return complete(config_of("classifier_pretrained", origin, **({"data.size": 64} | overrides)))


def test_stages_up_to_the_last_are_those_of_the_weights(squeezenet):
    found = begun(pretrained(squeezenet, **{"model.backbone.last": "fire3"}))
    ours, _ = drawn("squeezenet", "gluon")
    assert {path.split("/")[3] for path in found} == {"conv1", "fire2", "fire3"}
    for path, leaf in found.items():
        np.testing.assert_array_equal(leaf, ours[path.removeprefix("params/encoder/")])


def test_what_the_import_skipped_is_drawn(tmp_path):
    ours, _ = drawn("squeezenet", "gluon")
    skipped = [path for path in ours if path.startswith(("head", "backbone/fire9"))]
    arrays = {path: array for path, array in ours.items() if path not in skipped}
    config = pretrained(imported(tmp_path / "w", "squeezenet", "gluon", skipped, arrays))
    config.model.backbone.last = "fire9"  # `complete` would refuse it
    assert {path.removeprefix("params/encoder/") for path in begun(config)} == set(arrays)


def test_fields_that_only_the_config_has_are_no_difference(tmp_path):
    weights = imported(tmp_path / "w", "xception", "keras")
    config = pretrained(weights, **{"model.backbone.fields": (("padding", "same"),)})
    assert with_encoder_of({}, config, make_mesh()) == {}


def test_a_segmenter_begins_with_a_classifiers_backbone(tmp_path):
    run = config_of("classifier_pretrained", **{"data.size": 32})
    backbone = {"name": "squeezenet", "stem": "small", "last": "fire2"}
    run.model.backbone.update(backbone | {"preprocessing": TORCHVISION._asdict()})
    encoder = flatten_dict(write_run(tmp_path / "run", run)["params"]["encoder"], sep="/")
    config = complete(config_of("fcn_pretrained", tmp_path / "run", **{"model.skips": 0}))
    found = begun(config)
    assert len(encoder) == 8
    same(found, {f"params/encoder/{path}": leaf for path, leaf in encoder.items()})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("stem", "imagenet", "stem is 'imagenet', and .* trained with 'small'"),
        ("fields", (), r"fields is \(\), and .* trained with \(\('variant', 'keras'\),\)"),
        ("preprocessing", {"white": 255.0}, "preprocessing is .*trained with.* `vocjax.*complete`"),
    ],
)
def test_a_backbone_that_computes_something_else_is_refused(field, value, words, tmp_path):
    run = config_of("classifier_pretrained")
    run.model.backbone.update({"name": "mobilenet_v2", "stem": "small"})
    run.model.backbone.fields = (("variant", "keras"),)
    (tmp_path / "config.json").write_text(to_json(run))
    config = pretrained(tmp_path)
    config.model.backbone.update({field: value})
    with pytest.raises(UserError, match=words):
        with_encoder_of({}, config, make_mesh())


def test_weights_without_a_config_that_has_a_backbone_are_refused(squeezenet, tmp_path):
    with pytest.raises(UserError, match=r"(?s)does not fit .*no model.backbone: imported w"):
        begun(config_of("classifier_256", squeezenet, **CLASSIFIER))
    named = {"model.backbone.name": "squeezenet"}
    with pytest.raises(UserError, match=r"w has neither imported weights .* nor a run"):
        with_encoder_of({}, pretrained(tmp_path / "w", **named), make_mesh())
