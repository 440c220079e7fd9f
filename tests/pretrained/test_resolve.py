"""What a config takes over from pretrained weights, and runs that begin with them."""

import json

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from vocjax.config import load_config, to_json
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.models.backbones import BACKBONES, SOURCES
from vocjax.models.backbones.preprocessing import CAFFE, IDENTITY, SYMMETRIC, TORCHVISION
from vocjax.models.backbones.size import shapes
from vocjax.pretrained.formats import write
from vocjax.pretrained.initialise import with_encoder_of
from vocjax.pretrained.matching import flatten, restore_names
from vocjax.pretrained.resolve import complete
from vocjax.pretrained.store import import_weights
from vocjax.runs.restore import load_run
from vocjax.tasks import make_task
from vocjax.training.loop import train_and_evaluate


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """`published(backbone, source, skip=...)`: imported weights of random numbers."""

    def make(backbone, source, skip="head"):
        directory = tmp_path_factory.mktemp(backbone)
        network = BACKBONES[backbone](**SOURCES[backbone][source].fields)
        rng = np.random.default_rng(0)
        arrays = {
            path: 0.2 * rng.random(leaf.shape, np.float32) - 0.1 * (not path.endswith("/var"))
            for path, leaf in flatten(shapes(network, (64, 64, 3))).items()
        }
        names = SOURCES[backbone][source].key_map(network)
        write(directory / "file.npz", restore_names(arrays, names))
        import_weights(
            backbone, directory / "file.npz", directory / "imported", source=source, skip=[skip]
        )
        return directory / "imported"

    return make


@pytest.fixture(scope="module")
def squeezenet(published):
    return published("squeezenet", "gluon")


def pretrained(weights, config_dir, *overrides):
    path = config_dir / "configs/classifier_pretrained.py"
    return complete(load_config(path, [f"--config.init_from={weights}", *overrides]))


@pytest.mark.parametrize(
    ("backbone", "source", "skip", "preprocessing", "fields", "last"),
    [
        ("squeezenet", "gluon", "head", TORCHVISION, (), ""),
        ("mobilenet_v2", "keras", "head", SYMMETRIC, (("variant", "keras"),), ""),
        ("resnet50", "caffe", "backbone/conv5|head", CAFFE, (("variant", "caffe"),), "conv4"),
    ],
)
def test_a_config_gets_what_belongs_to_the_weights(
    published, pytestconfig, backbone, source, skip, preprocessing, fields, last
):
    config = pretrained(published(backbone, source, skip), pytestconfig.rootpath)
    chosen = config.model.backbone
    assert chosen.name == backbone
    assert chosen.preprocessing.to_dict() == preprocessing._asdict()
    assert chosen.fields == fields
    assert chosen.last == last


def test_a_stage_that_is_asked_for_stays(published, pytestconfig):
    weights = published("resnet18", "torchvision", "backbone/conv5|head")
    chosen = pretrained(weights, pytestconfig.rootpath, "--config.model.backbone.last=conv3")
    assert chosen.model.backbone.last == "conv3"
    whole = pretrained(weights, pytestconfig.rootpath)
    whole.model.backbone.last = "conv5"  # `load_config` would not have it
    variables = jax.jit(make_task(whole).init)(jax.random.key(0))
    begun = with_encoder_of(variables, whole, make_mesh())
    for before, after in zip(
        flatten_dict(variables["params"], sep="/").items(),
        flatten_dict(begun["params"], sep="/").items(),
        strict=True,
    ):
        skip = "/conv5/" in before[0] or before[0].startswith("head/")
        assert np.array_equal(before[1], after[1]) == skip, before[0]


@pytest.mark.parametrize(
    ("skip", "last", "words"),
    [
        ("backbone/fire3/squeeze|head", "fire3", "last is 'fire3', and .* no further than 'fire2'"),
        ("backbone/fire3/squeeze|head", "fire9", "last is 'fire9', and .* no further than 'fire2'"),
        (
            "backbone/conv1/conv/bias|head",
            "",
            "begin with what is drawn anew: not all of conv1, the",
        ),
        (
            "backbone/conv1/conv/bias|head",
            "fire9",
            "begin with what is drawn anew: not all of conv1",
        ),
    ],
)
def test_a_stage_that_the_weights_do_not_fill_is_refused(
    skip, last, words, published, pytestconfig
):
    weights = published("squeezenet", "gluon", skip)
    with pytest.raises(UserError, match=words):
        pretrained(weights, pytestconfig.rootpath, f"--config.model.backbone.last={last}")


def test_any_stage_of_weights_that_are_whole_can_be_the_last(squeezenet, pytestconfig):
    for last in ("conv1", "fire9"):
        config = pretrained(
            squeezenet, pytestconfig.rootpath, f"--config.model.backbone.last={last}"
        )
        assert config.model.backbone.last == last


