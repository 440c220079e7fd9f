"""Three classes of one's own through all tasks, the report, the explorer and predict."""

import json
import threading
from contextlib import closing
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import vocjax
from vocjax import cli
from vocjax.explorer.explore import make_server
from vocjax.runs.restore import latent_space_of

FRUIT = ("apple", "pear", "white plum")
COLOURS = ((200, 40, 40), (60, 180, 60), (230, 220, 240))  # of the masks, too
SMALL = ("data.size=16", "batch_size=8", "data.classes=all", "epochs=2")
NETWORKS = {
    "autoencoder_256": ("model.encoder=(4,4,4)", "model.decoder=(4,4)"),
    "classifier_256": ("model.encoder=(4,4,4)", "init_from=runs/autoencoder_256"),
    "segmentation_classes": (
        "model.encoder=(4,4,4)",
        "model.decoder=(4,4)",
        "optimizer.warmup_steps=0",
        "optimizer.learning_rate=0.01",
        "epochs=10",
    ),
}


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    """Sixteen photographs of fruit, and masks in colours, as an annotation tool exports them."""
    root = tmp_path_factory.mktemp("fruit")
    rng = np.random.default_rng(0)
    for number in range(16):
        image = np.full((24, 32, 3), rng.integers(80, 120), np.uint8)
        mask = np.zeros_like(image)
        y, x = rng.integers(0, 12, 2)
        image[y : y + 12, x : x + 16] = mask[y : y + 12, x : x + 16] = COLOURS[number % 3]
        for folder, pixels in (("img", image), ("masks", mask)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / folder / f"fruit {number}.png")
    colours = (f"{n}:{','.join(map(str, c))}::" for n, c in zip(FRUIT, COLOURS, strict=True))
    labels = ["# label:color_rgb:parts:actions", "background:0,0,0::", *colours]
    (root / "masks" / "labelmap.txt").write_text("\n".join(labels))
    return root


@pytest.fixture(scope="module")
def trained(fruit):
    """The folder in which all was prepared and trained by the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(fruit)
        source = ["--images", "img", "--masks", "masks", "--held_out", "0.4"]
        assert cli.main(["data", "prepare", "--dataset", "fruit", *source]) == 0
        for config, fields in NETWORKS.items():
            changes = [f"--config.{f}" for f in ("data.dataset=fruit", *SMALL, *fields)]
            workdir = f"runs/{config}"
            assert cli.main(["train", "--config", config, "--workdir", workdir, *changes]) == 0
    return fruit


def test_every_run_knows_its_classes(trained):
    for config in NETWORKS:
        run = json.loads((trained / "runs" / config / "config.json").read_text())
        assert run["data"]["names"] == run["data"]["classes"] == list(FRUIT)
        assert run["data"]["palette"] == [[0, 0, 0], *map(list, COLOURS)]
    results = json.loads((trained / "runs/segmentation_classes/results.json").read_text())
    assert list(results["iou_by_class"]) == ["background", *FRUIT]
    with np.load(trained / "runs/classifier_256/samples.npz") as samples:
        assert samples["val/labels"].shape[1] == samples["val/probability"].shape[1] == 3


def test_predictions_have_the_names_and_colours_of_the_data_set(trained, capsys):
    line = ["predict", "--workdir", str(trained / "runs/segmentation_classes")]
    out = trained / "out"
    assert cli.main([*line, str(trained / "img"), "--output", str(out)]) == 0
    said = json.loads((out / "predictions.json").read_text())
    shares = said[str(trained / "img" / "fruit 0.png")]
    assert shares.keys() <= {"background", *FRUIT} and sum(shares.values()) == pytest.approx(1)
    with Image.open(out / "fruit 0_mask.png") as mask:
        assert set(np.unique(mask)) <= {0, 1, 2, 3}
        assert mask.getpalette()[:12] == [0, 0, 0, *np.ravel(COLOURS)]
    (numbers,) = vocjax.load(trained / "runs/classifier_256").predict([trained / "img/fruit 0.png"])
    assert tuple(numbers) == FRUIT


def test_report_and_explorer_show_them(trained):
    assert cli.main(["report", str(trained / "runs"), "--output", str(trained / "r.html")]) == 0
    page = (trained / "r.html").read_text()
    assert all(name in page for name in FRUIT) and "tvmonitor" not in page
    config, space = latent_space_of(trained / "runs/autoencoder_256")
    image = {"size": config.data.size, "channels": config.data.channels, "title": config.name}
    server = make_server(space, **image, host="127.0.0.1", port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        with closing(urlopen(address, timeout=30)) as answer:
            assert answer.status == 200
    finally:
        server.shutdown()
        server.server_close()
