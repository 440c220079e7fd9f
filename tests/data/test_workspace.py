import threading
from pathlib import Path

import pytest

from vocjax.data.workspace import workspace
from vocjax.errors import UserError


def test_is_empty_and_gone_afterwards(tmp_path: Path):
    data_dir = tmp_path / "new" / "data"
    with workspace(data_dir) as folder:
        assert folder.parent == data_dir
        assert list(folder.iterdir()) == []
        (folder / "half-built").mkdir()
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_is_gone_after_an_error(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error), workspace(tmp_path) as folder:
        (folder / "half-built").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_removes_what_a_killed_process_left(tmp_path: Path):
    (tmp_path / "incomplete/voc").mkdir(parents=True)
    (tmp_path / ".lock").touch()
    with workspace(tmp_path) as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture):
    inside = 0
    most = 0

    def visit():
        nonlocal inside, most
        with workspace(tmp_path) as folder:
            inside += 1
            most = max(most, inside)
            (folder / "mine").mkdir()  # fails if another one is there
            threading.Event().wait(0.01)
            inside -= 1

    visitors = [threading.Thread(target=visit) for _ in range(6)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert most == 1
    assert inside == 0
    assert "waiting for another process" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    told = pytest.raises(UserError, match=r"file/data can't be written to .*--data_dir")
    with told, workspace(tmp_path / "file" / "data"):
        pass
