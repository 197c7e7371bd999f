"""Nets from ONNX files, run by ONNX Runtime: batched, on the device where the images are."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_rs.models.architecture import Architecture
from lightning_rs.optional import optional_import

_TYPES = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(double)": (torch.float64, np.float64),
}
_EXPORT = "torch.onnx.export(net, (images,), 'net.onnx', dynamo=True, dynamic_shapes=({0: 'batch'},))"


class OnnxNet(nn.Module):
    """The net in an ONNX file: images (rows, channels, height, width) in, scores (rows, classes) out.

    It has no weights that torch knows; a digest of the file stands for them. Operators of libraries beside ONNX
    Runtime's own are never loaded.

    Args:
        file: the model; weights that it keeps in other files lie beside it.

    Attributes:
        sha256: digest of the file, and of all that it takes from others.
        image: (channels, height, width) that it takes, each None where any will do.
        batch: images that it takes a call; None where any number will do.
        num_classes: K; None as long as only the model's answers say it.
        fixed: why nothing can be done to it to run faster.
        runtime: name and version of the package that runs it.

    Raises:
        OSError: no such file.
        ValueError: ONNX Runtime is not installed, the file is not a model that it can run, or the model does not map
            one batch of images to one batch of scores.
    """

    sha256: Tensor
    fixed = "ONNX Runtime runs the model of the file as it is"

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        self.file = Path(file)
        runtime = optional_import("onnxruntime", "onnx")
        self.runtime = ("onnxruntime", runtime.__version__)
        self.register_buffer("sha256", torch.frombuffer(bytearray(_digest(self.file)), dtype=torch.uint8))
        self._sessions: dict[str, Any] = {}
        session = self._session(torch.device("cpu"))
        self.input, shape, self.input_type = _only(self.file, "input", session.get_inputs(), 4)
        self.output, scores, self.output_type = _only(self.file, "output", session.get_outputs(), 2)
        self.batch, self.image = shape[0], shape[1:]
        self.num_classes = scores[1] or self._asked()

    def forward(self, images: Tensor) -> Tensor:
        if self.batch is None:
            return self._run(images)
        return torch.cat([self._run(_filled(part, self.batch))[: len(part)] for part in images.split(self.batch)])

    def _run(self, images: Tensor) -> Tensor:
        """The scores of as many images as the model takes, read and written where they lie."""
        session = self._session(images.device)
        on_cuda = "CUDAExecutionProvider" in session.get_providers()
        place = images.device if on_cuda else torch.device("cpu")
        rows = images.detach().to(place, _TYPES[self.input_type][0]).contiguous()
        scores = torch.empty(len(rows), self.num_classes, dtype=_TYPES[self.output_type][0], device=place)
        binding, where = session.io_binding(), (place.type, place.index or 0)
        binding.bind_input(self.input, *where, _TYPES[self.input_type][1], tuple(rows.shape), rows.data_ptr())
        binding.bind_output(self.output, *where, _TYPES[self.output_type][1], tuple(scores.shape), scores.data_ptr())
        if on_cuda:  # ONNX Runtime has a stream of its own, and waits for it.
            torch.cuda.current_stream(place).synchronize()
        session.run_with_iobinding(binding)
        return scores.to(images.device)

    def _asked(self) -> int | None:
        """The number of scores that the model gives an image; None if it does not say which images it takes."""
        if None in self.image:
            return None
        rows = np.zeros((self.batch or 1, *self.image), dtype=_TYPES[self.input_type][1])
        try:
            (scores,) = self._session(torch.device("cpu")).run([self.output], {self.input: rows})
        except Exception as error:  # Its exceptions have no common class.
            raise ValueError(f"{self.file} fails on an image of zeros: {_reason(error)}") from None
        return scores.shape[1] if scores.ndim == 2 else None

    def _session(self, device: torch.device) -> Any:
        if str(device) not in self._sessions:
            self._sessions[str(device)] = _opened(self.file, device)
        return self._sessions[str(device)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sessions": {}}  # Opened again where the copy is used.

    def extra_repr(self) -> str:
        return f"{self.file}, batch={self.batch or 'any'}"


def onnx_architecture(file: str, config: Mapping[str, Any] | None = None) -> Architecture:
    """The net in an ONNX file, which the user named.

    Args:
        file: the model.
        config: what stands for files in checkpoints; there is none of an ONNX file.

    Raises:
        OSError, ValueError: see `OnnxNet`; or a config, since what only a checkpoint names is not read.
    """
    if config is not None:
        raise ValueError(f"onnx/{file} is a file: no checkpoint holds what it is built from")
    net = OnnxNet(file)
    channels, height, width = net.image
    size = height if height == width else None
    return Architecture(
        f"onnx/{file}", partial(_build, file), channels=channels, size=size, prefers=size, carries=True
    )


def _build(file: str, num_classes: int) -> OnnxNet:
    net = OnnxNet(file)
    if net.num_classes not in (None, num_classes):
        raise ValueError(f"{file} tells {net.num_classes} classes apart, not {num_classes}")
    net.num_classes = num_classes
    if net.batch is not None:
        warnings.warn(
            f"{file} takes {net.batch} image{'s' if net.batch > 1 else ''} a call, neither more nor less, which is "
            f"slow; export it for any number: {_EXPORT}",
            stacklevel=2,
        )
    return net


def _opened(file: Path, device: torch.device) -> Any:
    """A session of ONNX Runtime, on the GPU where it can."""
    runtime = optional_import("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        # Products in float32, as everywhere unless tf32 was chosen.
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0, "use_tf32": 0}))
    elif device.type != "cpu":
        warnings.warn(
            f"the installed ONNX Runtime has no provider for {device.type}: {file} runs on the CPU; for CUDA install "
            "onnxruntime-gpu",
            stacklevel=2,
        )
    try:
        return runtime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # Its exceptions have no common class.
        raise ValueError(f"{file} is not a model that ONNX Runtime can run: {_reason(error)}") from None


def _only(file: Path, kind: str, values: list[Any], dimensions: int) -> tuple[str, list[int | None], str]:
    """Name, sizes (None: any) and type of the one input or output."""
    form = "(images, channels, height, width)" if dimensions == 4 else "(images, classes)"
    if len(values) != 1:
        names = ", ".join(value.name for value in values)
        raise ValueError(f"{file} must have one {kind}, {form}, got {len(values)}: {names}")
    (value,) = values
    if len(value.shape) != dimensions or value.type not in _TYPES:
        raise ValueError(f"the {kind} of {file} must be floats {form}, got {value.type} {value.shape}")
    return value.name, [size if isinstance(size, int) else None for size in value.shape], value.type


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _filled(rows: Tensor, count: int) -> Tensor:
    """The rows, and the last of them as often as it takes."""
    return rows if len(rows) == count else torch.cat([rows, rows[-1:].expand(count - len(rows), -1, -1, -1)])


def _digest(file: Path) -> bytes:
    """SHA-256 of a model and of the parts of other files that are its weights.

    Raises:
        OSError: a file that is not there.
        ValueError: not an ONNX model, or one whose weights are not beside it.
    """
    onnx = optional_import("onnx", "onnx")
    protobuf = optional_import("google.protobuf.message", "onnx")
    if not file.is_file():
        raise FileNotFoundError(f"no ONNX file at {file}")
    digest = hashlib.sha256(content := file.read_bytes())
    try:
        model = onnx.ModelProto.FromString(content)
    except protobuf.DecodeError:
        raise ValueError(f"{file} is not an ONNX model, or damaged") from None
    for name in sorted({name for tensor in _tensors(onnx, model) for name in _locations(tensor)}):
        beside = file.parent / name
        if Path(name).is_absolute() or ".." in Path(name).parts or not beside.is_file():
            raise ValueError(f"{file} has weights in {name!r}, which is no file beside it")
        digest.update(f"{name} {beside.stat().st_size}".encode())
        with beside.open("rb") as held:
            for part in iter(partial(held.read, 2**24), b""):
                digest.update(part)
    return digest.digest()


def _tensors(onnx: Any, message: Any) -> Iterator[Any]:
    """All tensors in a part of a model."""
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in [value] if hasattr(value, "ListFields") else value:
            if isinstance(part, onnx.TensorProto):
                yield part
            else:
                yield from _tensors(onnx, part)


def _locations(tensor: Any) -> list[str]:
    return [entry.value for entry in tensor.external_data if entry.key == "location"]
