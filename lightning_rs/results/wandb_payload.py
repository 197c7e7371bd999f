"""What is sent to W&B beside scalars. wandb is imported when there is something to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_rs.metrics import certified_accuracy
from lightning_rs.results.records import Record, certificates_of


def accuracy_plot(records: Sequence[Record], title: str, points: int = 101) -> Any:
    """W&B chart of certified accuracy against radius, one line per mechanism."""
    import wandb

    mechanisms = list(records[0].certificates)
    certificates = {m: certificates_of(records, m) for m in mechanisms}
    end = max(float(radius.max()) for _, radius, _ in certificates.values())
    xs = np.linspace(0.0, end, points)
    ys = [certified_accuracy(*certificates[m], xs).tolist() for m in mechanisms]
    return wandb.plot.line_series(xs.tolist(), ys, keys=mechanisms, title=title, xname="l2 radius")
