"""The house: imports run one way, files stay short, a config reads without the rest."""

import functools
import re

import house

# The rooms from left to right; a module imports its own room and those before it.
ROOMS = (
    {
        *("errors", "bounds", "files", "compilation", "flags", "allocation"),
        *("imports", "mesh", "hosts", "config", "painting"),
    },
    {"losses", "models", "data", "metrics"},
    {"latent"},
    {"tasks"},
    {"runs"},
    {"pretrained", "reporting", "explorer"},
    {"exported"},
    {"predict"},
    {"training"},
    {"evaluate", "shipped", "plans", "runner", "sweep", "commands", "cli"},
)
PLACES = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}
# What a room to the left or beside it may not import, though the order alone would allow it.
FORBIDDEN = {
    "config": r"mesh|files|painting|bounds",
    "errors": r"\w+",
    "models": r"data|metrics|losses",
    "losses": r"models|data|metrics",
    "pretrained": r"reporting|predict|explorer",
    "reporting": r"pretrained|predict|explorer",
    "training": r"reporting|predict|explorer",
}


def room_of(module):
    return module.split(".")[1] if "." in module else ""


@functools.cache
def imports():
    return house.imports()


def test_no_modules_import_each_other():
    assert house.circles(imports()) == []


def test_imports_run_one_way():
    wrong = []
    for module, others in imports().items():
        room = room_of(module)
        for other in map(room_of, others):
            if room in ("", "__main__") or other in ("", room):
                continue
            if PLACES[other] > PLACES[room] or re.fullmatch(FORBIDDEN.get(room, "-"), other):
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_every_room_has_its_place():
    assert {room_of(module) for module in imports()} <= PLACES.keys() | {"", "__main__"}


def test_a_config_reads_with_four_modules():
    loaded = house.modules_of_a_config("configs/segmentation_pretrained.py")
    assert loaded == ["vocjax", "vocjax.config", "vocjax.errors", "vocjax.flags"]


def test_functions_of_the_trainer_have_at_most_five_parameters():
    assert not {name: n for name, n in house.parameters("training").items() if n > 5}


def test_the_trainer_loads_neither_matplotlib_nor_tensorflow():
    loaded = house.loaded_by("import vocjax.training.loop")
    assert not {"matplotlib", "tensorflow"} & set(loaded)


def test_files_of_tests_have_names_of_their_own():
    """pytest can not collect two files of one name."""
    names = [path.name for path in (house.ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