def test_a_run_that_ends_at_a_stage_gives_no_more(other_run, pytestconfig):
    run = other_run((), name="squeezenet", last="fire4")
    with pytest.raises(UserError, match=r"last is 'fire5', and .* go no further than 'fire4'"):
        pretrained(run, pytestconfig.rootpath, "--config.model.backbone.last=fire5")


def test_the_small_stem_of_a_run_is_taken_over(other_run, squeezenet, pytestconfig):
    run = other_run((), name="squeezenet", stem="small")
    config = pretrained(run, pytestconfig.rootpath)
    assert config.model.backbone.stem == "small"
    config.model.backbone.stem = "imagenet"
    variables = jax.eval_shape(make_task(config).init, jax.random.key(0))
    with pytest.raises(UserError, match=r"stem is 'imagenet', and .* trained with 'small'"):
        with_encoder_of(variables, config, make_mesh())
    chosen = "--config.model.backbone.stem=small"
    assert pretrained(squeezenet, pytestconfig.rootpath, chosen).model.backbone.stem == "small"


def test_weights_that_are_gone_are_those_that_a_run_began_with(published, tmp_path, pytestconfig):
    weights = published("resnet50", "caffe", "backbone/conv5|head")
    began = pretrained(weights, pytestconfig.rootpath)
    (tmp_path / "config.json").write_text(to_json(began))
    weights.rename(weights.with_name("elsewhere"))
    path = pytestconfig.rootpath / "configs/classifier_pretrained.py"
    again = complete(load_config(path, [f"--config.init_from={weights}"]), tmp_path)
    assert to_json(again) == to_json(began)
    with pytest.raises(UserError, match="holds neither imported weights"):
        complete(load_config(path, [f"--config.init_from={weights}s"]), tmp_path)


def test_fields_that_the_weights_do_not_have_stay(published, pytestconfig):
    weights = published("xception", "keras")
    fields = "--config.model.backbone.fields=(('padding', 'same'),)"
    last = "--config.model.backbone.last=block2"
    config = pretrained(weights, pytestconfig.rootpath, fields, last)
    assert config.model.backbone.fields == (("padding", "same"),)
    assert config.model.backbone.preprocessing.to_dict() == SYMMETRIC._asdict()
    drawn = jax.eval_shape(make_task(config).init, jax.random.key(0))
    begun = with_encoder_of(drawn, config, make_mesh())["params"]["encoder"]["backbone"]
    assert set(begun) == {"block1", "block2"}
    assert all(isinstance(array, np.ndarray) for array in jax.tree.leaves(begun))


@pytest.fixture
def other_run(tmp_path, pytestconfig):
    """`other_run(fields, **fields of the backbone)`: a run as far as its config tells."""

    def make(fields, **overrides):
        config = load_config(pytestconfig.rootpath / "configs/classifier_pretrained.py")
        config.model.backbone.update(fields=fields, **overrides)
        (tmp_path / "other").mkdir()
        (tmp_path / "other/config.json").write_text(to_json(config))
        return tmp_path / "other"

    return make


FROM_KERAS = (("variant", "keras"),)


@pytest.mark.parametrize(
    ("theirs", "ours", "merged"),
    [
        (FROM_KERAS, (), FROM_KERAS),
        (FROM_KERAS, (("padding", "same"),), (*FROM_KERAS, ("padding", "same"))),
        (FROM_KERAS, (("padding", "same"), *FROM_KERAS), (*FROM_KERAS, ("padding", "same"))),
        ((*FROM_KERAS, ("padding", "same")), (), (*FROM_KERAS, ("padding", "same"))),
    ],
)
def test_fields_are_the_origins_and_what_stands_beside_them(
    theirs, ours, merged, other_run, pytestconfig
):
    run = other_run(theirs, name="inception_v3")
    fields = f"--config.model.backbone.fields={ours}"
    config = pretrained(run, pytestconfig.rootpath, fields)
    assert config.model.backbone.fields == merged


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        (FROM_KERAS, "(('variant', 'caffe'),)", "fields has variant 'caffe', .* variant 'keras'; "),
        ((("padding", "same"),), "(('padding', 'valid'),)", "has padding 'valid', .* 'same'; set"),
        (FROM_KERAS, "('variant',)", r"fields is \('variant',\); it is \(name, value\) pairs"),
    ],
)
def test_other_fields_than_the_origins_are_refused(theirs, ours, words, other_run, pytestconfig):
    run = other_run(theirs, name="inception_v3")
    with pytest.raises(UserError, match=words):
        pretrained(run, pytestconfig.rootpath, f"--config.model.backbone.fields={ours}")


def chosen(preprocessing):
    """Overrides that set a pre-processing."""
    return [
        f"--config.model.backbone.preprocessing.{name}={value}"
        for name, value in preprocessing._asdict().items()
    ]


