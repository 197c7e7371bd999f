"""What is sent to W&B of an attack beside scalars. wandb is imported when there is something to send."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from lightning_rs.metrics import certified_accuracy
from lightning_rs.results.attack_figures import Attack, AttackedRun, attacks


def send_attack(wandb_run: Any, run: AttackedRun, directory: str | Path, prefix: str = "attack") -> None:
    """Send to a W&B run the curves, every certificate with the distance that was found, and the files.

    Args:
        wandb_run: the W&B run.
        run: of one image or more.
        directory: whose `attack.json`, outcomes and tables become the artifact.
        prefix: of the names.
    """
    import wandb

    wandb_run.log(
        {
            f"{prefix}/robust_accuracy": accuracy_curves(run, f"Certified and not broken, {run.title}"),
            f"{prefix}/certificates": certificates_table(run),
        }
    )
    artifact = wandb.Artifact(f"attack-{wandb_run.id}", type="attack")
    for name in ("attack.json", "attacks.jsonl", "table.csv", "images.csv"):
        if (path := Path(directory) / name).exists():
            artifact.add_file(str(path), name=name)
    wandb_run.log_artifact(artifact)


def accuracy_curves(run: AttackedRun, title: str, points: int = 101) -> Any:
    """W&B chart of two lines for each mechanism: the share of images certified, and not broken, beyond each radius."""
    import wandb

    known = np.concatenate([values for one in run.certificates.values() for values in (one.radius, one.distance)])
    xs = np.linspace(0.0, known[np.isfinite(known)].max(), points)
    lines = {
        f"{mechanism} {what}": certified_accuracy(one.prediction, values, run.label, xs).tolist()
        for mechanism, one in run.certificates.items()
        for what, values in (("certified", one.radius), ("not broken", one.distance))
    }
    return wandb.plot.line_series(xs.tolist(), list(lines.values()), keys=list(lines), title=title, xname="radius")


def certificates_table(run: AttackedRun) -> Any:
    """W&B table of every certificate with what was found about it; no distance where no point was found."""
    import wandb

    table = wandb.Table(columns=[field.name for field in fields(Attack)])
    for one in attacks(run):
        table.add_data(*astuple(one))
    return table
