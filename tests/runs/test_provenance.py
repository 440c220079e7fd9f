"""The commit of a run is that of vocjax, and of no repository around it."""

import os
import subprocess

import pytest

from vocjax.runs import provenance


def git(*arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    run = subprocess.run(["git", *who, *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with an environment in it that git ignores, where the package lies."""
    package = tmp_path / ".venv" / "vocjax"
    package.mkdir(parents=True)
    (package / "provenance.py").touch()
    (tmp_path / ".gitignore").write_text(".venv\n")
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "mine")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    return tmp_path


def state():
    made = provenance.environment()
    return made["commit"], made["dirty"]


def test_the_commit_of_a_project_around_the_package_is_not_recorded(project, monkeypatch):
    assert state() == ("unknown (not a git checkout)", None)
    monkeypatch.setenv("GIT_DIR", str(project / ".git"))  # as in a hook
    assert state() == ("unknown (not a git checkout)", None)


def test_the_commit_of_a_repository_with_the_package_is_recorded(project):
    git("add", "--force", ".venv")
    git("commit", "-qm", "with vocjax")
    assert state() == (git("rev-parse", "HEAD"), False)
    (project / ".gitignore").write_text("")
    assert state() == (git("rev-parse", "HEAD"), True)


def test_why_there_is_no_commit_is_said(project, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert state() == ("unknown (git refuses another owner's repository)", None)
    monkeypatch.setenv("PATH", os.devnull)
    assert state() == ("unknown (git can't be run)", None)
