"""The baseline of a `BaselineObjective`, from its checkpoint."""

from __future__ import annotations

from lightning_rs.checkpoints.ours import check_fits, load_own_checkpoint
from lightning_rs.data import ImageDataModule
from lightning_rs.noise import make_noise
from lightning_rs.objectives import BaselineObjective


def load_baseline(module: BaselineObjective, data: ImageDataModule) -> str | None:
    """Give `module` the baseline whose checkpoint it names, if it names one.

    Args:
        module: that is to be trained.
        data: that it is trained on.

    Returns:
        A line where the baseline was trained under other noise, or is not the published method's: by another objective,
        or none.

    Raises:
        OSError: no such file, or one that cannot be read.
        ValueError: none where one is needed; no checkpoint of ours, see `load_own_checkpoint`, or one of other classes
            or images than those of `data`.
    """
    path, published = module.hparams["baseline"], module.published_baseline
    if path is None:
        name = type(module).__name__
        if module.needs_baseline:
            raise ValueError(f"{name} needs a baseline: give --model.baseline FILE, a checkpoint of train.py")
        return f"{name} without a baseline is not the published method, whose is by {published}" if published else None
    try:
        held = load_own_checkpoint(path)
        check_fits(held, data.name, data.facts)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"baseline: {error}; whoever trains with it needs its file, to go on too: say where it is now with "
            "--model.baseline FILE"
        ) from None
    except OSError as error:
        raise OSError(f"baseline {path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"baseline {path}: {error}") from None
    module.take_baseline(held.base_classifier)
    own, its = module.noise_distribution, make_noise(held.noise, held.sigma)
    others = []
    if published and held.objective not in (None, published):
        others = [f"by {held.objective}, and the published method's by {published}"]
    others += [f"under {its}, and is asked under {own}"] if own != its else []
    return f"the baseline {path} was trained {'; '.join(others)}" if others else None
