"""What is sent to W&B beside scalars. wandb is imported when there is something to send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lightning_rs.metrics import certified_accuracy
from lightning_rs.results.records import Record, certificates_of


def log_certification(
    run: Any,
    records: Sequence[Record],
    about: dict[str, Any],
    directory: str | Path,
    dataset: Dataset,
    examples: int,
    prefix: str = "certify_test",
) -> None:
    """Send to a W&B run what a finished certification has beside figures and curves: examples and records.

    Args:
        run: the W&B run.
        records: of all examples.
        about: content of `run.json`.
        directory: whose `run.json`, records, table and result files become the artifact.
        dataset: index to (image, label), for the images of the table.
        examples: how many examples the table has, evenly spaced; there is none for 0.
        prefix: of the table's name.
    """
    if records and examples:
        run.log({f"{prefix}/examples": examples_table(records, dataset, examples)})
    run.log_artifact(records_artifact(directory, f"records-{run.id}", about))


def accuracy_plot(records: Sequence[Record], title: str, points: int = 101) -> Any:
    """W&B chart of certified accuracy against radius, one line per mechanism."""
    import wandb

    mechanisms = list(records[0].certificates)
    certificates = {m: certificates_of(records, m) for m in mechanisms}
    end = max(float(radius.max()) for _, radius, _ in certificates.values())
    xs = np.linspace(0.0, end, points)
    ys = [certified_accuracy(*certificates[m], xs).tolist() for m in mechanisms]
    return wandb.plot.line_series(xs.tolist(), ys, keys=mechanisms, title=title, xname="radius")


def examples_table(records: Sequence[Record], dataset: Dataset, count: int) -> Any:
    """W&B table of `count` evenly spaced examples: image, label, confidence, and each mechanism's answer and radius.

    The confidence is the share of votes for the selected class, the estimate of p_A.
    """
    import wandb

    mechanisms = list(records[0].certificates)
    answers = [f"{m} {what}" for m in mechanisms for what in ("prediction", "radius")]
    table = wandb.Table(columns=["index", "image", "label", "clean prediction", "confidence", *answers])
    count = min(count, len(records))
    for record in (records[i * len(records) // count] for i in range(count)):
        image, _ = dataset[record.index]
        # Rows of an array are rows of the picture; one channel is grey.
        pixels = np.rint(255 * image.permute(1, 2, 0).numpy()).astype(np.uint8)
        share = record.counts.get(record.selected, 0) / sum(record.counts.values())
        cells = [record.certificates[m][what] for m in mechanisms for what in ("prediction", "radius")]
        picture = wandb.Image(pixels.squeeze(), caption=f"{record.index}")
        table.add_data(record.index, picture, record.label, record.clean_prediction, share, *cells)
    return table


def records_artifact(directory: str | Path, name: str, about: dict[str, Any]) -> Any:
    """W&B artifact with everything that recertifying and reporting need."""
    import wandb

    metadata = {key: value for key, value in about.items() if key != "indices"}
    artifact = wandb.Artifact(name, type="certification", metadata=metadata)
    directory = Path(directory)
    for pattern in ("run.json", "records-*.jsonl", "table.csv", "tsv/*.tsv"):
        for path in sorted(directory.glob(pattern)):
            artifact.add_file(str(path), name=str(path.relative_to(directory)))
    return artifact
