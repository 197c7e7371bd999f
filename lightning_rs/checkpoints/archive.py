"""The file of a checkpoint, read as data. Nothing in it runs, and a check sum that does not match is found first."""

from __future__ import annotations

import io
import os
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lightning_rs.checkpoints.schema import one_line

# What a file of tensors and plain values may name; the pickle of anything else names what would have to be run. Fewer
# than torch allows: with some of those a small file asks for all the memory there is.
_HARMLESS = re.compile(
    r"collections (OrderedDict|Counter)|_codecs encode|(builtins|__builtin__) (set|complex)"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state)"
    r"|torch\._tensor _rebuild_from_type_v2|torch\.nn\.parameter Parameter|torch (Size|device|Tensor)"
    r"|torch (u?int\d+|float\d+\w*|bfloat16|complex\d+|bool)"
    r"|torch (Double|Float|Half|Long|Int|Short|Char|Byte|Bool|BFloat16|ComplexDouble|ComplexFloat)Storage"
    r"|torch\.storage UntypedStorage"
)
_LEGACY_PICKLES = 5  # Magic number, protocol, system, content, names of the storages; then the storages themselves.
_MOST_VALUES, _DEEPEST = 1_000_000, 50


def read_checkpoint(path: str | Path) -> Any:
    """What torch or safetensors wrote to a file: tensors on the CPU in dictionaries, lists, tuples and plain values.

    Archives of torch have check sums, and every one is compared; its older format and safetensors have none.

    Raises:
        FileNotFoundError: no such file.
        OSError: it cannot be read, or does not fit into memory.
        ValueError: it is empty, damaged, no checkpoint, or needs code to be run, which the message names.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, not a checkpoint")
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except MemoryError:
        raise _no_memory(path) from None


def _read(path: Path, file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    head = file.read(512)
    if not head:
        raise ValueError(f"{path} is empty")
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        _check_pickle(path, _pickle_of_archive(path, file, size), 1)
        file.seek(0)
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        try:
            return safetensors.torch.load(file.read())
        except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: its safetensors are not whole ({_reason(error)})") from None
    elif head[257:262] == b"ustar":
        raise _unsafe(path, "it is in torch's tar format of 2016, which can run code")
    else:
        file = io.BytesIO(file.read())  # Here torch would look for a tar in a file, and believe lengths that it reads.
        _check_pickle(path, file, _LEGACY_PICKLES)
        file.seek(0)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch names no common class for what a broken file raises.
        asked = re.search(r"allocate (?:memory: you tried to allocate )?(\d+) bytes", str(error))
        if asked and int(asked.group(1)) <= size:
            raise _no_memory(path) from None
        raise ValueError(f"{path} is damaged: its parts do not fit together ({_reason(error)})") from None
    return _plain(path, content)


def _pickle_of_archive(path: Path, file: BinaryIO, size: int) -> BinaryIO:
    """The pickle in an archive of torch's, once all that the archive holds is known to be whole."""
    broken, pickled = None, b""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            pickle = f"{names[0].split('/')[0]}/data.pkl" if names else ""
            as_torch_writes = _are_as_torch_writes(entries, size)
            if pickle in names and as_torch_writes:
                broken, pickled = archive.testzip(), archive.read(pickle)
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, struct.error) as error:
        raise ValueError(f"{path} is damaged or was cut off: {_reason(error)}") from None
    if pickle not in names:
        raise _unsafe(path, "it is an archive of another program")
    if not as_torch_writes:
        raise ValueError(f"{path} is damaged: its entries are not as torch writes them")
    if broken is not None:
        raise ValueError(f"{path} is damaged: {broken!r} in it does not match its check sum")
    if pickle.replace("data.pkl", "constants.pkl") in names:
        raise _unsafe(path, "it is a TorchScript program")
    return io.BytesIO(pickled)


def _are_as_torch_writes(entries: list[zipfile.ZipInfo], size: int) -> bool:
    """Neither packed nor encrypted, of different names in either case, and together no larger than the file."""
    stored = all(
        entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size and not entry.flag_bits & 1
        for entry in entries
    )
    unique = len({entry.filename.lower() for entry in entries}) == len(entries)
    return stored and unique and sum(entry.file_size for entry in entries) <= size


def _check_pickle(path: Path, file: BinaryIO, pickles: int) -> None:
    """Refuse pickles that name anything but tensors and their kin. They are looked through, and not loaded."""
    try:
        unsafe = next((name for _ in range(pickles) for name in _named(file) if not _HARMLESS.fullmatch(name)), None)
    except (ValueError, IndexError, EOFError, OverflowError, struct.error):
        raise _unsafe(path, "it is neither of torch nor of safetensors, or was cut off") from None
    if unsafe is not None:
        raise _unsafe(path, f"to load it, {one_line(unsafe.replace(' ', '.'))} would have to be run")


def _named(file: BinaryIO) -> Iterator[str]:
    """All that the next pickle of a file would import, as `module name`."""
    words: list[str] = []
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(words[-2:])
        elif opcode.name.startswith("EXT"):
            yield f"copyreg extension {argument}"
        elif isinstance(argument, str):
            words.append(argument)


def _plain(path: Path, content: Any) -> Any:
    """The content in containers of our own, so that none can be endless, and tensors without attributes."""
    left = _MOST_VALUES

    def plain(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise ValueError(
                f"{path} is no checkpoint: it holds more than {_MOST_VALUES:,} values, or nests more than {_DEEPEST}"
            )
        if isinstance(value, Tensor):
            return torch.detach(value)
        if isinstance(value, dict):
            return {key: plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return (list if isinstance(value, list) else tuple)(plain(item, depth + 1) for item in value)
        return value

    return plain(content, 0)


def _unsafe(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} is not a checkpoint that loads safely: {reason}")


def _no_memory(path: Path) -> OSError:
    return OSError(f"{path} does not fit into memory: it has {path.stat().st_size:,} bytes")


def _reason(error: Exception) -> str:
    return one_line(error, 120) or type(error).__name__
