"""Every objective on UCI digits: train, certify the whole test split, and put the table into docs/results.md.

python benchmarks/digits_objectives.py                                 all, at sigma 0.5 and 0.25, three seeds
python benchmarks/digits_objectives.py --objectives [gaussian, macer]  some of them

Every run leaves one JSON file in `folder`; started again, the script makes only those that are missing, and it writes
the table of what is there after each. All runs use the epochs, the batch size and the optimiser of their config.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning
import torch
from jsonargparse import auto_cli
from machine import processor
from pytorch_lightning import Trainer, seed_everything

import lightning_rs
from lightning_rs import objectives
from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.cli import quiet_libraries
from lightning_rs.cli.config_bases import config_layers, merge_configs
from lightning_rs.data import Digits
from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.objectives import SmoothingModule
from lightning_rs.progress import progress
from lightning_rs.results.radius_text import accuracy_headers
from lightning_rs.results.records import certificates_of

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "gaussian",
    "consistency",
    "smoothadv",
    "smoothmix",
    "catrs",
    "catrs_baseline",
    "macer",
    "stability",
    "smoothadv_consistency",
)
# Recipes with a baseline, which is trained first, under the same noise and seed: their own recipe, and the baseline's.
WITH_BASELINE = {"catrs_baseline": ("catrs", "gaussian")}
RADII = {0.25: (0.0, 0.25, 0.5, 0.75), 0.5: (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)}
MECHANISM = "cohen"


def trained(name: str, sigma: float, seed: int) -> tuple[SmoothingModule, Digits, int]:
    """A module after its training, its data, and the epochs."""
    name, baseline = WITH_BASELINE.get(name, (name, None))
    folder = ROOT / "configs" / "digits"
    recipe = folder / f"{name}_{sigma:.2f}.yaml"
    config = merge_configs(config_layers(recipe if recipe.exists() else folder / f"{name}.yaml").values())
    config["model"]["init_args"]["sigma"] = sigma
    data = Digits(**config["data"]["init_args"])
    seed_everything(seed, verbose=False)
    module = getattr(objectives, config["model"]["class_path"].rsplit(".", 1)[1])(
        num_classes=data.num_classes,
        input_shape=list(data.shape),
        mean=list(data.mean),
        std=list(data.std),
        **config["model"]["init_args"],
    )
    if baseline is not None:
        module.take_baseline(trained(baseline, sigma, seed)[0].base_classifier)
        seed_everything(seed, verbose=False)
    trainer = Trainer(
        max_epochs=config["trainer"]["max_epochs"],
        accelerator="cpu",
        devices=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    return module, data, trainer.max_epochs


def train_and_certify(name: str, sigma: float, seed: int, n: int) -> dict[str, Any]:
    """One run: its figures, and the seconds that training, a baseline's with it, and certification took."""
    start = time.perf_counter()
    module, data, epochs = trained(name, sigma, seed)
    end = time.perf_counter()
    settings = CertificationSettings(n0=100, n=n, alpha=0.001, mechanisms=[MECHANISM], batch_size=100)
    test = data.dataset("test")
    noise = module.noise_distribution
    what = Certification(module.base_classifier, name, data.num_classes, noise, test, data.name, "test", settings)
    records = list(certify_examples(what, range(len(test))))
    certificates = certificates_of(records, MECHANISM)
    return {
        "clean_accuracy": sum(r.clean_prediction == r.label for r in records) / len(records),
        "certified_accuracy": certified_accuracy(*certificates, RADII[sigma]).tolist(),
        "acr": average_certified_radius(*certificates),
        "training_seconds": end - start,
        "certification_seconds": time.perf_counter() - end,
        "epochs": epochs,
    }


