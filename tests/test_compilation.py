"""Compiled programs in the user's cache: the same results, and no run that a folder can end."""

import os
import zlib

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from vocjax import cli, compilation
from vocjax.compilation import folder, keep_programs, tidy, train_step_options
from vocjax.errors import UserError
from vocjax.training import loop

EVENT = "/jax/compilation_cache/cache_"
EVENTS: list[str] = []
jax.monitoring.register_event_listener(lambda event, **_: EVENTS.append(event))


@pytest.fixture
def user(monkeypatch, tmp_path):
    """A process of a user who has chosen nothing, and whose cache is empty."""
    fields = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {field: jax.config.values[field] for field in fields}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compilation._say.cache_clear()
    start()
    yield
    for field, value in before.items():
        jax.config.update(field, value)
    jax.config.update("jax_enable_compilation_cache", True)
    start()


VALUE = [1, 4, 7, 10]


def value():
    return jax.jit(lambda x: x * 3 + 1)(np.arange(4.0)).tolist()


def start():
    """Forget what is compiled, as a new process."""
    compilation_cache.reset_cache()
    jax.clear_caches()
    EVENTS.clear()


def read_and_compiled():
    return EVENTS.count(f"{EVENT}hits"), EVENTS.count(f"{EVENT}misses")


def test_a_kept_step_gives_the_same_bits(user, begun, tiny_config):
    """The donated step of run 5: convolutions, batch norm, dropout."""
    small = {"model.encoder": (4, 4), "model.decoder": (4,)}
    config, ends, counts = tiny_config("segmentation_norm", **small), [], []
    for kept in (False, True, True):
        start()
        jax.config.update("jax_enable_compilation_cache", kept)
        keep_programs()
        run = begun(config)
        state, loss = run.step(run.state, run.batch)
        state, loss = run.step(state, run.batch)
        ends.append(jax.tree.leaves((state.params, state.batch_stats, state.opt_state, loss)))
        counts.append(read_and_compiled())
        assert all(array.is_deleted() for array in jax.tree.leaves(run.state.params))
    for with_cache in ends[1:]:
        jax.tree.map(np.testing.assert_array_equal, with_cache, ends[0])
    (_, no), (_, cold), (read, warm) = counts
    assert (no, warm) == (0, 0)
    assert read >= cold > 1


@pytest.mark.parametrize("kept", [True, False])
def test_a_field_turns_it_off(monkeypatch, tiny_config, tmp_path, kept):
    def stop():
        raise UserError("here")

    asked = []
    monkeypatch.setattr(loop, "keep_programs", lambda: asked.append(1))
    monkeypatch.setattr(loop, "make_mesh", stop)
    config = tiny_config("segmentation_norm", keep_programs=kept)
    with pytest.raises(UserError, match="here"):
        loop.train_group([config], [tmp_path])
    assert bool(asked) == kept


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "TRAIN_STEP", {"xla_no_such_option": False})
    train_step_options.cache_clear()
    try:
        assert train_step_options() == {}
    finally:
        train_step_options.cache_clear()


def test_the_second_prediction_compiles_nothing(user, finished_run, tmp_path, capsys):
    Image.new("RGB", (40, 30), (200, 90, 20)).save(tmp_path / "photo.png")
    run, photo = str(finished_run("autoencoder_256")), str(tmp_path / "photo.png")
    command = ["predict", "--workdir", run, photo]
    said = []
    for output in "ab":
        start()
        assert cli.main([*command, "--output", str(tmp_path / output)]) == 0
        said.append(capsys.readouterr().out.replace(str(tmp_path / output), ""))
        read, compiled = read_and_compiled()
    assert said[0] == said[1]
    assert read
    assert not compiled


@pytest.mark.parametrize("there", ["a file", "no home"])
def test_a_folder_that_cannot_be_used_costs_a_sentence(there, user, monkeypatch, tmp_path, capsys):
    if there == "a file":
        (tmp_path / "cache").write_text("")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(compilation, "user_cache", no_home)
    for _ in range(2):
        keep_programs()
        assert value() == VALUE
    err = capsys.readouterr().err
    assert err.count("what is compiled is not kept for the next start: ") == 1
    assert ("cache" if there == "a file" else "home directory") in err
    assert jax.config.jax_compilation_cache_dir is None


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_damaged_programs_are_compiled_again(user):
    keep_programs()
    assert value() == VALUE
    (damaged,) = folder().glob("jit__lambda*-cache")
    whole = damaged.read_bytes()
    for content in (whole[:50], b"", zlib.compress(b"what is not a program"), os.urandom(99)):
        damaged.write_bytes(content)
        start()
        assert value() == VALUE  # in a process that found it whole when it started
    damaged.write_bytes(whole[:50])
    start()
    keep_programs()
    assert not damaged.exists()
    assert value() == VALUE
    assert zlib.decompress(damaged.read_bytes())


def test_the_longest_unused_programs_go(tmp_path):
    """Also those of other processors, which are in folders beside this one's."""
    for number, place in enumerate(("mine", "other", "mine", "mine")):
        (tmp_path / place).mkdir(exist_ok=True)
        path = tmp_path / place / f"{number}-cache"
        path.write_bytes(zlib.compress(os.urandom(10_000), 0))
        os.utime(path, (number + 1, 1))
    tidy(tmp_path / "mine", 21_000)
    assert {path.name for path in tmp_path.rglob("*-cache")} == {"2-cache", "3-cache"}


@pytest.mark.parametrize("choice", ["a folder", "off"])
def test_what_the_user_chose_counts(choice, user, tmp_path):
    theirs = str(tmp_path / "theirs") if choice == "a folder" else None
    jax.config.update("jax_compilation_cache_dir", theirs)
    jax.config.update("jax_enable_compilation_cache", choice != "off")
    keep_programs()
    assert jax.config.jax_compilation_cache_dir == theirs
    assert not (tmp_path / "cache").exists()
