"""What tells one net's weights from another's."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of the names, shapes and values of all parameters and buffers.

    The stages of a sequence count by their place, so that the digest does not depend on what they are called.
    """
    digest = hashlib.sha256()
    stages = enumerate(module) if isinstance(module, nn.Sequential) else [("", module)]
    for place, stage in stages:
        for name, tensor in stage.state_dict(prefix=f"{place}." if place != "" else "").items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
