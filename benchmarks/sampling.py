"""Time the sampling engine beside its peers, and count the draws of sequential certification beside a fixed number.

pip install -e '.[bench]'
python benchmarks/sampling.py speed                       digits net and ResNet-20; --models '[cifar_resnet110]', ...
python benchmarks/sampling.py draws --checkpoint '[runs/NAME/checkpoints/last.ckpt]'

`speed` compares, in one process, on the same model, device, images and number of draws:

- the algorithm CERTIFY as J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified Adversarial Robustness via Randomized
  Smoothing", 2019, describe it: one image after the other, batches of 1,000, each batch's votes counted on the host;
- `PyTorchRandomizedSmoothing.certify` of the Adversarial Robustness Toolbox, if it is installed;
- this package with batches of 1,000, with the batch size it finds, and with each preparation.

The ceiling is the larger of two times: the model's products at the speed of a large matrix product of the same type,
and the reading and writing of every layer's inputs and outputs at the speed of a large copy, both measured here.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import best_time, ceiling, described, speed_of, work_of
from rich.table import Table
from scipy.stats import norm
from torch import Tensor, nn

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.checkpoints import data_of, load_checkpoint
from lightning_rs.metrics import certified_accuracy
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import Gaussian
from lightning_rs.results.radius_text import accuracy_headers
from lightning_rs.results.records import certificates_of
from lightning_rs.results.report import console_for
from lightning_rs.smoothing import Preparation, find_batch_size, prepare
from lightning_rs.smoothing.execution import tf32
from lightning_rs.smoothing.memory import keep_freed_memory
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler, evaluating

SIGMA, N0 = 0.25, 100
MODELS = {  # channels, size, draws an image on a CPU and on a GPU
    "digits_cnn": (1, 8, 50_000, 500_000),
    "cifar_resnet20": (3, 32, 3000, 100_000),
    "cifar_resnet110": (3, 32, 500, 100_000),
    "resnet50": (3, 224, 60, 10_000),
    "vit_b_16": (3, 224, 30, 5000),
}
PREPARATIONS = {
    "": Preparation(),
    "channels_last": Preparation(channels_last=True),
    "fold": Preparation(fold_batch_norm=True),
    "tf32, channels_last, fold": Preparation("tf32", channels_last=True, fold_batch_norm=True),
    "channels_last, fold": Preparation(channels_last=True, fold_batch_norm=True),
    "channels_last, fold, compile": Preparation(channels_last=True, fold_batch_norm=True, compile=True),
    "bfloat16, channels_last, fold": Preparation("bfloat16", channels_last=True, fold_batch_norm=True),
    "bfloat16, channels_last, fold, compile": Preparation("bfloat16", True, True, True),
}


def published_certify(
    classifier: nn.Module, x: Tensor, sigma: float, n0: int, n: int, alpha: float, classes: int, batch_size: int = 1000
) -> tuple[int, float]:
    """CERTIFY of Cohen et al. 2019: SAMPLEUNDERNOISE twice, Clopper-Pearson, Phi^-1."""

    def sample_under_noise(count: int) -> np.ndarray:
        counts = np.zeros(classes, dtype=int)
        with torch.no_grad():
            while count > 0:
                size = min(batch_size, count)
                count -= size
                batch = x.repeat((size, 1, 1, 1))
                noise = torch.randn_like(batch) * sigma
                for answer in classifier(batch + noise).argmax(1).cpu().numpy():
                    counts[answer] += 1
        return counts

    top = sample_under_noise(n0).argmax().item()
    lower = clopper_pearson_lower(sample_under_noise(n)[top], n, alpha)
    return (-1, 0.0) if lower < 0.5 else (top, sigma * norm.ppf(lower))


@dataclass
class PeakMemory:
    """Peak of memory within the context, in MB above its start: of the device, or of this process on a CPU."""

    device: torch.device
    megabytes: float = math.nan
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device)
        elif os.path.exists("/proc/self/statm"):
            self._start = self._peak = self._resident()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.device.type == "cuda":
            self.megabytes = (torch.cuda.max_memory_allocated(self.device) - self._start) / 1e6
        elif hasattr(self, "_thread"):
            self._stop.set()
            self._thread.join()
            self.megabytes = (self._peak - self._start) / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._peak = max(self._peak, self._resident())

    @staticmethod
    def _resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def speed(
    models: list[str] = ["digits_cnn", "cifar_resnet20"],  # noqa: B006
    images: int = 2,
    n: int | None = None,
    repeats: int = 2,
    seed: int = 0,
    preparations: list[str] | None = None,
    output: str | None = None,
) -> None:
    """Draws a second of the published loop, the Adversarial Robustness Toolbox and this package.

    Args:
        models: architectures, with random weights.
        images: number of images.
        n: draws an image; chosen to suit the model and the device when left out.
        repeats: runs of each, of which the fastest counts.
        seed: seed of the weights and the images.
        preparations: names of those that are run, all when left out.
        output: file that gets each figure as it comes, one line of JSON each.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(described(device))
    for model in models:
        channels, size, on_cpu, on_gpu = MODELS[model]
        draws = n or (on_gpu if device.type == "cuda" else on_cpu)
        torch.manual_seed(seed)
        classes = 1000 if size == 224 else 10
        classifier = build_base_classifier(model, classes, [channels, size, size], [0.5] * channels, [0.25] * channels)
        classifier = classifier.to(device).eval()
        x = torch.rand(images, channels, size, size, device=device)
        _speed_of(model, classifier, classes, x, draws, repeats, device, preparations or list(PREPARATIONS), output)


