"""Files of the Hugging Face hub: from a folder or the cache first, then from the network, which may be away."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lightning_rs.optional import optional_import

_SECONDS = 5.0


def hub_folder(place: str, patterns: Sequence[str], extra: str = "hf", optional: Sequence[str] = ()) -> Path:
    """The folder at `place`, or the one of that name on the hub, which is fetched where it is not in the cache.

    Args:
        place: that the user named: a local folder, or `OWNER/NAME` on the hub.
        patterns: paths of files in it, `*` for any text, a / too; of each there is one at least.
        extra: of this package, whose libraries the folder is for.
        optional: names of files that are fetched too if there are such.

    Raises:
        OSError: no such folder, or the hub cannot be reached or has none; it says what to put where.
        ValueError: a folder without one of the files.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        return _with(folder, place, patterns)
    if not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", place):
        raise FileNotFoundError(f"there is no folder {place}")
    hub = optional_import("huggingface_hub", extra)
    errors = _errors(extra)
    wanted, endpoint = [*patterns, *optional], hub.constants.ENDPOINT
    cached = None
    with suppress(*errors):
        cached = Path(hub.snapshot_download(place, allow_patterns=wanted, local_files_only=True))
    if cached and not _lacking(cached, wanted):
        return cached
    try:
        reach_hub(extra)
        folder = Path(hub.snapshot_download(place, allow_patterns=wanted))
    except errors as error:
        if cached and not _lacking(cached, patterns):
            return cached
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise OSError(
            f"{place} is no folder, not in the hub's cache, and cannot be fetched: download {' and '.join(wanted)} of "
            f"{endpoint}/{place} elsewhere, and put them into a folder {place} here ({reason})"
        ) from None
    return _with(folder, place, patterns)


def reach_hub(extra: str = "hf") -> None:
    """Ask the hub for a sign of life; its own client would try for minutes.

    Raises:
        OSError: it does not answer within seconds, or `HF_HUB_OFFLINE` is set.
    """
    hub = optional_import("huggingface_hub", extra)
    try:
        hub.get_session().head(hub.constants.ENDPOINT, timeout=_SECONDS)
    except _errors(extra) as error:
        raise OSError(" ".join(str(error).split())[:160] or type(error).__name__) from None


def _errors(extra: str) -> tuple[type[Exception], ...]:
    return OSError, ValueError, optional_import("huggingface_hub.errors", extra).HTTPError


def _with(folder: Path, place: str, patterns: Sequence[str]) -> Path:
    if lacking := _lacking(folder, patterns):
        raise ValueError(f"{place} holds no {lacking}")
    return folder


def _lacking(folder: Path, patterns: Sequence[str]) -> str | None:
    """The first pattern that no file in the folder or below has, its path being compared, as the hub does."""
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return next((pattern for pattern in patterns if not fnmatch.filter(files, pattern)), None)