def test_a_preprocessing_that_is_asked_for_is_the_weights_or_refused(squeezenet, pytestconfig):
    for same in (TORCHVISION, IDENTITY):
        config = pretrained(squeezenet, pytestconfig.rootpath, *chosen(same))
        assert config.model.backbone.preprocessing.to_dict() == TORCHVISION._asdict()
    words = (
        r"has white 255.0, mean \(0.0, .*, scale \(1.0, .*were trained with white 1.0, mean \(0.48"
    )
    with pytest.raises(UserError, match=r"has order 'BGR', white 255.0, mean .*order 'RGB', wh"):
        pretrained(squeezenet, pytestconfig.rootpath, *chosen(CAFFE))
    with pytest.raises(UserError, match=words):
        white = "--config.model.backbone.preprocessing.white=255.0"
        pretrained(squeezenet, pytestconfig.rootpath, white)


def test_another_backbone_is_refused(squeezenet, pytestconfig):
    with pytest.raises(UserError, match=r"name is 'vgg16', and .* holds weights of squeezenet"):
        pretrained(squeezenet, pytestconfig.rootpath, "--config.model.backbone.name=vgg16")


def test_a_config_without_weights_names_its_backbone(pytestconfig):
    config = load_config(pytestconfig.rootpath / "configs/classifier_pretrained.py")
    with pytest.raises(UserError, match=r"name is ''; it is one of alexnet, .*weights import"):
        make_task(config)


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_an_origin_that_holds_nothing_is_refused_where_it_has_to_name_the_backbone(
    there, pytestconfig, tmp_path
):
    if there:
        (tmp_path / "w").mkdir()
    words = (
        r"init_from is '.*/w', which holds neither imported .*`vocjax weights import --backbone "
        r"NAME FILE --output .*/w` or `vocjax train --config FILE --workdir .*/w`"
    )
    with pytest.raises(UserError, match=words):
        pretrained(tmp_path / "w", pytestconfig.rootpath)
    named = "--config.model.backbone.name=squeezenet"  # as of a run that a campaign is to make
    config = pretrained(tmp_path / "w", pytestconfig.rootpath, named)
    assert config.model.backbone.name == "squeezenet"
    drawn = jax.eval_shape(make_task(config).init, jax.random.key(0))
    with pytest.raises(UserError, match=words):
        with_encoder_of(drawn, config, make_mesh())


@pytest.fixture(scope="module")
def small(squeezenet, tiny_config):
    """`small(**overrides)`: a classifier of few pixels that begins with the weights."""

    def load(**overrides):
        config = tiny_config("classifier_pretrained", init_from=str(squeezenet), **overrides)
        config.model.backbone.preprocessing.update(TORCHVISION._asdict())
        return config

    return load


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "run"
    train_and_evaluate(small(), workdir)
    return workdir


def test_a_run_begins_with_the_weights_and_leaves_them_alone(finished, squeezenet):
    with np.load(squeezenet / "weights.npz") as arrays:
        flat = flatten_dict(load_run(finished, make_mesh()).variables["params"], sep="/")
        encoder = {k.removeprefix("encoder/"): v for k, v in flat.items() if k.startswith("enc")}
        assert {path.split("/")[1] for path in encoder} == {"conv1", "fire2", "fire3", "fire4"}
        for path, array in encoder.items():
            np.testing.assert_array_equal(array, arrays[path])


def test_what_was_begun_with_is_told(finished, squeezenet):
    told = json.loads((finished / "run.json").read_text())["init_from"]
    file = json.loads((squeezenet / "weights.json").read_text())["file"]
    assert told == {"backbone": "squeezenet", "source": "gluon", "file": file}


def test_other_values_before_the_network_are_refused(small, tmp_path):
    config = small()
    config.model.backbone.preprocessing.white = 255.0
    with pytest.raises(UserError, match=r"preprocessing is .* trained with .*load_config"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_segmenter_begins_with_a_classifiers_backbone(finished, pytestconfig, tiny_config):
    path = pytestconfig.rootpath / "configs/segmentation_pretrained.py"
    told = complete(load_config(path, [f"--config.init_from={finished}"])).model.backbone
    assert (told.name, told.last) == ("squeezenet", "fire4")
    assert told.preprocessing.to_dict() == TORCHVISION._asdict()
    config = tiny_config("segmentation_pretrained", init_from=str(finished))
    config.model.backbone.update(told)
    config.model.backbone.stem = "small"
    variables = jax.jit(make_task(config).init)(jax.random.key(0))
    begun = with_encoder_of(variables, config, make_mesh())["params"]["encoder"]
    theirs = load_run(finished, make_mesh()).variables["params"]["encoder"]
    assert jax.tree.all(jax.tree.map(np.array_equal, begun, theirs))
