"""Time every mechanism on 10,000 examples of given statistics, beside `cohen` in the same run.

python benchmarks/mechanisms.py                    10 classes and 1,000 classes, n = 100,000
python benchmarks/mechanisms.py --examples 1000

The closed forms and one-dimensional searches are vectorised; `moutaouakil` and betting take milliseconds each and are
timed on fewer. Printed: milliseconds for all examples, microseconds an example, and the ratio to `cohen`.
"""

from __future__ import annotations

import time

import numpy as np
from jsonargparse import auto_cli
from rich.table import Table

from lightning_rs.mechanisms import (
    SCORE_THRESHOLDS,
    Mechanism,
    betting_looks,
    get_mechanism,
    list_mechanisms,
    parse_mechanism,
)
from lightning_rs.results.report import console_for
from lightning_rs.smoothing import Statistics

SLOW = {"moutaouakil": 50, "moutaouakil:statistic=diff": 50, "salman:bound=betting": 50}
EXTRA = ("salman:bound=hoeffding", "salman:bound=empirical_bernstein", "salman:bound=betting")


def draw_statistics(examples: int, classes: int, n: int, with_scores: bool) -> Statistics:
    """Statistics of examples from hesitant to certain: shares of the top class spread over [.3, 1]."""
    generator = np.random.default_rng(0)
    top = generator.beta(6, 1, examples) * 0.7 + 0.3
    rest = generator.dirichlet(np.full(classes - 1, 0.3), examples) * (1 - top)[:, None]
    p = np.concatenate([top[:, None], rest], axis=1)
    p /= p.sum(axis=1, keepdims=True)
    counts = generator.multinomial(n, p)
    mean = counts / n
    own = mean[:, :1]
    looks = betting_looks(n)
    path = np.stack([counts[:, :1] * looks // n, np.broadcast_to(looks, (examples, len(looks)))], axis=2)
    bins = len(SCORE_THRESHOLDS) + 1
    histogram = generator.multinomial(n, generator.dirichlet(np.full(bins, 0.05), examples))
    return Statistics(
        sigma=0.5,
        counts=counts,
        selection_counts=generator.multinomial(100, p),
        score_sum=counts.astype(float),
        score_square_sum=counts * 0.9,
        margin_sum=n * (2 * own[:, 0] - 1),
        margin_square_sum=n * (0.1 + (own - mean) ** 2).clip(0, 1),
        score_histogram=histogram,
        margin_histogram=histogram,
        scores=generator.beta(5, 1, (examples, n)).astype(np.float32) if with_scores else None,
        uniform=generator.random(examples),
        look_counts=path,
    )


def seconds(mechanism: Mechanism, statistics: Statistics, alpha: float) -> float:
    """Best of three."""
    times = []
    for turn in range(3):
        # Not quite the same alpha: bounds that were computed before are remembered.
        start = time.perf_counter()
        mechanism.certify(statistics, alpha * (1.0 - 1e-6 * turn))
        times.append(time.perf_counter() - start)
    return min(times)


def benchmark(examples: int = 10_000, n: int = 100_000, alpha: float = 0.001) -> None:
    """Print the table.

    Args:
        examples: number of examples for the vectorised mechanisms.
        n: noisy copies of each.
        alpha: failure probability.
    """
    table = Table(title=f"{examples:,} examples, n = {n:,}, α = {alpha:g}")
    table.add_column("mechanism", no_wrap=True)
    for classes in (10, 1000):
        table.add_column(f"K={classes}: ms", justify="right")
        table.add_column("µs an example", justify="right")
    table.add_column("ratio to cohen (K=10)", justify="right")
    statistics = {}
    for classes in (10, 1000):
        statistics[classes] = draw_statistics(examples, classes, n, with_scores=False)
        statistics[classes, "slow"] = draw_statistics(min(SLOW.values()), classes, n, with_scores=True)
    reference = seconds(get_mechanism("cohen"), statistics[10], alpha) / examples
    names = [name for name in list_mechanisms() if name != "cohen"]
    for label in ["cohen", *names, *EXTRA]:
        mechanism = parse_mechanism(label)
        cells, ratio = [], 0.0
        for classes in (10, 1000):
            given = statistics[classes, "slow"] if label in SLOW else statistics[classes]
            each = seconds(mechanism, given, alpha) / len(given)
            ratio = ratio or each / reference
            total = "" if label in SLOW else f"{1e3 * each * len(given):.1f}"
            cells += [total, f"{1e6 * each:.1f}"]
        table.add_row(label, *cells, f"{ratio:.1f}")
    console_for(table).print(table)


if __name__ == "__main__":
    auto_cli(benchmark, as_positional=False)
