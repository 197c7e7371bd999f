"""The checkpoints of a run: written whole, read as plain values, and never a path of theirs believed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_rs.files import sync_folder, write_whole


class RunCheckpoints(TorchCheckpointIO):
    """Lightning's way to its checkpoint files, within one folder.

    A file is written beside its place, synced and renamed, so that one that is there is whole; Lightning would write it
    in the system's temporary folder, from where it cannot be renamed if that is another file system. Nothing outside
    the folder is removed, whatever a checkpoint says of former ones.

    Args:
        folder: the run's directory.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
        # In memory first: where the disk is full, PyTorch's own writer does not say so.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(path, content.getvalue())

    def remove_checkpoint(self, path: str | Path) -> None:
        path = Path(path)
        # A file's own name may be a link; where it lies may not lead elsewhere.
        if self.folder.resolve() in path.parent.resolve().parents and not path.is_dir():
            path.unlink(missing_ok=True)


class Progress(NamedTuple):
    """How far a training was when a checkpoint was saved.

    Attributes:
        epochs: epochs done.
        step: optimiser steps done.
        at_end_of_epoch: whether it was saved at the very end of an epoch, from where a resumed run goes on exactly.
    """

    epochs: int
    step: int
    at_end_of_epoch: bool


def progress_of(content: Mapping[str, Any]) -> Progress:
    """The progress that a checkpoint of a training says."""
    loop = content["loops"]["fit_loop"]
    epoch = loop["epoch_progress"]["current"]
    # Lightning counts an epoch as processed when its last hook is about to run, after the validation.
    ended = epoch["processed"] == epoch["ready"] and loop["epoch_loop.batch_progress"]["is_last_batch"]
    return Progress(int(content["epoch"]) + ended, int(content["global_step"]), bool(ended))
