"""The baseline of a `BaselineObjective`, from its checkpoint."""

from __future__ import annotations

from lightning_rs.checkpoints.ours import check_fits, load_own_checkpoint
from lightning_rs.data import ImageDataModule
from lightning_rs.noise import make_noise
<<<<<<< HEAD
from lightning_rs.objectives import BaselineObjective
=======
from lightning_rs.objectives import CATRS, Gaussian
>>>>>>> cf2476c308de33653a36dd80b6f64e2d2886be08


def load_baseline(module: BaselineObjective, data: ImageDataModule) -> str | None:
    """Give `module` the baseline whose checkpoint it names, if it names one.

    Args:
        module: that is to be trained.
        data: that it is trained on.

    Returns:
        A line where the baseline was trained by another objective or under other noise, or where there is none.

    Raises:
        OSError: no such file, or one that cannot be read.
        ValueError: no checkpoint of ours, see `load_own_checkpoint`, or one of other classes or images than those of
            `data`.
    """
    path = module.hparams["baseline"]
    if path is None:
        return "CATRS without a baseline learns from its own predictions, which is not the published method"
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
    published = held.objective in (None, Gaussian.__name__)
    others = [] if published else [f"by {held.objective}, and the method's is by Gaussian"]
    others += [f"under {its}, and is asked under {own}"] if own != its else []
    return f"the baseline {path} was trained {'; '.join(others)}" if others else None
