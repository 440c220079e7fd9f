"""Config files, overrides, JSON and differences."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from vocjax.config import (
    base_config,
    differences,
    find_file,
    from_json,
    load_config,
    shipped,
    to_json,
)
from vocjax.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
PCA, AUTOENCODER = CONFIGS / "pca.py", CONFIGS / "autoencoder_256.py"


def test_overrides_set_fields_of_every_type():
    config = load_config(
        AUTOENCODER,
        [
            "--config.optimizer.learning_rate=3e-4",
            "--config.epochs",
            "7",
            "--config.name=mine",
            "--config.data.augment.flip",
            "--config.model.encoder=(4,4,4)",
            "--config.data.classes=('cat','dog')",
        ],
    )
    assert config.optimizer.learning_rate == 3e-4
    assert (config.epochs, config.name, config.data.augment.flip) == (7, "mine", True)
    assert config.model.encoder == (4, 4, 4)
    assert config.data.classes == ("cat", "dog")
    unchanged = load_config(AUTOENCODER)
    assert unchanged.epochs == 10
    assert [line.split(":")[0] for line in differences(unchanged, config)] == [
        "data.augment.flip",
        "data.classes",
        "epochs",
        "model.encoder",
        "name",
        "optimizer.learning_rate",
    ]


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (["=Red fox"], ("Red fox",)),
        (["=cat,fox x"], ("cat,fox x",)),  # `data.classes.chosen` knows the names, and divides it
        (["", "it's,x"], ("it's,x",)),
        (["=1,2"], ("1,2",)),
        (["='cat','red fox'"], ("cat", "red fox")),
        (["=['cat']"], ("cat",)),
        (["=()"], ()),
    ],
)
def test_names_of_classes_need_no_quotes(given, classes):
    first, *more = given
    config = load_config(AUTOENCODER, [f"--config.data.classes{first}", *more])
    assert config.data.classes == classes


def test_last_of_an_override_given_twice_counts():
    twice = ["--config.model.encoder=(4,4)", "--config.epochs=3", "--config.model.encoder", "(8,)"]
    config = load_config(AUTOENCODER, [*twice, "--config.epochs=5"])
    assert (config.model.encoder, config.epochs) == ((8,), 5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["--config.optimiser.name=adam"],
            r"unknown field: .*'optimiser'.*Did you mean .optimizer",
        ),
        (["--config.optimizer.learningrate=1"], r"Did you mean .learning_rate. instead of"),
        (["--config.epoch=3"], r"Did you mean .epochs. instead of .epoch."),
        (["--config.epochs.x=3"], r"unknown field: .*epochs\.x"),
        (["--config." + "model." * 300 + "x=3"], r"a field of 1810 letters.* has 200"),
        (["--config.epochs=many"], r"can't be used: flag --config\.epochs=many: invalid literal"),
        (["--config.epochs=1.5"], r"--config\.epochs=1\.5: invalid literal for int"),
        (["--config.epochs"], r"Missing value for flag --config\.epochs"),
        (["--config.data.augment.flip=2"], r"Non-boolean argument to boolean flag"),
        (["--config.optimizer=adam"], r"--config\.optimizer=adam"),
        (["--confg.epochs=3"], r"Unknown command line flag 'confg\.epochs'"),
        (["epochs=3"], r"'epochs=3' is no flag and no override; .* --config\.epochs=3"),
    ],
)
def test_wrong_override_is_refused(overrides, message):
    with pytest.raises(UserError, match=message) as refused:
        load_config(PCA, overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:\n", r"can't be run: SyntaxError: .*line 1"),
        ("from vocjax.nothing import it\n", r"ModuleNotFoundError: No module named"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", r"can't be run: SystemExit: 3\."),
        ("def get_config():\n    exit()\n", r"can't be run: SystemExit"),
        ("x = 1\n", r"must define get_config\(\)"),
        ("def get_config():\n    return {'epochs': 3}\n", r"must define get_config\(\), which"),
        (
            "from vocjax.config import base_config\n"
            "def get_config():\n"
            "    config = base_config()\n"
            "    config.optimizer.learning_rat = 1e-3\n"
            "    return config\n",
            r"Did you mean .learning_rate. instead of .learning_rat.",
        ),
    ],
)
def test_broken_config_file_is_named(text, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as refused:
        load_config(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("path", ["nothing.py", "."])
def test_missing_config_file_is_named(path, tmp_path):
    with pytest.raises(UserError, match=r"there is no config file .* `vocjax configs` lists"):
        load_config(tmp_path / path)


def test_a_config_has_a_name_or_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = shipped("configs")
    for name in ("pca", "pca.py", "configs/pca.py", "./configs/pca.py"):
        assert find_file("configs", Path(name)) == known["pca"]
    for name in ("mine/pca.py", "/configs/pca.py", "pca.txt", "pcaa"):
        with pytest.raises(UserError, match=rf"no config file {name}.* mean 'pca'\?"):
            find_file("configs", name)
    mine = 'from vocjax.config import load_config\nget_config = lambda: load_config("pca")\n'
    assert find_file("configs", "./pca") == known["pca"]
    for name in ("pca", "pca.py", "own"):
        (tmp_path / name).write_text(mine)
    assert find_file("configs", "pca") == known["pca"]  # a bare name is vocjax's
    assert find_file("configs", "./pca") == Path("pca")  # and a path is a path
    assert find_file("configs", "pca.py") == Path("pca.py")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_file("configs", "~/own") == tmp_path / "own"
    for path in ("./pca", find_file("configs", "./pca")):
        (tmp_path / "pca").write_text("raise SystemExit")
        with pytest.raises(UserError, match="pca can't be run: SystemExit: it gives no reason"):
            load_config(path)
    assert load_config("own").to_dict() == load_config("pca").to_dict()


def test_files_loaded_one_after_the_other_know_nothing_of_each_other(tmp_path):
    load_config(PCA)
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match="get_config"):
        load_config(tmp_path / "empty.py")


def test_config_is_locked():
    with pytest.raises(AttributeError, match="epochs"):
        load_config(PCA).epoch = 3
    with pytest.raises(AttributeError, match="learning_rate"):
        base_config().optimizer.learning_rat = 1e-3
    config = base_config()
    config.model.components, config.loss.smoothing = 128, 0.0  # what a model or a loss is made of


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_json_round_trip(path):
    config = load_config(path)
    again = from_json(to_json(config))
    assert again.to_dict() == config.to_dict()
    assert differences(config, again) == []
    assert to_json(again) == to_json(config)
    assert isinstance(again.data.classes, tuple)
    assert again.is_locked


def test_differences_name_old_and_new():
    old = ConfigDict({"a": 1, "b": {"c": (1, 2), "gone": "x"}, "same": 0.5})
    new = ConfigDict({"a": 2, "b": {"c": (1, 2), "new": None}, "same": 0.5})
    assert differences(old, new) == [
        "a: 1 -> 2",
        "b.gone: 'x' -> 'absent'",
        "b.new: 'absent' -> None",
    ]
