"""Files that are torn, of another kind or hostile: refused in one line, nothing in them run."""

import functools
import io
import os
import pickle
import random
import re
import resource
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import numpy._core.multiarray
import pytest
import safetensors.torch
import torch

from lightning_rs.checkpoints import read_checkpoint

CONTENT = {"state_dict": {"weight": torch.arange(6.0).view(2, 3)}, "epoch": 3, "names": ["a", ("b", None)]}


def refusal(path):
    """The one line that says why a file is not read."""
    with pytest.raises((ValueError, OSError)) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert text.isprintable() and str(path) in text, text
    return text


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def rezipped(entries, **options):
    """An archive with these entries, and right check sums."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def entries_of(blob):
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_pickle(pickled):
    entries = entries_of(saved(CONTENT))
    return rezipped(entries | {next(name for name in entries if name.endswith("data.pkl")): pickled})


@pytest.mark.parametrize("new", [True, False])
def test_both_formats_of_torch_and_safetensors(tmp_path, new):
    path = tmp_path / "file"
    path.write_bytes(saved(CONTENT, _use_new_zipfile_serialization=new))
    content = read_checkpoint(path)
    assert torch.equal(content["state_dict"].pop("weight"), CONTENT["state_dict"]["weight"])
    assert content == {"state_dict": {}, "epoch": 3, "names": ["a", ("b", None)]}
    safetensors.torch.save_file(CONTENT["state_dict"], path)  # By what it holds, whatever its name.
    assert torch.equal(read_checkpoint(path)["weight"], CONTENT["state_dict"]["weight"])


def test_what_is_no_file_of_tensors(tmp_path):
    path = tmp_path / "file"
    assert refusal(path) == f"no checkpoint at {path}"
    assert "is a directory, not a checkpoint" in refusal(tmp_path)
    for content, reason in (
        (b"", "is empty"),
        (b"hello", "neither of torch nor of safetensors"),
        (bytes(4096), "neither of torch nor of safetensors"),
        (b"\xff" * 4096, "neither of torch nor of safetensors"),
        (rezipped({"word/document.xml": "x"}), "an archive of another program"),
        (rezipped({}), "neither of torch"),
        (rezipped({"m/data.pkl": "x", "m/constants.pkl": "x"}), "a TorchScript program"),
    ):
        path.write_bytes(content)
        assert reason in refusal(path)
    np.savez(path.with_suffix(".npz"), a=np.ones(3))
    assert "an archive of another program" in refusal(path.with_suffix(".npz"))


def test_every_bit_that_changes_what_is_read_is_found(tmp_path):
    """Bits all over a small archive: either the same content, or one line."""
    path, blob = tmp_path / "file", saved({"weight": torch.arange(3.0), "sigma": 0.25})
    rng, same = random.Random(0), 0
    for place in range(0, len(blob), 3):
        changed = bytearray(blob)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            content = read_checkpoint(path)
        except ValueError as error:
            assert str(error).isprintable()
            continue
        assert set(content) == {"weight", "sigma"} and content["sigma"] == 0.25, place
        assert torch.equal(content["weight"], torch.arange(3.0)), place
        same += 1
    assert 0 < same < len(blob)  # Padding and dates say nothing.


def test_a_flipped_bit_of_a_weight_is_named(tmp_path):
    path, blob = tmp_path / "file", bytearray(saved({"weight": torch.full((1000,), 0.5)}))
    blob[blob.index(struct.pack("<f", 0.5)) + 2] ^= 1
    path.write_bytes(blob)
    assert torch.load(path, weights_only=True)["weight"].max() != 0.5  # torch believes it.
    assert "is damaged: 'archive/data/0' in it does not match its check sum" in refusal(path)


@pytest.mark.parametrize("new", [True, False])
def test_files_that_were_cut_off(tmp_path, new):
    path, blob = tmp_path / "file", saved(CONTENT, _use_new_zipfile_serialization=new)
    for length in range(1, len(blob), 7):
        path.write_bytes(blob[:length])
        refusal(path)
    path.write_bytes(safetensors.torch.save(CONTENT["state_dict"])[:-1])
    assert "safetensors are not whole" in refusal(path)
    path.write_bytes(blob[: len(blob) // 2] + bytes(len(blob) - len(blob) // 2))
    assert "is damaged" in refusal(path) or "cut off" in refusal(path)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def witness_calls(witness):
    """Calls that leave a file behind if any of them runs."""
    touch = f"open({str(witness)!r}, 'w')"
    command = f"touch {witness}"
    return {
        "posix.system": Call(os.system, command),
        "builtins.eval": Call(eval, touch),
        "builtins.exec": Call(exec, touch),
        "functools.partial": Call(functools.partial, os.system, command),
        "builtins.getattr": Call(getattr, Call(__import__, "os"), "system"),
        "torch.load": Call(torch.load, str(witness)),
        "torch.hub.load": Call(torch.hub.load, str(witness), "x"),
        "torch.serialization.load": Call(torch.serialization.load, str(witness)),
        "numpy": Call(np._core.multiarray._reconstruct, np.ndarray, (0,), b"b"),
        "subprocess.Popen": Call(__import__("subprocess").Popen, ["touch", str(witness)]),
        "builtins.bytearray": Call(bytearray, 10**15),
    }


@pytest.mark.parametrize("where", ["alone", "nested", "key", "hyper_parameters", "state_dict"])
def test_code_is_named_and_not_run(tmp_path, where):
    witness, path = tmp_path / "witness", tmp_path / "file"
    for name, call in witness_calls(witness).items():
        content = {
            "alone": call,
            "nested": CONTENT | {"a": [{"b": (1, [call])}]},
            "key": {(1, call): 1},
            "hyper_parameters": CONTENT | {"hyper_parameters": {"sigma": call}},
            "state_dict": CONTENT | {"state_dict": {"weight": call}},
        }[where]
        for protocol in (0, 2, 4):
            pickled = pickle.dumps(content, protocol)
            legacy = saved(CONTENT, _use_new_zipfile_serialization=False)
            for blob in (pickled, with_pickle(pickled), pickled + legacy):
                path.write_bytes(blob)
                text = refusal(path)
                assert "is not a checkpoint that loads safely" in text and "would have to be run" in text
                assert any(word in text for word in (name, name.split(".")[-1], "_load_from_bytes", "__import__")), text
                assert not witness.exists()
    os.system(f"touch {witness}")
    assert witness.exists()  # So the file would do it.


@pytest.mark.parametrize("position", range(5))
def test_code_in_any_of_the_pickles_of_the_older_format(tmp_path, position):
    witness, path = tmp_path / "witness", tmp_path / "file"
    system = Call(os.system, f"touch {witness}")
    pickles = [torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}, {}, []]
    pickles[position] = system
    path.write_bytes(b"".join(pickle.dumps(content, 2) for content in pickles))
    assert "posix.system would have to be run" in refusal(path)
    assert not witness.exists()


def test_the_oldest_format_is_not_unpacked(tmp_path):
    """A tar, whose parts torch once loaded without its safeguard."""
    witness, path = tmp_path / "witness", tmp_path / "file"
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Call(os.system, f"touch {witness}"), 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    assert "torch's tar format of 2016, which can run code" in refusal(path)
    assert not witness.exists()


def test_names_that_are_not_printed_raw(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\x80\x02cos\x1b[2J\nsystem\n.")
    assert "would have to be run" in refusal(path)


def test_archives_that_are_larger_inside(tmp_path):
    path, entries = tmp_path / "file", entries_of(saved(CONTENT))
    for blob in (
        rezipped(entries | {"archive/data/0": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED),
        rezipped(entries | {"archive/DATA.pkl": b"x"}),
    ):
        path.write_bytes(blob)
        start = time.process_time()
        assert "its entries are not as torch writes them" in refusal(path)
        assert time.process_time() - start < 20.0


def test_contents_without_end(tmp_path):
    deep, endless, wide = [], [], []
    for _ in range(200):
        deep = [deep]
    endless.append(endless)
    for _ in range(60):
        wide = [wide, wide]  # 2**60 values in 60 lists.
    for content in (deep, endless, wide, {"state_dict": {"a": wide}}):
        path = tmp_path / "file"
        path.write_bytes(saved(content))
        start = time.process_time()
        assert "is no checkpoint: it holds more than 1,000,000 values, or nests more than 50" in refusal(path)
        assert time.process_time() - start < 20.0


def pickled_tensor(numel, size, stride, offset=0, key="0"):
    """Pickle of a tensor on a storage of `numel` float32 numbers."""
    out = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
    out += pickle.dumps("storage", 2)[2:-1] + b"ctorch\nFloatStorage\n" + pickle.dumps(key, 2)[2:-1]
    out += pickle.dumps("cpu", 2)[2:-1] + pickle.dumps(numel, 2)[2:-1] + b"tQ"
    for value in (offset, size, stride, False):
        out += pickle.dumps(value, 2)[2:-1]
    return out + b"ccollections\nOrderedDict\n)RtR."


@pytest.mark.parametrize(
    "tensor",
    [
        (6, (10**6,), (1,)),
        (6, (2, 3), (10**12, 1)),
        (6, (2, 3), (3, 1), 10**9),
        (6, (2, 3), (3, 1), -7),
        (6, (2, 3), (-3, 1)),
        (6, (-2, 3), (3, 1)),
        (6, (2, 3), (3,)),
        (6, (2**62, 2**62), (1, 1)),
        (10**6, (10**6,), (1,)),
        (10**15, (2, 3), (3, 1)),
        (-6, (2, 3), (3, 1)),
        (6, (2, 3), (3, 1), 0, "../../0"),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, tensor):
    path = tmp_path / "file"
    path.write_bytes(with_pickle(pickled_tensor(6, (2, 3), (3, 1))))
    assert torch.equal(read_checkpoint(path), CONTENT["state_dict"]["weight"])
    path.write_bytes(with_pickle(pickled_tensor(*tensor)))
    assert "is damaged" in refusal(path)


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_tensors_without_numbers_are_not_made(tmp_path):
    path = tmp_path / "file"
    for tensor in (
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    ):
        path.write_bytes(saved({"weight": tensor}))
        assert "is not a checkpoint that loads safely" in refusal(path)


def test_attributes_of_a_tensor_are_left_out(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    weight.flatten = "not a method"
    path = tmp_path / "file"
    path.write_bytes(saved({"weight": weight}))
    held = read_checkpoint(path)["weight"]
    assert torch.equal(held.flatten(), torch.ones(3)) and type(held) is torch.Tensor


def test_damaged_safetensors(tmp_path):
    path, blob, rng = tmp_path / "file.safetensors", safetensors.torch.save(CONTENT["state_dict"]), random.Random(0)
    for _ in range(300):
        changed = bytearray(blob)
        changed[rng.randrange(len(changed) - 24)] = rng.randrange(256)  # The header; numbers have no check sum.
        path.write_bytes(changed)
        try:
            assert all(isinstance(value, torch.Tensor) for value in read_checkpoint(path).values())
        except ValueError as error:
            assert str(error).isprintable()


def test_no_memory_is_said(tmp_path):
    path = tmp_path / "file"
    torch.save({"weight": torch.zeros(3 * 10**7)}, path)
    message = f"{path} does not fit into memory: it has {path.stat().st_size:,} bytes"
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 6 * 10**7, limits[1]))
    try:
        with pytest.raises(OSError, match=f"^{re.escape(message)}$"):
            read_checkpoint(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
