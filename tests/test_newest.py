"""The newest releases of what vocjax requires: a run is trained, continued, scored, exported.

It needs an index of packages, and takes minutes: VOCJAX_NEWEST=1 asks for it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = ("--config.data.size=16", "--config.model.encoder=(4,4)", "--config.model.decoder=(4,)")


@pytest.mark.slow
@pytest.mark.skipif(
    "VOCJAX_NEWEST" not in os.environ,
    reason="it installs the newest releases from an index of packages; set VOCJAX_NEWEST=1",
)
def test_a_run_with_the_newest_releases(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    # Without the constraints, and with new releases in the place of those that pip has at hand.
    install = ["-m", "pip", "install", "--quiet", "--upgrade", "--upgrade-strategy", "eager"]
    subprocess.run([python, *install, "--editable", ROOT], check=True)

    def vocjax(*arguments: str) -> str:
        command = [str(python), "-m", "vocjax", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        releases = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stderr}\n{releases.stdout}"
        assert "Warning" not in done.stderr, f"{done.stderr}\n{releases.stdout}"
        return done.stdout

    for epochs in (1, 2):
        train = ("train", "--config", "autoencoder_256", "--workdir", "run", *SMALL)
        vocjax(*train, f"--config.epochs={epochs}")
    assert "mse" in vocjax("evaluate", "--workdir", "run")
    for form in ("safetensors", "stablehlo"):
        vocjax("export", "run", "--format", form, "--output", form)
        assert list((tmp_path / form).iterdir())
