"""The losses of the papers, example by example in 50-digit arithmetic, independently of the package."""

from __future__ import annotations

from functools import cache

import mpmath
import numpy as np

mpmath.mp.dps = 50


def softmax(logits):
    top = max(logits)
    powers = [mpmath.exp(mpmath.mpf(float(u)) - mpmath.mpf(float(top))) for u in logits]
    total = mpmath.fsum(powers)
    return [p / total for p in powers]


def mean_softmax(copies, beta=1):
    """Mean over the copies' (classes,) logits."""
    rows = [softmax(np.asarray(u, dtype=np.float64) * beta) for u in copies]
    return [mpmath.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def xlogx(p):
    return p * mpmath.log(p) if p > 0 else mpmath.mpf(0)


@cache
def icdf(p):
    """Inverse of the standard normal distribution function, by bisection of mpmath's own."""
    if p <= 0:
        return -mpmath.inf
    if p >= 1:
        return mpmath.inf
    if p > mpmath.mpf(1) / 2:
        return -icdf(1 - p)
    low, high = mpmath.mpf(-60), mpmath.mpf(0)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if mpmath.erfc(-middle / mpmath.sqrt(2)) / 2 < p else (low, middle)
    return low


def mean(values):
    return float(mpmath.fsum(values) / len(values))


def gaussian(logits, y):
    """logits: (copies, rows, classes)."""
    losses = [-mpmath.log(softmax(u)[t]) for copy in logits for u, t in zip(copy, y, strict=True)]
    return {"cross_entropy": mean(losses)}


def stability(clean, noisy, y, lbd):
    classification, agreement = [], []
    for u, v, t in zip(clean, noisy, y, strict=True):
        p, q = softmax(u), softmax(v)
        classification.append(-mpmath.log(p[t]))
        agreement.append(-lbd * mpmath.fsum(a * mpmath.log(b) for a, b in zip(p, q, strict=True)))
    return {"classification": mean(classification), "stability": mean(agreement)}


def macer(logits, y, sigma, lbd, beta, gamma):
    """logits: (k, rows, classes)."""
    classification, robustness = [], []
    for b, t in enumerate(y):
        classification.append(-mpmath.log(mean_softmax(logits[:, b])[t]))
        z = mean_softmax(logits[:, b], beta)
        best_other = max(value for c, value in enumerate(z) if c != t)
        xi = icdf(z[t]) - icdf(best_other)
        robustness.append(lbd * sigma / 2 * max(gamma - xi, 0) if z[t] >= best_other else mpmath.mpf(0))
    return {"classification": mean(classification), "robustness": mean(robustness)}


def consistency(logits, y, lbd, eta):
    """logits: (m, rows, classes)."""
    classification, agreement, entropy = [], [], []
    for b, t in enumerate(y):
        p = [softmax(u) for u in logits[:, b]]
        q = [mpmath.fsum(column) / len(p) for column in zip(*p, strict=True)]
        for row in p:
            classification.append(-mpmath.log(row[t]))
            agreement.append(lbd * mpmath.fsum(xlogx(a) - a * mpmath.log(c) for a, c in zip(q, row, strict=True)))
        entropy.append(-eta * mpmath.fsum(map(xlogx, q)))
    return {"classification": mean(classification), "consistency": mean(agreement), "entropy": mean(entropy)}


def smoothmix(logits, mixed, y, share, eta):
    """logits, mixed: (m, rows, classes)."""
    classification, mixing = [], []
    for b, t in enumerate(y):
        q = mean_softmax(logits[:, b])
        w = mpmath.mpf(float(share[b]))
        target = [(1 - w) * value + w / len(q) for value in q]
        for u, v in zip(logits[:, b], mixed[:, b], strict=True):
            classification.append(-mpmath.log(softmax(u)[t]))
            r = softmax(v)
            divergence = mpmath.fsum(xlogx(a) - a * mpmath.log(c) for a, c in zip(target, r, strict=True))
            mixing.append(eta * divergence if q[t] >= max(q) else mpmath.mpf(0))
    return {"classification": mean(classification), "mixing": mean(mixing)}


def catrs(logits, attacked, y, target, kept, lbd):
    """logits, attacked: (m, rows, classes); target: (rows, classes); kept: (rows,)."""
    m, bottom, worst = len(logits), [], []
    for b, t in enumerate(y):
        losses = sorted(-mpmath.log(softmax(u)[t]) for u in logits[:, b])
        bottom.append(mpmath.fsum(losses[: kept[b]]) / m)
        t = [mpmath.mpf(float(p)) for p in target[b]]
        divergences = [
            mpmath.fsum(xlogx(p) - p * mpmath.log(q) for p, q in zip(t, softmax(v), strict=True))
            for v in attacked[:, b]
        ]
        worst.append(lbd * max(divergences) if kept[b] == m else mpmath.mpf(0))
    return {"bottom_k": mean(bottom), "worst_case": mean(worst)}


def denoising(estimates, y):
    """estimates: (copies, rows, pixels) of images that are 1 at pixel y and 0 elsewhere."""
    _, rows, pixels = estimates.shape
    squares = [
        (mpmath.mpf(float(copy[b, i])) - (i == y[b])) ** 2
        for copy in estimates
        for b in range(rows)
        for i in range(pixels)
    ]
    return {"squared_error": mean(squares)}


def denoising_stability(clean, noisy):
    return {"stability": mean([-mpmath.log(softmax(v)[int(np.argmax(u))]) for u, v in zip(clean, noisy, strict=True)])}
