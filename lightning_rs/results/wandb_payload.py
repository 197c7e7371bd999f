"""What is sent to W&B beside scalars. wandb is imported when there is something to send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lightning_rs.metrics import certified_accuracy
from lightning_rs.results.description import RunDescription
from lightning_rs.results.directory import RunDirectory
from lightning_rs.results.records import Record
from lightning_rs.results.runs import Run


def log_figures(wandb_run: Any, run: Run, prefix: str, step: int) -> None:
    """Send to a W&B run what a certification has beside numbers: its settings, and the plot of certified accuracy.

    Args:
        wandb_run: the W&B run.
        run: of one example or more.
        prefix: of the names under which both are found.
        step: training step, W&B's `trainer/global_step`.
    """
    wandb_run.config.update({prefix: _settings(run.description)}, allow_val_change=True)
    plot = accuracy_plot(run, f"Certified accuracy, {run.description.title}")
    wandb_run.log({f"{prefix}/certified_accuracy": plot, "trainer/global_step": step})


def log_certification(
    wandb_run: Any,
    records: Sequence[Record],
    description: RunDescription,
    directory: str | Path,
    dataset: Dataset,
    examples: int,
    prefix: str = "certify_test",
) -> None:
    """Send to a W&B run what a finished certification has beside figures and curves: examples and records.

    Args:
        wandb_run: the W&B run.
        records: of all examples.
        description: what they are of.
        directory: whose `run.json`, records, table and result files become the artifact.
        dataset: index to (image, label), for the images of the table.
        examples: how many examples the table has, evenly spaced; there is none for 0.
        prefix: of the table's name.
    """
    if records and examples:
        wandb_run.log({f"{prefix}/examples": examples_table(records, dataset, examples)})
    wandb_run.log_artifact(records_artifact(directory, f"records-{wandb_run.id}", description))


def accuracy_plot(run: Run, title: str, points: int = 101) -> Any:
    """W&B chart of certified accuracy against radius, one line per mechanism."""
    import wandb

    end = max(float(radius.max()) for _, radius in run.certificates.values())
    xs = np.linspace(0.0, end, points)
    ys = [certified_accuracy(*answers, run.label, xs).tolist() for answers in run.certificates.values()]
    return wandb.plot.line_series(xs.tolist(), ys, keys=list(run.certificates), title=title, xname="radius")


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
        cells = [getattr(record.certificates[m], what) for m in mechanisms for what in ("prediction", "radius")]
        picture = wandb.Image(pixels.squeeze(), caption=f"{record.index}")
        table.add_data(record.index, picture, record.label, record.clean_prediction, share, *cells)
    return table


def records_artifact(directory: str | Path, name: str, description: RunDescription) -> Any:
    """W&B artifact with everything that recertifying and reporting need."""
    import wandb

    directory = Path(directory)
    made = [vars(said) | {"images": count} for said, count in RunDirectory(directory).environments().items()]
    artifact = wandb.Artifact(name, type="certification", metadata=_settings(description) | {"environments": made})
    for pattern in ("run.json", "records-*.jsonl", "table.csv", "tsv/*.tsv"):
        for path in sorted(directory.glob(pattern)):
            artifact.add_file(str(path), name=str(path.relative_to(directory)))
    return artifact


def _settings(description: RunDescription) -> dict[str, Any]:
    """The description without its longest field."""
    return {key: value for key, value in description.to_dict().items() if key != "indices"}
