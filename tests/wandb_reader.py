"""Reads a W&B offline file: 32 KiB blocks of records in leveldb's log format, each a protobuf message."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7
FULL, LAST = 1, 4


def records(path: Path) -> Iterator[Record]:
    data, position, message = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while position + HEADER <= len(data):
        room = BLOCK - position % BLOCK
        if room < HEADER:
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        message += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(message)
            message = b""
            yield record


def wait(path: Path, seconds: float = 60.0) -> None:
    """Wait for the end of a file: W&B's service may still be writing when a run has finished."""
    end = time.monotonic() + seconds
    while not any(record.WhichOneof("record_type") == "exit" for record in records(path)):
        assert time.monotonic() < end, f"{path} has no end"
        time.sleep(0.05)


def history(path: Path) -> list[dict[str, Any]]:
    """Logged rows, nested keys joined by slashes."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def config(path: Path) -> dict[str, Any]:
    return {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in records(path)
        if record.WhichOneof("record_type") == "config"
        for item in record.config.update
    }


def summary(path: Path) -> dict[str, Any]:
    return {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in records(path)
        if record.WhichOneof("record_type") == "summary"
        for item in record.summary.update
    }


def artifacts(path: Path) -> list[Any]:
    """Artifacts of the run, as protobuf messages."""
    return [record.artifact for record in records(path) if record.WhichOneof("record_type") == "artifact"]
