"""The classifier behind a denoiser that is to be trained: its net, its stages and its weights, from its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace

from lightning_rs.checkpoints.fitting import misfit_of
from lightning_rs.checkpoints.initial import NONE
from lightning_rs.checkpoints.ours import Checkpoint, check_fits, load_own_checkpoint
from lightning_rs.data import ImageDataModule
from lightning_rs.models import configs_of, load_named
from lightning_rs.objectives import DenoiserObjective

_DENOISER = "denoiser:net="


@dataclass(frozen=True)
class TrainedClassifier:
    """What a `DenoiserObjective` takes from the file of a classifier.

    Attributes:
        path: the file, for messages.
        checkpoint: its content.
        denoiser: what is to stand before its stages; None if the first of them is a denoiser, which then goes on.
    """

    path: Path
    checkpoint: Checkpoint
    denoiser: str | None

    @classmethod
    def named_in(cls, config: Namespace) -> TrainedClassifier:
        """Load the classifier that a configuration of `train.py` names, and let it say net, stages and denoiser there.

        Raises:
            OSError, ValueError: see `load`; or none is named.
        """
        model = config.model.init_args
        if model.classifier is None:
            raise ValueError(
                "a denoiser is trained for a classifier: name its file, --model.classifier RUN/checkpoints/last.ckpt"
            )
        found = cls.load(model.classifier, config.denoiser, model.stages)
        model.architecture, model.stages = found.checkpoint.architecture, list(found.checkpoint.stages)
        if (net := configs_of(found.checkpoint.base_classifier).get("net")) is not None:
            load_named(model.architecture, config=net)  # From what the file holds of it, not from its place.
        model.weights = model.weights or NONE  # A net that has its own gets those of the file.
        config.denoiser = model.denoiser = found.denoiser
        return found

    @classmethod
    def load(
        cls, path: str | Path, denoiser: str | None = None, stages: Sequence[str] | None = None
    ) -> TrainedClassifier:
        """Load a checkpoint of `train.py` for the training of a denoiser.

        Args:
            path: the file.
            denoiser: as the user named it, `NAME` or `NAME,option=value`; None for that of the file.
            stages: as far as the user named them; they must be those of the file.

        Raises:
            OSError: see `load_own_checkpoint`.
            ValueError: the same; a file of another program, no denoiser, or another denoiser or stages than the file's.
        """
        checkpoint = load_own_checkpoint(path)
        own = checkpoint.stages[0].removeprefix(_DENOISER) if checkpoint.stages[0].startswith(_DENOISER) else None
        if denoiser is None and own is None:
            raise ValueError(f"no denoiser to train before {path}: name one, for example --denoiser dncnn")
        if None not in (denoiser, own) and denoiser != own:
            raise ValueError(f"{path} has a denoiser from which training would go on, {own}; got {denoiser}")
        if stages is not None and tuple(stages) != checkpoint.stages:
            raise ValueError(f"{path} has the stages {', '.join(checkpoint.stages)}; got {', '.join(stages)}")
        return cls(Path(path), checkpoint, denoiser if own is None else None)

    def give(self, module: DenoiserObjective, data: ImageDataModule) -> None:
        """Give `module` the weights of the classifier, and of its denoiser if it has one.

        Raises:
            ValueError: classes or images other than those of `data`, or weights that do not fit.
        """
        check_fits(self.checkpoint, data.name, data.facts)
        weights = module.base_classifier.state_dict() | self.checkpoint.base_classifier.state_dict()
        if (misfit := misfit_of(module.base_classifier.state_dict(), weights)) is not None:
            raise ValueError(f"{self.path} does not fit the model: {misfit}")
        module.base_classifier.load_state_dict(weights)
