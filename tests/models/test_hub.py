import socket
import time

import huggingface_hub
import pytest
from huggingface_hub import constants

from lightning_rs.models import hub
from lightning_rs.models.hub import hub_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cut_off(monkeypatch, tmp_path):
    """No network, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def cache(tmp_path, *names):
    folder = tmp_path / "cache" / "models--owner--net"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    for name in names:
        (folder / "snapshots" / COMMIT / name).write_text("{}")
    return folder / "snapshots" / COMMIT


def test_a_local_folder_is_read_where_it_is(tmp_path):
    (tmp_path / "model-1.safetensors").touch()
    assert hub_folder(str(tmp_path), ["model*.safetensors"]) == tmp_path
    with pytest.raises(ValueError, match=r"holds no config\.json$"):
        hub_folder(str(tmp_path), ["model*.safetensors", "config.json"])
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").touch()
    assert hub_folder(str(tmp_path), ["*config.json", "unet/*.json"]) == tmp_path
    with pytest.raises(FileNotFoundError, match="there is no folder .*/nowhere$"):
        hub_folder(f"{tmp_path}/nowhere", ["config.json"])


def test_what_is_in_the_cache_needs_no_network(tmp_path):
    folder = cache(tmp_path, "config.json", "b.json")
    assert hub_folder("owner/net", ["config.json"], optional=["b.json"]) == folder
    # Whether there is such a file only the hub knows.
    assert hub_folder("owner/net", ["config.json"], optional=["c.json"]) == folder


def test_offline_one_line_says_what_to_put_where(tmp_path):
    cache(tmp_path, "b.json")
    message = r"owner/net is no folder, .* download config.json of https://\S+/owner/net elsewhere, and put them into "
    with pytest.raises(OSError, match=message) as raised:
        hub_folder("owner/net", ["config.json"])
    assert "\n" not in str(raised.value)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        huggingface_hub.close_session()
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "_SECONDS", 0.2)
        start = time.monotonic()
        with pytest.raises(OSError, match="cannot be fetched"):
            hub_folder("owner/net", ["config.json"])
        assert time.monotonic() - start < 60  # Its own client would try for minutes.
        huggingface_hub.close_session()
