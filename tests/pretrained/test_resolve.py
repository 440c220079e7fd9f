"""What a config takes over from the weights that its run begins with, and what it can't."""

import json
from pathlib import Path

import pytest
from drawn_weights import imported

from vocjax.config import load_config, to_json
from vocjax.errors import UserError
from vocjax.models.backbones.preprocessing import CAFFE, IDENTITY, SYMMETRIC, TORCHVISION
from vocjax.pretrained.resolve import complete, origin_facts
from vocjax.pretrained.store import read_imported
from vocjax.tasks import make_task

CONFIG = Path(__file__).parents[2] / "configs/classifier_pretrained.py"
WHOLE, UP_TO_CONV4 = ["head/kernel"], ["backbone/conv5/kernel", "head/kernel"]
FROM_KERAS = (("variant", "keras"),)


@pytest.fixture
def weights(tmp_path):
    """`weights(backbone, source, skipped)`: imported weights, as far as their facts go."""
    return lambda *facts: imported(tmp_path / "weights", *facts)


@pytest.fixture
def run_with(tmp_path):
    """`run_with(**fields of the backbone)`: a run, as far as its config goes."""

    def make(**backbone):
        config = load_config(CONFIG)
        config.model.backbone.update(backbone)
        (tmp_path / "run").mkdir()
        (tmp_path / "run/config.json").write_text(to_json(config))
        return tmp_path / "run"

    return make


def values(preprocessing):
    return {f"preprocessing.{name}": value for name, value in preprocessing._asdict().items()}


def pretrained(origin, workdir=None, **backbone):
    """The config of a run that begins with `origin`, given fields of its backbone."""
    flags = [f"--config.model.backbone.{field}={value}" for field, value in backbone.items()]
    config = load_config(CONFIG, [f"--config.init_from={origin}", *flags])
    return complete(config, workdir).model.backbone


@pytest.mark.parametrize(
    ("backbone", "source", "skipped", "preprocessing", "fields", "last"),
    [
        ("squeezenet", "gluon", WHOLE, TORCHVISION, (), ""),
        ("mobilenet_v2", "keras", WHOLE, SYMMETRIC, FROM_KERAS, ""),
        ("resnet50", "caffe", UP_TO_CONV4, CAFFE, (("variant", "caffe"),), "conv4"),
    ],
)
def test_a_config_gets_what_belongs_to_the_weights(
    weights, backbone, source, skipped, preprocessing, fields, last
):
    chosen = pretrained(weights(backbone, source, skipped))
    assert chosen.name == backbone
    assert chosen.preprocessing.to_dict() == preprocessing._asdict()
    assert chosen.fields == fields
    assert chosen.last == last


def test_a_run_gives_its_stem_its_last_stage_and_its_preprocessing(run_with):
    values = {"name": "squeezenet", "stem": "small", "last": "fire4"}
    run = run_with(**values, preprocessing=SYMMETRIC._asdict())
    chosen = pretrained(run)
    assert {field: chosen[field] for field in values} == values
    assert chosen.preprocessing.to_dict() == SYMMETRIC._asdict()
    with pytest.raises(UserError, match=r"last is 'fire5', and .* end at 'fire4'"):
        pretrained(run, last="fire5")


def test_a_stem_that_is_asked_for_stays(weights):
    assert pretrained(weights("squeezenet", "gluon"), stem="small").stem == "small"


@pytest.mark.parametrize(
    ("skipped", "last"), [(WHOLE, "conv1"), (WHOLE, "fire9"), (["backbone/fire9/a/bias"], "fire4")]
)
def test_a_stage_that_the_weights_fill_can_be_the_last(skipped, last, weights):
    assert pretrained(weights("squeezenet", "gluon", skipped), last=last).last == last


FIRE3, CONV1 = "backbone/fire3/squeeze/kernel", "backbone/conv1/conv/bias"


