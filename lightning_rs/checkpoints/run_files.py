"""The checkpoints of a run: written whole, read as plain values, and never a path of theirs believed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_rs.checkpoints.resuming import Resumable, without_paths
from lightning_rs.files import sync_folder, write_whole


class RunCheckpoints(TorchCheckpointIO):
    """Lightning's way to its checkpoint files, within one folder.

    A file is written beside its place, synced and renamed, so that one that is there is whole; Lightning would write it
    in the system's temporary folder, from where it cannot be renamed if that is another file system. Only
    what lies in the folder, or was saved by this object, is removed, whatever a checkpoint says of former ones.

    Args:
        folder: the run's checkpoints.
        resumed: what the training goes on from, checked; no other file is loaded.
    """

    def __init__(self, folder: str | Path, resumed: Resumable | None = None) -> None:
        self.folder = Path(folder)
        self.resumed = resumed
        self._saved: set[Path] = set()

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        if self.resumed is None:
            raise ValueError(f"{path} is not what the training goes on from")
        return without_paths(self.resumed.content, self.folder)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
        # In memory first: where the disk is full, PyTorch's own writer does not say so.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(path, content.getvalue())
        self._saved.add(path.absolute())

    def remove_checkpoint(self, path: str | Path) -> None:
        path = Path(path)
        # A file's own name may be a link; where it lies may not lead elsewhere.
        inside = self.folder.resolve() == path.parent.resolve()
        if (inside or path.absolute() in self._saved) and not path.is_dir():
            path.unlink(missing_ok=True)


def run_and_checkpoint(resume: str) -> tuple[Path, Path]:
    """The directory of a run to resume, and the checkpoint to go on from: its last, or the one that was named."""
    path = Path(resume)
    return (path.parent.parent, path) if path.is_file() else (path, path / "checkpoints" / "last.ckpt")
