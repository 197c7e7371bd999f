"""A training that goes on with the random draws that it would have made."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule

from lightning_rs.random_state import random_state, set_random_state


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
