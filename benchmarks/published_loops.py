"""Training as the repositories of the papers do it: plain loops of PyTorch, written anew from the papers' algorithms.

What they share, and what costs: every batch goes to the device when its turn comes, images are repeated before noise is
added, and every step's loss and accuracies are read by the host for running means. A step here takes all copies of the
whole batch; some of the repositories cut a batch into chunks of which they step on all copies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batches = Iterable[tuple[Tensor, Tensor]]


class Meter:
    """A running mean."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def update(self, value: float, rows: int) -> None:
        self.sum, self.count = self.sum + value * rows, self.count + rows

    @property
    def average(self) -> float:
        return self.sum / self.count


class PublishedLoop(ABC):
    """One epoch after the other over batches.

    Args:
        net: images with pixels in [0, 1] in, logits out; on its device.
        sigma: standard deviation of the noise, in pixel units.
    """

    copies = 1

    def __init__(self, net: nn.Module, sigma: float) -> None:
        self.net, self.sigma = net, sigma

    def noise(self, x: Tensor) -> Tensor:
        """(rows * copies, *shape), the copies of an image together."""
        return torch.randn_like(self.repeat(x)) * self.sigma

    def repeat(self, x: Tensor) -> Tensor:
        """Images (rows, *shape), each `copies` times."""
        return x.repeat((1, self.copies, *[1] * (x.dim() - 2))).view(-1, *x.shape[1:])

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The parts of the loss, whose sum is minimised, and the logits of the noisy copies."""

    def epoch(self, batches: Batches, optimizer: torch.optim.Optimizer, device: torch.device) -> dict[str, Meter]:
        """Train on all batches once; the running means."""
        meters: dict[str, Meter] = defaultdict(Meter)
        self.net.train()
        for x, y in batches:
            x, y = x.to(device), y.to(device)
            parts, logits = self.loss(x, y, self.noise(x))
            loss = torch.stack(list(parts.values())).sum()
            top = logits.topk(min(5, logits.shape[1]), dim=1).indices == y.repeat_interleave(self.copies)[:, None]
            meters["top1"].update(top[:, 0].float().mean().item(), len(x))
            meters["top5"].update(top.any(dim=1).float().mean().item(), len(x))
            meters["loss"].update(loss.item(), len(x))
            if len(parts) > 1:
                for name, part in parts.items():
                    meters[name].update(part.item(), len(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return meters

    @contextmanager
    def _attacked(self) -> Iterator[None]:
        """In evaluation mode, without gradients of the weights."""
        self.net.requires_grad_(False).eval()
        yield
        self.net.requires_grad_(True).train()

    def _soft(self, logits: Tensor) -> Tensor:
        """The mean over an image's copies of the probabilities: (rows, classes)."""
        return F.softmax(logits, dim=1).view(-1, self.copies, logits.shape[1]).mean(dim=1)


class GaussianLoop(PublishedLoop):
    """J. Cohen, E. Rosenfeld, J. Z. Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019."""

    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.net(x + noise)
        return {"cross_entropy": F.cross_entropy(logits, y)}, logits


class ConsistencyLoop(PublishedLoop):
    """J. Jeong, J. Shin, "Consistency Regularization for Certified Robustness of Smoothed Classifiers", 2020.

    Args:
        m: copies of every image.
        lbd, eta: weights of the agreement and of the entropy.
        net, sigma: see `PublishedLoop`.
    """

    def __init__(self, net: nn.Module, sigma: float, m: int, lbd: float, eta: float) -> None:
        super().__init__(net, sigma)
        self.copies, self.lbd, self.eta = m, lbd, eta

    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.net(self.repeat(x) + noise)
        mean = self._soft(logits)
        target = mean.repeat_interleave(self.copies, dim=0)
        agreement = F.kl_div(F.log_softmax(logits, dim=1), target, reduction="none").sum(dim=1).mean()
        entropy = -(mean * mean.clamp(min=1e-20).log()).sum(dim=1).mean()
        cross_entropy = F.cross_entropy(logits, y.repeat_interleave(self.copies))
        parts = {"cross_entropy": cross_entropy, "consistency": self.lbd * agreement, "entropy": self.eta * entropy}
        return parts, logits


