"""Files that are whole or not there: written beside their place, synced and renamed. Nothing else's file is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

try:
    import fcntl
except ImportError:  # Not on Windows, where two programs have to be kept apart by hand.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; what is there at the end takes its place, synced, in one step.

    The other path has the same suffix. If the block fails, or the process is killed, the file that was there stays.

    Raises:
        OSError: the disk is full or fails, or the folder cannot be written; it names `path`.
    """
    path = Path(path)
    # Beside it, as only within a file system a rename is one step; by process, so that two do not share it.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a whole file or, whatever happens, leave the one that was there. Text is UTF-8, line ends as they are.

    Raises:
        OSError: see `replacing`.
    """
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def check_new_file(name: str, path: str | Path) -> None:
    """Refuse, before the work, a place where no file can be written after it.

    Args:
        name: of the option that names it.
        path: the file.

    Raises:
        ValueError: a folder, or a file in a folder that is not there or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{name} must be a file, and {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{name} must be a file in a folder that exists, and {path.parent} does not")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name} must be a file in a folder that can be written, and {path.parent} cannot")


def free_directory(parent: str | Path, name: str) -> Path:
    """`parent`/`name`, or with -2, -3, ... appended, whichever does not exist yet."""
    path, number = Path(parent) / name, 1
    while os.path.lexists(path):
        number += 1
        path = path.with_name(f"{name}-{number}")
    return path


def new_directory(parent: str | Path, name: str) -> Path:
    """Make the `free_directory`: two programs never get the same.

    Raises:
        OSError: `parent` is no folder and cannot be made one.
    """
    Path(parent).mkdir(parents=True, exist_ok=True)
    while True:
        path = free_directory(parent, name)
        with suppress(FileExistsError):  # Another program was faster.
            path.mkdir()
            return path


def only_writer(directory: str | Path, kind: str) -> int | None:
    """Keep other programs from writing to the directory as long as this process lives, where the system can.

    Returns:
        A file descriptor; closing it gives the directory free. None where there are no locks.

    Raises:
        ValueError: see `lock`.
    """
    if fcntl is None:
        return None
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        lock(descriptor, directory, kind)
    except ValueError:
        os.close(descriptor)
        raise
    return descriptor


def lock(descriptor: int, path: str | Path, kind: str) -> None:
    """Keep other programs from writing to a file or folder until its descriptor is closed, where the system can.

    Raises:
        ValueError: another program writes there; the message calls what it does a `kind`.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"another {kind} is writing to {path}: let it end, or name another output") from None
    except OSError:  # Some network file systems have no locks.
        return


def remove_parts(folder: str | Path) -> None:
    """Remove what `replacing` left in a folder when its process was killed; only its one writer may."""
    for part in Path(folder).glob(".*.part*"):
        if re.fullmatch(r"\..+\.\d+\.part(\..*)?", part.name) and part.is_file():
            part.unlink()


def sync_folder(path: str | Path) -> None:
    """Make the names of new files last. Some file systems cannot, and do not need it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_links(directory: str | Path) -> None:
    """Refuse a directory in which one would read and write elsewhere, or wait for ever.

    W&B's folders may hold links: they lead to its own logs, and it makes a new folder each time.

    Raises:
        ValueError: a link that leads out of it, or what is neither a file nor a folder, such as a pipe.
    """
    root = Path(directory).resolve()
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise ValueError(f"{path} is a link that leads out of {directory}")
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path} is neither a file nor a folder")
        folders[:] = [name for name in folders if name != "wandb"]


def check_own_directory(path: str | Path, mark: str, kind: str, beside: str = "") -> None:
    """Refuse to write into a directory that holds others' files: it must be new, empty, or hold the file `mark`.

    Args:
        path: the directory.
        mark: name of a file that every directory of this kind holds.
        kind: what the directory is of, as in "a report".
        beside: pattern of names that may be there before the mark is.

    Raises:
        ValueError: not a directory, one with files and without the mark, or see `check_links`.
    """
    path = Path(path)
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise ValueError(f"{path} is not a directory")
    names = sorted(entry.name for entry in path.iterdir() if ".part" not in entry.name)
    names = [name for name in names if not fnmatch(name, beside)]
    if names and mark not in names:
        held = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise ValueError(f"{path} is not the directory of {kind}: it holds {held} and no {mark}; name a new one")
    check_links(path)