@pytest.mark.parametrize(
    ("skipped", "backbone", "words"),
    [
        (FIRE3, {"last": "fire3"}, "last is 'fire3', and .* end at 'fire2'"),
        (FIRE3, {"last": "fire9"}, "last is 'fire9', and .* end at 'fire2'"),
        (CONV1, {}, "can't begin a run: the import skipped parts of conv1"),
        (CONV1, {"last": "fire9"}, "can't begin a run: .* first stage of squeezenet"),
        ("head/kernel", {"name": "vgg16"}, "name is 'vgg16', and .* has weights of squeezenet"),
        ("head/kernel", values(CAFFE), r"has order 'BGR', white 255.0, mean .*with order 'RGB', w"),
        (
            "head/kernel",
            {"preprocessing.white": 255.0},
            r"has white 255.0, mean \(0.0, .*, scale .*with white 1.0, mean \(0.48.*--mean, --std,",
        ),
    ],
)
def test_what_the_weights_do_not_have_is_refused(skipped, backbone, words, weights):
    origin = weights("squeezenet", "gluon", [skipped])
    with pytest.raises(UserError, match=words):
        pretrained(origin, **backbone)


def test_weights_that_are_gone_are_those_of_the_run_in_the_workdir(weights, tmp_path):
    origin = weights("resnet50", "caffe", UP_TO_CONV4)
    config = complete(load_config(CONFIG, [f"--config.init_from={origin}"]))
    (tmp_path / "config.json").write_text(to_json(config))
    origin.rename(tmp_path / "elsewhere")
    assert pretrained(origin, tmp_path) == config.model.backbone
    with pytest.raises(UserError, match="has neither imported weights"):
        pretrained(f"{origin}s", tmp_path)


@pytest.mark.parametrize(
    ("theirs", "ours", "merged"),
    [
        (FROM_KERAS, (), FROM_KERAS),
        (FROM_KERAS, (("padding", "same"),), (*FROM_KERAS, ("padding", "same"))),
        (FROM_KERAS, (("padding", "same"), *FROM_KERAS), (*FROM_KERAS, ("padding", "same"))),
        ((*FROM_KERAS, ("padding", "same")), (), (*FROM_KERAS, ("padding", "same"))),
    ],
)
def test_fields_are_the_origins_and_then_the_configs_own(theirs, ours, merged, run_with):
    assert pretrained(run_with(name="inception_v3", fields=theirs), fields=ours).fields == merged


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        (FROM_KERAS, "(('variant', 'caffe'),)", "fields has variant 'caffe', .* variant 'keras'; "),
        ((("padding", "same"),), "(('padding', 'valid'),)", "has padding 'valid', .* 'same'; set"),
        (FROM_KERAS, "('variant',)", r"fields is \('variant',\); it is \(name, value\) pairs"),
    ],
)
def test_other_fields_than_the_origins_are_refused(theirs, ours, words, run_with):
    run = run_with(name="inception_v3", fields=theirs)
    with pytest.raises(UserError, match=words):
        pretrained(run, fields=ours)


@pytest.mark.parametrize("asked", [TORCHVISION, IDENTITY], ids=["torchvision", "identity"])
def test_the_preprocessing_is_that_of_the_weights(asked, weights):
    got = pretrained(weights("squeezenet", "gluon"), **values(asked)).preprocessing
    assert got.to_dict() == TORCHVISION._asdict()


def test_a_config_without_weights_names_its_backbone():
    with pytest.raises(UserError, match=r"name is ''; it is one of alexnet, .*weights import"):
        make_task(load_config(CONFIG))


def test_an_origin_with_nothing_is_refused_unless_the_backbone_has_a_name(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        words = (
            rf"{name} has neither imported .*`vocjax weights import --backbone NAME FILE --output "
            rf".*{name}` or `vocjax train --config FILE --workdir .*{name}`"
        )
        with pytest.raises(UserError, match=words):
            pretrained(tmp_path / name)
        # Its run may be made later, by the same sweep.
        assert pretrained(tmp_path / name, name="squeezenet").name == "squeezenet"


def test_what_a_run_keeps_of_weights(weights):
    origin = weights("squeezenet", "gluon")
    file = read_imported(origin).file
    assert origin_facts(origin) == {"backbone": "squeezenet", "source": "gluon", "file": file}


def test_what_a_run_keeps_of_another_run(tmp_path):
    nothing = {"commit": None, "seed": None, "fingerprint": None, "step": 0, "run": None}
    assert origin_facts(tmp_path) == nothing
    made = {"commit": "abc", "seed": 3, "dataset": {"fingerprint": "f"}, "python": "3"}
    (tmp_path / "run.json").write_text(json.dumps(made))
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "step": 2}\n{"epoch": 2, "step": 4}\n')
    expected = {"commit": "abc", "seed": 3, "fingerprint": "f", "step": 4, "run": None}
    assert origin_facts(tmp_path) == expected