class SmoothAdvLoop(PublishedLoop):
    """H. Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", 2019, by PGD.

    Args:
        m: copies of every image.
        epsilon: l2 radius of the attack, in pixel units.
        steps: of the attack.
        net, sigma: see `PublishedLoop`.
    """

    def __init__(self, net: nn.Module, sigma: float, m: int, epsilon: float, steps: int) -> None:
        super().__init__(net, sigma)
        self.copies, self.epsilon, self.steps = m, epsilon, steps

    def attack(self, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        delta = torch.zeros_like(x, requires_grad=True)
        optimizer = torch.optim.SGD([delta], lr=2 * self.epsilon / self.steps)
        for _ in range(self.steps):
            logits = self.net(self.repeat(x + delta) + noise)
            optimizer.zero_grad()
            (-F.nll_loss(self._soft(logits).clamp(min=1e-20).log(), y, reduction="sum")).backward()
            norms = delta.grad.flatten(1).norm(dim=1)
            delta.grad.div_(norms.view(-1, 1, 1, 1))
            if (norms == 0).any():
                delta.grad[norms == 0] = torch.randn_like(delta.grad[norms == 0])
            optimizer.step()
            delta.data.add_(x).clamp_(0, 1).sub_(x).renorm_(p=2, dim=0, maxnorm=self.epsilon)
        return (x + delta).detach()

    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with self._attacked():
            x = self.attack(x, y, noise)
        logits = self.net(self.repeat(x) + noise)
        return {"cross_entropy": F.cross_entropy(logits, y.repeat_interleave(self.copies))}, logits


class SmoothMixLoop(PublishedLoop):
    """J. Jeong et al., "SmoothMix: Training Confidence-calibrated Smoothed Classifiers for Certified Robustness", 2021.

    Args:
        m: copies of every image.
        alpha: length of a step of the path, in pixel units.
        steps: of the path.
        mix_step: the step that counts as the clean side.
        eta: weight of the mixing.
        net, sigma: see `PublishedLoop`.
    """

    def __init__(
        self, net: nn.Module, sigma: float, m: int, alpha: float, steps: int, mix_step: int, eta: float
    ) -> None:
        super().__init__(net, sigma)
        self.copies, self.alpha, self.steps, self.mix_step, self.eta = m, alpha, steps, mix_step, eta

    def path(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        start, end = x, x.clone()
        for step in range(self.steps):
            if step == self.mix_step:
                start = end
            moved = end.detach().requires_grad_()
            logits = self.net(self.repeat(moved) + noise)
            loss = F.nll_loss(self._soft(logits).clamp(min=1e-20).log(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            norms = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            end = (end + self.alpha * gradient / (norms + 1e-20)).clamp(0, 1)
        return x + (start - x).renorm(p=2, dim=0, maxnorm=self.alpha * self.mix_step), end

    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with self._attacked():
            start, end = self.path(x, y, noise)
        logits = self.net(self.repeat(start) + noise)
        mean = self._soft(logits)
        share = torch.rand(len(x), device=x.device) / 2
        mixed = (1 - share.view(-1, 1, 1, 1)) * start + share.view(-1, 1, 1, 1) * end
        target = (1 - share[:, None]) * mean + share[:, None] / mean.shape[1]
        log_mixed = F.log_softmax(self.net(self.repeat(mixed) + noise), dim=1)
        target = target.repeat_interleave(self.copies, dim=0)
        divergence = F.kl_div(log_mixed, target, reduction="none").sum(dim=1)
        right = (mean.argmax(dim=1) == y).float().repeat_interleave(self.copies)
        cross_entropy = F.cross_entropy(logits, y.repeat_interleave(self.copies))
        return {"cross_entropy": cross_entropy, "mixing": self.eta * (right * divergence).mean()}, logits


class CATRSLoop(PublishedLoop):
    """J. Jeong, S. Kim, J. Shin, "Confidence-aware Training of Smoothed Classifiers for Certified Robustness", 2023.

    Args:
        m: copies of every image.
        epsilon: l2 radius of the attack on the noise, in pixel units.
        steps: of the attack.
        lbd: weight of the worst case.
        soft_labels: of noisy images, the probabilities (rows, classes) that the repository counts in advance; when left
            out the mean prediction of the net for them, which takes as little time.
        net, sigma: see `PublishedLoop`.
    """

    def __init__(
        self,
        net: nn.Module,
        sigma: float,
        m: int,
        epsilon: float,
        steps: int,
        lbd: float,
        soft_labels: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(net, sigma)
        self.copies, self.epsilon, self.steps, self.lbd = m, epsilon, steps, lbd
        self.soft_labels = soft_labels

    def attack(self, x: Tensor, target: Tensor, noise: Tensor) -> Tensor:
        start_mean, start_rms = noise.mean(dim=(1, 2, 3), keepdim=True), self._rms(noise)
        attacked = noise.clone()
        for _ in range(self.steps):
            attacked = attacked.detach().requires_grad_()
            log_p = F.log_softmax(self.net(x + attacked), dim=1)
            (gradient,) = torch.autograd.grad(F.kl_div(log_p, target, reduction="sum"), attacked)
            norms = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            attacked = attacked.detach() + 2 * self.epsilon / self.steps * gradient / (norms + 1e-8)
            attacked = noise + (attacked - noise).renorm(p=2, dim=0, maxnorm=self.epsilon)
            centred = attacked - attacked.mean(dim=(1, 2, 3), keepdim=True)
            attacked = start_mean + start_rms * centred / self._rms(attacked)
        return attacked.detach()

    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        noisy = self.repeat(x) + noise
        logits = self.net(noisy)
        right = (logits.argmax(dim=1).view(-1, self.copies) == y[:, None]).float().mean(dim=1)
        kept = torch.distributions.Binomial(self.copies, right).sample().clamp(min=1).long()
        losses = F.cross_entropy(logits, y.repeat_interleave(self.copies), reduction="none")
        lowest = losses.view(-1, self.copies).sort(dim=1).values
        low = (lowest.cumsum(dim=1).gather(1, kept[:, None] - 1) / self.copies).mean()
        with torch.no_grad():
            target = self._soft(logits) if self.soft_labels is None else self.soft_labels(noisy)
        target = target.repeat_interleave(self.copies, dim=0)
        with self._attacked():
            attacked = self.attack(self.repeat(x), target, noise)
        log_p = F.log_softmax(self.net(self.repeat(x) + attacked), dim=1)
        divergence = F.kl_div(log_p, target, reduction="none").sum(dim=1).view(-1, self.copies)
        high = ((kept == self.copies) * divergence.amax(dim=1)).mean()
        return {"low": low, "high": self.lbd * high}, logits

    @staticmethod
    def _rms(noise: Tensor) -> Tensor:
        return noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


class MACERLoop(PublishedLoop):
    """R. Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", 2020.

    Args:
        k: copies of every image.
        lbd: weight of the robustness.
        beta: inverse temperature of its softmax.
        gamma: where its hinge ends.
        net, sigma: see `PublishedLoop`.
    """

    def __init__(self, net: nn.Module, sigma: float, k: int, lbd: float, beta: float, gamma: float) -> None:
        super().__init__(net, sigma)
        self.copies, self.lbd, self.beta, self.gamma = k, lbd, beta, gamma

    def loss(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.net(self.repeat(x) + noise)
        classification = F.nll_loss((self._soft(logits) + 1e-10).log(), y)
        top, classes = self._soft(self.beta * logits).topk(2, dim=1)
        first, second = top[classes[:, 0] == y].unbind(dim=1)
        icdf = torch.distributions.Normal(0.0, 1.0).icdf
        gap = icdf(second) - icdf(first)
        counted = gap.isfinite() & (gap.abs() <= self.gamma)
        hinge = (icdf(second[counted]) - icdf(first[counted]) + self.gamma).sum() * self.sigma / 2
        return {"classification": classification, "robustness": self.lbd * hinge / len(x)}, logits


LOOPS: dict[str, type[PublishedLoop]] = {
    "Gaussian": GaussianLoop,
    "Consistency": ConsistencyLoop,
    "SmoothMix": SmoothMixLoop,
    "SmoothAdv": SmoothAdvLoop,
    "CATRS": CATRSLoop,
    "MACER": MACERLoop,
}
