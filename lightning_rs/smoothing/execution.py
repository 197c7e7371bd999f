"""How the base classifier is run: precision, memory format, folded batch norm, compilation, batch size."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from lightning_rs.checks import check_known
from lightning_rs.smoothing.capacity import first_line, is_out_of_memory
from lightning_rs.smoothing.memory import keep_freed_memory
from lightning_rs.smoothing.scores import ask

PRECISIONS = {"float32": None, "tf32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Preparation:
    """What may be done to a base classifier to run it faster. What is certified is the classifier as it is run.

    Args:
        precision: `float32`; `tf32` (CUDA only) rounds the factors of products to 10 bits; `bfloat16` and `float16`
            run under autocast. Noise is always drawn and added in the inputs' own float32 or float64.
        channels_last: keep images and weights in channels-last order, which many convolutions prefer.
        fold_batch_norm: multiply batch norms into the convolutions before them.
        compile: compile with `torch.compile`, on CUDA with CUDA graphs. Needs a C++ compiler on a CPU.

    Raises:
        ValueError: an unknown precision.
    """

    precision: str = "float32"
    channels_last: bool = False
    fold_batch_norm: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        check_known("precision", self.precision, PRECISIONS)

    def check(self, device: torch.device, classifier: nn.Module) -> None:
        """Refuse what the device cannot do, or has no effect on the classifier.

        A module that something else than torch runs says as its attribute `fixed`, a text, why nothing here changes it.

        Raises:
            ValueError: tf32 without CUDA, or anything but the defaults for a classifier with such a module.
        """
        said = (getattr(module, "fixed", None) for module in classifier.modules())
        fixed = next((reason for reason in said if isinstance(reason, str)), None)
        chosen = [option.name for option in fields(self) if getattr(self, option.name) != option.default]
        if fixed is not None and chosen:
            raise ValueError(f"{fixed}: leave {', '.join(chosen)} out")
        if self.precision == "tf32" and device.type != "cuda":
            raise ValueError(f"precision tf32 needs a CUDA device, got {device.type}")


class PreparedClassifier(nn.Module):
    """A base classifier as `prepare` set it up: maps (rows, *shape) to (rows, classes) scores."""

    def __init__(self, classifier: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        self.classifier = classifier
        self.preparation = preparation
        self.dtype = next((p.dtype for p in classifier.parameters() if p.is_floating_point()), None)
        self._run = self._call
        if preparation.compile:
            on_cuda = any(p.is_cuda for p in classifier.parameters())
            self._run = torch.compile(self._call, dynamic=False, mode="reduce-overhead" if on_cuda else "default")

    def forward(self, rows: Tensor) -> Tensor:
        with tf32(self.preparation.precision == "tf32", rows.device):
            return self._run(rows)

    def _call(self, rows: Tensor) -> Tensor:
        half = PRECISIONS[self.preparation.precision]
        if self.dtype in (torch.bfloat16, torch.float16):
            rows = rows.to(self.dtype)
        if self.preparation.channels_last and rows.ndim == 4:
            rows = rows.contiguous(memory_format=torch.channels_last)
        with torch.autocast(rows.device.type, half, enabled=half is not None):
            return self.classifier(rows)


def prepare(classifier: nn.Module, preparation: Preparation, rows: Tensor) -> PreparedClassifier:
    """The classifier, set up to run as `preparation` says, on the device where it is; the original is left untouched.

    Whatever changes the weights works on a copy: later training of the original is not seen. Folding and compilation
    are checked on the spot: the scores of `rows` must be those of the classifier without them, up to rounding.

    Args:
        classifier: maps (rows, *shape) to (rows, classes) scores.
        preparation: what to do.
        rows: a batch (rows, *shape) of the shape that will be classified, on the classifier's device.

    Raises:
        ValueError: see `Preparation.check`; a model that has no copy, fails, or whose operations cannot be traced to
            fold its batch norms, a failed compilation, or scores that do not stay the same.
    """
    preparation.check(rows.device, classifier)
    if not (preparation.channels_last or preparation.fold_batch_norm or preparation.compile):
        return PreparedClassifier(classifier, preparation)
    try:
        with torch.inference_mode(False):  # A copy that was made within it would serve nowhere else.
            prepared = copy.deepcopy(classifier).eval()
    except (RuntimeError, TypeError) as error:  # Tensors that were computed, and handles, have no copy.
        raise ValueError(f"what is prepared is a copy, and the base classifier has none: {first_line(error)}") from None
    with torch.inference_mode(False), torch.no_grad():
        if preparation.fold_batch_norm:
            folded = _fold(prepared)
            before, after = (ask(PreparedClassifier(module, Preparation()), rows) for module in (prepared, folded))
            _check_same("fold_batch_norm", before, after)
            prepared = folded
        if preparation.channels_last:
            prepared = prepared.to(memory_format=torch.channels_last)
        if preparation.compile:
            plain = ask(PreparedClassifier(prepared, _without_compilation(preparation)), rows)
            compiled = PreparedClassifier(prepared, preparation)
            try:
                with torch.inference_mode():  # As it will be run: otherwise it is compiled twice.
                    scores = compiled(rows).clone()
            except Exception as error:  # Compilers fail in many ways, each with an exception of its own.
                raise ValueError(f"compile failed: {str(error).strip().splitlines()[0][:300]}") from None
            _check_same("compile", plain, scores)
            return compiled
    return PreparedClassifier(prepared, preparation)


def find_batch_size(classifier: Callable[[Tensor], Tensor], x: Tensor, longest: float = 5.0) -> int:
    """The number of rows a call with which the classifier gets through most rows a second.

    Doubles from 50 until twice in a row less than 3 % is gained, memory ends, or a call takes `longest` seconds. What
    is found depends on how busy the machine is: it is recorded with a result, and does not change the noise.

    Args:
        classifier: maps (rows, *shape) to scores.
        x: one input, on the classifier's device.
        longest: seconds that a call may take.

    Raises:
        ValueError: see `ask`.
    """
    best, best_speed, without_gain, size = 50, 0.0, 0, 50
    on_cuda = x.device.type == "cuda"
    with torch.inference_mode(), keep_freed_memory(x.device):
        while without_gain < 2:
            try:
                rows = x.expand(size, *x.shape).contiguous()
                ask(classifier, rows)
                seconds, calls = 0.0, 0
                while calls < 3 or (seconds < 0.1 and calls < 50):
                    start = time.perf_counter()
                    classifier(rows)
                    if on_cuda:
                        torch.cuda.synchronize(x.device)
                    seconds, calls = seconds + time.perf_counter() - start, calls + 1
                    if seconds > longest:
                        break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            speed = size * calls / seconds
            without_gain = 0 if speed > 1.03 * best_speed else without_gain + 1
            if without_gain == 0:
                best, best_speed = size, speed
            if seconds / calls > longest:
                break
            size *= 2
    return best


def _without_compilation(preparation: Preparation) -> Preparation:
    return Preparation(preparation.precision, preparation.channels_last, preparation.fold_batch_norm)


def _fold(classifier: nn.Module) -> nn.Module:
    from torch.fx.experimental.optimization import fuse

    def is_norm(module: nn.Module) -> bool:
        return isinstance(module, nn.modules.batchnorm._BatchNorm)

    # Stages without batch norms need not be traceable. A sequence may have a way of its own to go through them.
    plain = type(classifier).forward is nn.Sequential.forward
    if plain and not any(map(is_norm, classifier)):
        return nn.Sequential(OrderedDict((name, _fold(stage)) for name, stage in classifier.named_children()))
    if not any(map(is_norm, classifier.modules())):
        return classifier
    try:
        return fuse(classifier)
    except Exception as error:  # Tracing runs the model's own code, which may raise anything.
        reason = str(error).strip().splitlines()[0][:200]
        raise ValueError(f"fold_batch_norm needs a model that torch.fx can trace: {reason}") from None


def _check_same(option: str, before: Tensor, after: Tensor) -> None:
    tolerance = 1e-3 if before.dtype in (torch.float32, torch.float64) else 5e-2
    scale = float(before.abs().max())
    difference = float((before.double() - after.double()).abs().max())
    if not difference <= tolerance * scale + 1e-6:
        raise ValueError(f"{option} changes the scores by {difference:.3g} of {scale:.3g}: this model cannot use it")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by instructions of its own; without them it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


@contextmanager
def tf32(allowed: bool, device: torch.device) -> Iterator[None]:
    """Products of float32 in TF32, or not: PyTorch's own default differs between convolutions and matrices."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):  # Newer versions of PyTorch refuse a mixture with the old switches.
        places, name, value = (matmul, cudnn.conv), "fp32_precision", "tf32" if allowed else "ieee"
    else:
        places, name, value = (matmul, cudnn), "allow_tf32", allowed
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            setattr(place, name, was)