def _speed_of(
    model: str,
    classifier: nn.Module,
    classes: int,
    x: Tensor,
    n: int,
    repeats: int,
    device: torch.device,
    preparations: list[str],
    output: str | None,
) -> None:
    rows: list[tuple[str, float, float, str]] = []

    def measure(label: str, call: Callable[[], object], dtype: str = "float32") -> None:
        with PeakMemory(device) as memory:
            # Convolutions are in TF32 by PyTorch's own choice: here everybody's float32 is float32.
            with tf32(False, device):
                seconds = best_time(call, device, repeats)
        rows.append((label, len(x) * (n + N0) / seconds, memory.megabytes, dtype))
        print(f"  {label}: {rows[-1][1]:,.0f} draws/s", flush=True)
        if output is not None:
            figures = {"model": model, "n": n, "label": label, "draws_per_second": rows[-1][1]}
            with open(output, "a") as file:
                file.write(json.dumps(figures | {"megabytes": memory.megabytes}) + "\n")

    print(f"{model}, {len(x)} images of {'x'.join(map(str, x.shape[1:]))}, n = {n:,}")
    measure(
        "published loop", lambda: [published_certify(classifier, image, SIGMA, N0, n, 0.001, classes) for image in x]
    )
    try:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
    except ImportError:
        print("  the Adversarial Robustness Toolbox is not installed: pip install -e '.[bench]'")
    else:
        toolbox = PyTorchRandomizedSmoothing(
            classifier,
            nn.CrossEntropyLoss(),
            tuple(x.shape[1:]),
            classes,
            device_type="gpu" if device.type == "cuda" else "cpu",
            sample_size=N0,
            scale=SIGMA,
        )
        arrays = x.cpu().numpy()
        measure("Adversarial Robustness Toolbox", lambda: toolbox.certify(arrays, n, batch_size=1000))
    plan = Plan((n,), N0)

    def ours(run: Callable[[Tensor], Tensor], batch_size: int) -> Callable[[], object]:
        def call() -> list:
            rows = min(batch_size, len(x) * (n + N0))
            return list(Sampler(run, classes, SIGMA, rows, 0, device).run(enumerate(x), plan))

        return call

    measure("ours, batches of 1,000", ours(prepare(classifier, Preparation(), x), 1000))
    for label in preparations:
        preparation = PREPARATIONS[label]
        with evaluating(classifier):
            uncompiled = Preparation(preparation.precision, preparation.channels_last, preparation.fold_batch_norm)
            if preparation.precision == "tf32" and device.type != "cuda":
                continue
            batch_size = find_batch_size(prepare(classifier, uncompiled, x), x[0])
            batch = x[:1].repeat(batch_size, 1, 1, 1) + SIGMA * torch.randn(batch_size, *x.shape[1:], device=device)
            try:
                prepared = prepare(classifier, preparation, batch)
            except ValueError as error:
                print(f"  {label}: {error}")
                continue
            title = f"ours, batches of {batch_size:,}{', ' if label else ''}{label}"
            measure(title, ours(prepared, batch_size), preparation.precision)
    with keep_freed_memory(device), torch.no_grad():
        work = work_of(classifier, lambda: classifier(x[:1]))
        # Of what was run alone: where a processor has no bfloat16, a large product of it takes minutes.
        types = {dtype: torch.bfloat16 if dtype == "bfloat16" else torch.float32 for *_, dtype in rows}
        ceilings = {name: ceiling(work, speed_of(device, dtype), dtype) for name, dtype in types.items()}
    table = Table(title=f"{model}, {'x'.join(map(str, x.shape[1:]))}, n = {n:,}")
    for column in ("", "draws/s", "ratio", "of the ceiling", "peak MB"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for label, draws, megabytes, dtype in rows:
        limit, binding = ceilings[dtype]
        share = f"{draws / limit:.0%} ({binding})"
        table.add_row(label, f"{draws:,.0f}", f"{draws / rows[0][1]:.2f}", share, f"{megabytes:,.0f}")
    console_for(table).print(table)


def draws(
    checkpoint: list[str],
    n: int = 100_000,
    alpha: float = 0.001,
    radii: list[float] = [0.0, 0.25, 0.5, 0.75, 1.0],  # noqa: B006
    mechanisms: list[str] = ["sequential_betting", "sequential_union"],  # noqa: B006
    batch_size: int = 400,
    limit: int | None = None,
) -> None:
    """Draws and certified accuracy of sequential mechanisms beside `cohen` with n draws.

    Args:
        checkpoint: checkpoints of train.py.
        n: draws of the fixed number, and the most of the sequential ones.
        alpha: failure probability of a certificate.
        radii: radii of interest.
        mechanisms: sequential mechanisms.
        batch_size: rows a call.
        limit: certify at most so many images.
    """
    for path in checkpoint:
        loaded = load_checkpoint(path)
        dataset = data_of(loaded).dataset("test")
        indices = range(min(len(dataset), limit or len(dataset)))
        title = f"{path}: sigma = {loaded.sigma:g}, {len(indices)} images, n = {n:,}, alpha = {alpha:g}"
        table = Table(title=title)
        for column in ("", *accuracy_headers(radii), "draws an image", "of fixed", "seconds"):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        fixed = None
        for mechanism in ("cohen", *mechanisms):
            settings = CertificationSettings(
                n=n, alpha=alpha, mechanisms=[mechanism], radii=radii, batch_size=batch_size
            )
            start = time.perf_counter()
            noise = Gaussian(loaded.sigma)
            what = (loaded.base_classifier, loaded.architecture, loaded.num_classes, noise, dataset, path, "test")
            records = list(certify_examples(Certification(*what, settings), indices))
            seconds = time.perf_counter() - start
            used = np.mean([sum(r.counts.values()) + sum(r.selection.values()) for r in records])
            fixed = fixed or used
            prediction, radius, label = certificates_of(records, next(iter(records[0].certificates)))
            cells = []
            for share in certified_accuracy(prediction, radius, label, radii):
                right = round(share * len(records))
                low, high = (f(right, len(records), 0.025) for f in (clopper_pearson_lower, clopper_pearson_upper))
                limits = f" ({100 * low:.1f}-{100 * high:.1f})" if mechanism == "cohen" else ""
                cells.append(f"{100 * share:.1f}{limits}")
            table.add_row(mechanism, *cells, f"{used:,.0f}", f"{used / fixed:.1%}", f"{seconds:.0f}")
            print(f"{mechanism}: {used:,.0f} draws an image, {seconds:.0f} s", flush=True)
        console_for(table).print(table)


if __name__ == "__main__":
    auto_cli([speed, draws], as_positional=False)
