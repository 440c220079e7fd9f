"""Published weights are brought once, from a server, and taken from the cache from then on."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vocjax.config import load_config
from vocjax.data import download
from vocjax.data.download import Archive
from vocjax.errors import UserError
from vocjax.mesh import make_mesh
from vocjax.models.backbones import SOURCES
from vocjax.models.backbones.preprocessing import TORCHVISION
from vocjax.pretrained.fetch import fetch_weights, place_of
from vocjax.pretrained.formats import read, write
from vocjax.pretrained.initialise import with_encoder_of
from vocjax.pretrained.published import OTHERWISE, PUBLISHED, Published
from vocjax.pretrained.resolve import complete, located, origin_facts, origin_of
from vocjax.pretrained.store import read_imported
from vocjax.tasks import make_task

CONFIG = Path(__file__).parents[2] / "configs/classifier_pretrained.py"


class Handler(BaseHTTPRequestHandler):
    """Sends the server's content, from where the client asks."""

    def do_GET(self):
        self.server.requests.append(self.headers["Range"])
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        content = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def content(tmp_path_factory, squeezenet_file):
    """SqueezeNet's weights with a head of ImageNet's classes, as a file."""
    file = tmp_path_factory.mktemp("published") / "a.safetensors"
    head = {"squeezenet0_conv25_weight": np.ones((1000, 512, 1, 1), np.float32)}
    head["squeezenet0_conv25_bias"] = np.ones(1000, np.float32)
    write(file, read(squeezenet_file) | head)
    return file.read_bytes()


@pytest.fixture
def server(content, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.requests = content, []
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/vocjax/weights"


def table(content, address):
    """SqueezeNet by SHA-256's first digits, and by MD5."""
    sums = {"squeezenet": hashlib.sha256(content).hexdigest()[:8]}
    sums["squeezenet-md5"] = hashlib.md5(content).hexdigest()
    return {
        name: Published(
            "squeezenet", "gluon", Archive(f"{name}.safetensors", digits, (address,), OTHERWISE)
        )
        for name, digits in sums.items()
    }


def test_weights_are_brought_once_and_begin_runs(server, content, cache, capsys):
    published = table(content, f"http://127.0.0.1:{server.server_port}/a")
    cache.mkdir(parents=True)
    (cache / "squeezenet.safetensors.part").write_bytes(content[:1000])
    assert fetch_weights("squeezenet", published) == cache / "squeezenet"
    assert server.requests == ["bytes=1000-"]
    said = capsys.readouterr().err
    assert f"squeezenet.safetensors is brought into {cache}" in said
    assert f"imported weights: {cache / 'squeezenet'}" in said
    fetch_weights("squeezenet", published)
    assert server.requests == ["bytes=1000-"]
    assert fetch_weights("squeezenet-md5", published) == cache / "squeezenet-md5"

    size = ("--config.data.size=32", "--config.model.backbone.last=fire2")
    config = complete(load_config(CONFIG, ["--config.init_from=squeezenet", *size]))
    assert (config.init_from, config.model.backbone.name) == ("squeezenet", "squeezenet")
    assert config.model.backbone.preprocessing.to_dict() == TORCHVISION._asdict()
    imported = read_imported(cache / "squeezenet")
    facts = {"backbone": "squeezenet", "source": "gluon", "file": imported.file}
    assert origin_facts(origin_of(config)) == facts
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(make_task(config).init, jax.random.key(0)))
    encoder = with_encoder_of(zeros, located(config), make_mesh())["params"]["encoder"]["backbone"]
    kernel = imported.arrays["backbone/conv1/conv/kernel"]
    np.testing.assert_array_equal(encoder["conv1"]["conv"]["kernel"], kernel)


def test_of_several_processes_one_brings_the_weights(server, content, cache, capsys):
    published = table(content, f"http://127.0.0.1:{server.server_port}/a")
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: fetch_weights("squeezenet", published), range(3)))
    assert found == 3 * [cache / "squeezenet"]
    assert server.requests == [None]
    assert "waiting for another process that brings squeezenet" in capsys.readouterr().err


def test_without_network_the_message_says_what_was_tried_and_where_a_file_can_be_put(
    content, cache, monkeypatch
):
    def down(*_):
        raise OSError("no route to host")

    monkeypatch.setattr(download, "_transfer", down)
    with pytest.raises(UserError) as caught:
        complete(load_config(CONFIG, ["--config.init_from=squeezenet"]))
    file = "squeezenet1_1-b8a52dc0.pth"
    for part in (
        f"https://download.pytorch.org/models/{file}: no route to host",
        f"put it at\n  {cache / file}\n",
        "vocjax weights import --backbone NAME FILE --output DIR",
    ):
        assert part in str(caught.value)
    assert not list(cache.glob("[!.]*"))
    (cache / "squeezenet.safetensors").write_bytes(content)  # without network
    fetch_weights("squeezenet", table(content, "http://127.0.0.1:1/a"))
    assert read_imported(cache / "squeezenet").classes == 1000


def test_another_file_than_the_published_one_is_not_taken(server, content, cache):
    server.content = content[:-1] + b"x"
    published = table(content, f"http://127.0.0.1:{server.server_port}/a")
    with pytest.raises(UserError, match=r"has the sha256 .*, not [0-9a-f]{8}\n"):
        fetch_weights("squeezenet", published)
    assert not list(cache.glob("[!.]*"))
    (cache / "squeezenet-md5.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"has the md5 .*; the published .*Delete it"):
        fetch_weights("squeezenet-md5", published)


def test_a_directory_of_a_published_name_is_the_users_own(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of(Path("squeezenet")) == cache / "squeezenet"
    assert place_of(Path("squeezenets")) == Path("squeezenets")
    (tmp_path / "squeezenet").mkdir()
    assert place_of(Path("squeezenet")) == Path("squeezenet")
    with pytest.raises(UserError, match=r"squeezenett has neither .* mean 'squeezenet'\?"):
        complete(load_config(CONFIG, ["--config.init_from=squeezenett"]))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place_of(Path("vgg16")) == tmp_path / ".cache/vocjax/weights/vgg16"


def test_a_cache_that_can_not_be_written_is_refused(cache, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match=r"can't be written to \(Not a directory\).*XDG_CACHE_HOME"):
        fetch_weights("squeezenet", table(b"", "http://127.0.0.1:1/a"))


def test_every_published_file_has_an_address_and_a_checksum():
    for name, (backbone, source, archive) in PUBLISHED.items():
        assert name in (backbone, f"{backbone}-{source}")
        assert source in SOURCES[backbone]
        assert all(address.endswith(f"/{archive.file}") for address in archive.addresses)
        assert set(archive.checksum) <= set("0123456789abcdef")
        assert len(archive.checksum) == (8 if source == "torchvision" else 32)
