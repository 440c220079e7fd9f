"""A short round of `make fuzz`: what is changed at random is accepted, or refused in a sentence."""

import math
import random
from pathlib import Path

import fuzz
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_no_changed_content_is_at_fault(kind: str, tmp_path: Path) -> None:
    tried, accepted, faults = fuzz.fuzz(kind, math.inf, 0, tmp_path / "kept", most=25)
    assert not faults, [path.read_text() for path in tmp_path.glob("kept/*.txt")]
    assert 0 <= accepted < tried == 25


def test_what_is_at_fault_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        contents = (b"sound",)

        def __init__(self, kind: str) -> None: ...

        def read(self, content: bytes) -> fuzz.Case:
            return fuzz.Case(False, "it ended with a MemoryError")

        def end(self) -> None: ...

    monkeypatch.setattr(fuzz, "Worker", Fails)
    assert fuzz.fuzz("images", math.inf, 0, tmp_path, most=2) == (2, 0, 2)
    said = [path.read_text() for path in sorted(tmp_path.glob("*.txt"))]
    assert said == ["it ended with a MemoryError"] * 2
    assert len(list(tmp_path.iterdir())) == 4


def test_contents_change_with_the_seed_alone() -> None:
    contents = (b"<a>1</a>", b"0.5, 7")
    first, same, other = (
        [fuzz.mutated(draw, contents) for draw in (random.Random(seed),) for _ in range(20)]
        for seed in (0, 0, 1)
    )
    assert first == same != other
    assert any(content not in contents for content in first)
