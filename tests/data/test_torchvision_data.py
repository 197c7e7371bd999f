"""What is said of torchvision's data sets in common, on MNIST."""

import hashlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torchvision
from data.stand_ins import write_mnist

from lightning_rs.data import MNIST


@pytest.fixture
def published(tmp_path):
    """A folder with the files."""
    write_mnist(tmp_path / "published", np.random.default_rng(0), train=6, test=4)
    return tmp_path / "published"


@pytest.fixture
def mirror(published, monkeypatch):
    """A server of this machine that torchvision downloads them from."""
    raw = published / "MNIST" / "raw"
    checksums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(raw.glob("*.gz"))]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=raw)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", checksums)
        yield server
        server.shutdown()


def test_it_is_downloaded_only_when_asked_and_only_once(mirror, tmp_path, capsys):
    folder = tmp_path / "own"
    MNIST(str(folder), val_size=2).prepare_data()
    assert not folder.exists()
    asked = MNIST(str(folder), val_size=2, download=True)
    asked.prepare_data()
    assert f"Downloading MNIST (11 MB) to {folder}\n" in capsys.readouterr().out
    mirror.shutdown()
    asked.prepare_data()
    assert capsys.readouterr().out == ""
    assert [len(asked.dataset(split)) for split in ("train", "val", "test")] == [4, 2, 4]


def test_without_a_network_it_says_what_to_put_where(mirror, tmp_path):
    mirror.shutdown()
    mirror.server_close()
    message = r"^MNIST cannot be fetched \(.*\): fetch it elsewhere with torchvision.datasets.MNIST, and "
    with pytest.raises(OSError, match=message):
        MNIST(str(tmp_path), download=True).prepare_data()


def test_half_of_a_data_set_is_not_there(published):
    (published / "MNIST" / "raw" / "t10k-images-idx3-ubyte").unlink()
    for split in ("train", "test"):
        with pytest.raises(FileNotFoundError, match=r"MNIST not found in .* or download: true to fetch it \(11 MB\)"):
            MNIST(str(published), val_size=2).dataset(split)


def test_the_users_folder_may_start_at_home(published, monkeypatch):
    monkeypatch.setenv("HOME", str(published.parent))
    assert len(MNIST("~/published").dataset("test")) == 4
