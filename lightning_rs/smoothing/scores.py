"""Ask a base classifier: what it has to answer, and how its failures are told."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_rs.smoothing.capacity import first_line, is_out_of_memory

# In these argmax and softmax are defined on every device; scores of other real types are exact in float64.
_KEPT = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def ask(classifier: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """The classifier's scores of rows: one dense tensor of real numbers, where the rows are.

    Raises:
        ValueError: anything else, or the classifier failed; its own error is the cause.
        RuntimeError, MemoryError: memory was not enough, see `is_out_of_memory`.
    """
    try:
        scores = classifier(rows)
    except Exception as error:  # It is the user's code, which may raise anything.
        if is_out_of_memory(error):
            raise
        message = f"the base classifier failed on {_described(rows, classifier)}"
        raise ValueError(f"{message}: {first_line(error)}") from error
    if not isinstance(scores, Tensor):
        raise ValueError(f"the base classifier must return one tensor of scores, got {type(scores).__name__}")
    dense = scores.layout is torch.strided and not scores.is_nested
    if not dense or scores.is_complex() or scores.dtype is torch.bool or scores.device != rows.device:
        raise ValueError(
            f"the base classifier must return real numbers in a dense tensor on {rows.device}, got {scores.dtype}"
            f"{'' if dense else ', not dense,'} on {scores.device}"
        )
    return scores if scores.dtype in _KEPT else scores.double()


def _described(rows: Tensor, classifier: Callable[[Tensor], Tensor]) -> str:
    """The rows, and the weights where these are of another type or elsewhere."""
    text = f"{len(rows)} rows of shape {tuple(rows.shape[1:])}, {rows.dtype} on {rows.device}"
    weights = next(classifier.parameters(), None) if isinstance(classifier, nn.Module) else None
    if weights is not None and (weights.dtype, weights.device) != (rows.dtype, rows.device):
        text += f", with weights in {weights.dtype} on {weights.device}"
    return text
