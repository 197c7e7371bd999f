"""What first-order certificates gain over zeroth-order ones, and what they cost.

PYTHONPATH=. python benchmarks/first_order.py gain --checkpoint runs/NAME/checkpoints/last.ckpt --n 10000
PYTHONPATH=. python benchmarks/first_order.py coloured --sigma 0.5 --n 10000
PYTHONPATH=. python benchmarks/first_order.py solver
PYTHONPATH=. python benchmarks/first_order.py sampling --architecture cifar_resnet110 --device cuda

`gain` certifies the test split with first-order mechanisms and with `cohen` in the same norm at the same alpha, and
prints certified accuracy per radius. `coloured` does so for a small net on digits that are enlarged to 3x32x32 and
given random colours, trained on the spot: the shape of CIFAR without a download. `solver` times radii of random
problems. `sampling` times the draws of one CIFAR image with and without the gradient sums.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from lightning_rs import SmoothedClassifier, Statistics
from lightning_rs.checkpoints import data_of, load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.mechanisms import get_mechanism, required_fields, resolve_mechanisms
from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.models import build_base_classifier
from lightning_rs.progress import progress
from lightning_rs.radii.first_order import first_order_radius
from lightning_rs.radii.first_order_dual import largest_moment


def gain(checkpoint: str, sigma: float | None, n: int, limit: int | None, alpha: float, regions: list[str]) -> None:
    loaded = load_checkpoint(checkpoint)
    sigma = sigma or loaded.sigma
    report(loaded.base_classifier, loaded.num_classes, data_of(loaded).dataset("test"), sigma, n, limit, alpha, regions)


def coloured(sigma: float, n: int, limit: int, epochs: int, alpha: float) -> None:
    torch.manual_seed(0)
    digits = Digits()

    def enlarged(split: str) -> TensorDataset:
        images, labels = digits.load(split).tensors
        images = nn.functional.interpolate(images, (32, 32), mode="bilinear")
        return TensorDataset(images * (0.3 + 0.7 * torch.rand(len(images), 3, 1, 1)), labels)

    net = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 64, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    images, labels = enlarged("train").tensors
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            noisy = images[rows] + sigma * torch.randn_like(images[rows])
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(noisy), labels[rows]).backward()
            optimizer.step()
    report(net, 10, enlarged("test"), sigma, n, limit, alpha, ["channel=0", "channel=all,height=16"])


def report(
    base_classifier: nn.Module,
    num_classes: int,
    dataset: Dataset,
    sigma: float,
    n: int,
    limit: int | None,
    alpha: float,
    regions: list[str],
) -> None:
    indices = range(min(len(dataset), limit or len(dataset)))
    pairs = {"l2": ("mohapatra_l2", "cohen"), "l1": ("mohapatra_l1", "cohen:norm=l1")}
    pairs["linf"] = ("mohapatra_linf", "cohen:norm=linf")
    pairs |= {f"l2 in {region}": (f"mohapatra_channel:{region}", "cohen") for region in regions}
    mechanisms = resolve_mechanisms(sorted({name for pair in pairs.values() for name in pair}))
    smoothed = SmoothedClassifier(base_classifier, num_classes, sigma, batch_size=1000)
    parts = []
    with progress(len(indices), "Sampling", "img", True) as bar:
        for i in indices:
            image = dataset[i][0]
            parts.append(smoothed.sample(image[None], [i], 100, n, fields=required_fields(mechanisms)))
            bar.update()
    statistics = Statistics.concatenate(parts)
    labels = np.array([int(dataset[i][1]) for i in indices])
    start = time.perf_counter()
    certificates = {label: mechanism.certify(statistics, alpha) for label, mechanism in mechanisms.items()}
    seconds = time.perf_counter() - start
    print(
        f"{len(labels)} images, sigma = {sigma}, n = {n}, alpha = {alpha}; "
        f"{len(mechanisms)} mechanisms in {seconds:.2f} s"
    )
    for threat, names in pairs.items():
        step = sigma / 4 / (np.sqrt(np.prod(statistics.input_shape)) if threat == "linf" else 1.0)
        radii = [round(float(step * k), 6) for k in range(0, 15, 2)]
        print(f"\n{threat:34s} ACR    " + " ".join(f"{r:6.4g}" for r in radii))
        for name in names:
            c = certificates[name]
            accuracy = 100 * certified_accuracy(c.prediction, c.radius, labels, radii)
            acr = average_certified_radius(c.prediction, c.radius, labels)
            print(f"  {name:32s} {acr:.4f} " + " ".join(f"{a:6.1f}" for a in accuracy))
        first, zeroth = (certificates[name].radius for name in names)
        both = (first > 0) & (zeroth > 0)
        ratio = np.sort(first[both] / zeroth[both])
        middle, high = np.quantile(ratio, (0.5, 0.9))
        print(f"  ratio of radii: median {middle:.3f}, 90 % quantile {high:.3f}, most {ratio[-1]:.3f}")
    fallen = sum(int(c.fallback.sum()) for c in certificates.values() if c.fallback is not None)
    print(f"\nsolver failures: {fallen}")


def solver(count: int) -> None:
    rng = np.random.default_rng(0)
    q = np.where(np.arange(count) % 2, rng.uniform(0.51, 0.99, count), 1 - 10 ** rng.uniform(-5, -2, count))
    size, angle = rng.uniform(0, 1, count), rng.uniform(0, np.pi / 2, count)
    m1, m2 = (largest_moment(1 - q) * size * part for part in (np.cos(angle), np.sin(angle)))
    first_order_radius(q[:10], m1[:10], m2[:10], 1.0)
    for many, rounds in ((1, 100), (count, count)):
        start, failures = time.process_time(), 0
        for k in range(0, rounds, many):
            failures += first_order_radius(q[k : k + many], m1[k : k + many], m2[k : k + many], 1.0)[1].sum()
        milliseconds = 1e3 * (time.process_time() - start) / rounds
        print(f"{milliseconds:.2f} ms of processor time a radius, {many} at once; failures: {failures}")


def sampling(architecture: str, device: str, n: int, batch_size: int, rounds: int) -> None:
    net = build_base_classifier(architecture, 10, (3, 32, 32), (0.5,) * 3, (0.2,) * 3).to(device).eval()
    smoothed = SmoothedClassifier(net, 10, 0.25, batch_size=batch_size)
    x = torch.rand(1, 3, 32, 32)
    seconds: dict[str, list[float]] = {"votes": [], "gradient": []}
    fields = {"votes": (), "gradient": tuple(get_mechanism("mohapatra_l1").requires - {"input_shape"})}
    for k in range(rounds + 1):
        for name in seconds:
            start = time.process_time() if device == "cpu" else time.perf_counter()
            smoothed.sample(x, [0], batch_size, n, fields=fields[name])
            end = time.process_time() if device == "cpu" else time.perf_counter()
            if k:  # The first round warms up.
                seconds[name].append(end - start)
    votes, gradient = (np.median(values) for values in seconds.values())
    print(
        f"{architecture} on {device}, n = {n}, batches of {batch_size}, {torch.get_num_threads()} threads: "
        f"{votes:.3f} s for votes, {gradient:.3f} s with gradient sums, {100 * (gradient / votes - 1):.1f} % more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("gain")
    sub.add_argument("--checkpoint", required=True)
    sub.add_argument("--sigma", type=float)
    sub.add_argument("--n", type=int, default=10_000)
    sub.add_argument("--limit", type=int)
    sub.add_argument("--alpha", type=float, default=0.001)
    sub.add_argument("--regions", nargs="*", default=["top=2,left=2,height=4,width=4"])
    sub = commands.add_parser("coloured")
    sub.add_argument("--sigma", type=float, default=0.5)
    sub.add_argument("--n", type=int, default=10_000)
    sub.add_argument("--limit", type=int, default=60)
    sub.add_argument("--epochs", type=int, default=15)
    sub.add_argument("--alpha", type=float, default=0.001)
    sub = commands.add_parser("solver")
    sub.add_argument("--count", type=int, default=2000)
    sub = commands.add_parser("sampling")
    sub.add_argument("--architecture", default="cifar_resnet110")
    sub.add_argument("--device", default="cpu")
    sub.add_argument("--n", type=int, default=1000)
    sub.add_argument("--batch_size", type=int, default=250)
    sub.add_argument("--rounds", type=int, default=3)
    arguments = vars(parser.parse_args())
    {"gain": gain, "coloured": coloured, "solver": solver, "sampling": sampling}[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
