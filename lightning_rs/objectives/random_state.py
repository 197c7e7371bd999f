"""The state of all global random generators, in tensors and plain values, and a training that goes on with it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule


def random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's global generators, that of the current GPU included."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Bring the generators into a `state` that `random_state` returned."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class ResumableRandomState(LightningModule):
    """Every process draws its own noise, and a run that is resumed at the end of an epoch goes on with the draws that
    it would have made: checkpoints hold `random_states`, one of each process, under `lightning_rs`."""

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.trainer.global_rank:
            # Lightning seeds all processes alike; they shall not draw the same noise for their images.
            torch.manual_seed(torch.initial_seed() + self.trainer.global_rank)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states: list[Any] = [random_state()]
        if self.trainer.world_size > 1:
            states = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, random_state())
        checkpoint.setdefault("lightning_rs", {})["random_states"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Without a trainer the module is only built again.
        trainer = self._trainer
        states = checkpoint.get("lightning_rs", {}).get("random_states", [])
        # Under another number of processes the draws cannot be the same anyway.
        if trainer is not None and trainer.state.fn == "fit" and len(states) == trainer.world_size:
            set_random_state(states[trainer.global_rank])