def table(runs: dict[tuple[str, float, int], dict[str, Any]], n: int) -> str:
    """The results as Markdown: mean and standard deviation over the seeds."""
    grouped = defaultdict(list)
    for (name, sigma, _), run in sorted(runs.items()):
        grouped[sigma, name].append(run)
    lines = []
    for sigma in sorted({sigma for sigma, _ in grouped}):
        radii = accuracy_headers(RADII[sigma])
        columns = ["objective", "seeds", "clean", *radii, "ACR", "ACR above Gaussian's", "training, s"]
        lines += [f"### σ = {sigma:g}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        base = [run["acr"] for run in grouped[sigma, "gaussian"]]
        for name in NAMES:
            group = grouped.get((sigma, name))
            if not group:
                continue
            accuracies = np.array([[run["clean_accuracy"], *run["certified_accuracy"]] for run in group])
            acr = [run["acr"] for run in group]
            cells = [_spread(100 * column, 1) for column in accuracies.T]
            seconds = f"{np.mean([run['training_seconds'] for run in group]):.0f}"
            lead = "" if name == "gaussian" else _lead(acr, base)
            lines.append(f"| {' | '.join([name, str(len(group)), *cells, _spread(acr, 4), lead, seconds])} |")
        lines.append("")
    epochs = sorted({run["epochs"] for run in runs.values()})
    about = (
        f"Digits test split (364 images), `digits_cnn`, {'/'.join(map(str, epochs))} epochs, n = {n:,}, α = 0.001, "
        f"mechanism `{MECHANISM}`; per cent certified at radius r (l2, pixels in [0, 1]), mean ± standard deviation "
        "over the seeds. The lead in ACR is given with its standard error.\n\n"
        f"Measured on {processor()}, one thread; Python {platform.python_version()}, torch {torch.__version__}, "
        f"pytorch-lightning {pytorch_lightning.__version__}, lightning_rs {lightning_rs.__version__}.\n"
    )
    return about + "\n" + "\n".join(lines)


def _spread(values: Any, digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _lead(values: list[float], base: list[float]) -> str:
    if not base:
        return ""
    difference = np.mean(values) - np.mean(base)
    if min(len(values), len(base)) < 2:
        return f"{difference:+.4f}"
    error = math.sqrt(np.var(values, ddof=1) / len(values) + np.var(base, ddof=1) / len(base))
    return f"{difference:+.4f} ± {error:.4f}"


def run(
    objectives: list[str] = list(NAMES),  # noqa: B006
    sigmas: list[float] = [0.5, 0.25],  # noqa: B006
    seeds: list[int] = [0, 1, 2],  # noqa: B006
    n: int = 10_000,
    folder: str = "runs/digits_objectives",
    output: str = str(ROOT / "docs" / "results.md"),
) -> None:
    """Make the missing runs and write the table.

    Args:
        objectives: names of configs/digits, without their sigma; and catrs_baseline.
        sigmas: standard deviations of the noise.
        seeds: seeds of training.
        n: noisy copies of every image.
        folder: where the figures of finished runs lie.
        output: Markdown file whose part between the two `digits_objectives` comments is replaced.
    """
    torch.set_num_threads(1)
    quiet_libraries()
    wanted = [(name, sigma, seed) for sigma in sigmas for name in objectives for seed in seeds]
    with progress(len(wanted), "Digits", "run") as bar:
        for name, sigma, seed in wanted:
            path = Path(folder) / f"{name}-sigma{sigma:g}-seed{seed}-n{n}.json"
            if not path.is_file():
                figures = train_and_certify(name, sigma, seed, n)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"objective": name, "sigma": sigma, "seed": seed, **figures}))
                write_table(Path(folder), n, Path(output))
            bar.update()
    write_table(Path(folder), n, Path(output))


def write_table(folder: Path, n: int, output: Path) -> None:
    """Replace the part of `output` between the comments by the table of all finished runs."""
    finished = [json.loads(path.read_text()) for path in folder.glob(f"*-n{n}.json")]
    runs = {(figures["objective"], figures["sigma"], figures["seed"]): figures for figures in finished}
    begin, end = "<!-- digits_objectives: begin -->", "<!-- digits_objectives: end -->"
    before, _, rest = output.read_text().partition(begin)
    output.write_text(f"{before}{begin}\n{table(runs, n)}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
