"""Things with names: those that the modules of a package define, and a user's own. A name in a file imports nothing."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Name to object of one kind. A new file in the package is all that a new object of ours takes.

    A user's own are known once the user has named them: by their path, `my_package.MyMechanism` (`load`), or by the
    module that defines them (`plug_in`). `get` imports nothing, so its argument may come from a file.

    Args:
        kind: what the objects are, for messages.
        package: dotted name of the package whose modules define ours; they are read when the registry is first used.
        name_of: anything that a module defines -> its name in the registry, or None if it is not of this kind.
        option: how a user names an own one on the command line, with `{}` for its path.
        adopt: a path that the user gave and what it leads to -> the object; TypeError if it cannot serve.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        name_of: Callable[[Any], str | None],
        option: str,
        adopt: Callable[[str, Any], T] | None = None,
    ) -> None:
        self.kind, self.option = kind, option
        self._package, self._name_of, self._adopt = package, name_of, adopt or self._as_it_is
        self._ours: dict[str, T] = {}
        self._users: dict[str, T] = {}

    def get(self, name: str) -> T:  # type: ignore[override]
        """The object of that name, if it is one of ours or the user has named it.

        Raises:
            ValueError: it is neither; the message lists the known names, and says how to name an own one.
        """
        if name in self:
            return self[name]
        message = f"unknown {self.kind} {name!r}; known: {', '.join(sorted(self))}"
        if "." in name:
            way = f"{self.option.format(name)} or --plugins {name.rpartition('.')[0]}"
            if self._adopt != self._as_it_is:  # It may be a function, which a plug-in does not enter.
                way += " if it is a class"
            message += f"; what only a file names is never imported: if it is yours, give {way}"
        raise ValueError(message)

    def load(self, name: str) -> T:
        """The object that the user calls `name`: as `get`, but the path of an own one is imported.

        It is then known by its own name too, unless that is another's.

        Raises:
            ValueError: an unknown name, a module that is not there or fails, or something of another kind.
        """
        if "." in name and name not in self:
            module, _, attribute = name.rpartition(".")
            value = getattr(import_users_module(module), attribute, None)
            if value is None:
                raise ValueError(f"module {module} has no {attribute}")
            try:
                self._users[name] = adopted = self._adopt(name, value)
            except TypeError as error:
                raise ValueError(str(error)) from None
            # Some tell others what they are by their own name, a noise for example; nobody else's is taken.
            own = self._name_of(adopted)
            if own is not None and own not in self:
                self._users[own] = adopted
        return self.get(name)

    def add(self, cls: T) -> None:
        """Make a class that the user's code handed over known by its path."""
        if cls not in self._own().values():
            self._users.setdefault(f"{cls.__module__}.{cls.__qualname__}", cls)

    def enter(self, name: str, value: T) -> None:
        """Make an object known by the name that the user gave it."""
        self._users[name] = value

    def plug_in(self, module: ModuleType) -> None:
        """Make all that a user's module defines known: by name and by path, and classes that serve by path alone.

        A function does not serve by its module: it has to be named itself, lest a file could name any of them.

        Raises:
            ValueError: one of them has the name of another.
        """
        for attribute, value in self._defined_in(module).items():
            name, path = self._name_of(value), f"{module.__name__}.{attribute}"
            if name is not None:
                if name in self and self[name] is not value:
                    raise ValueError(f"{self.kind} {name!r} of {module.__name__} has the name of another")
                self._users |= {name: value, path: value}
            if isinstance(value, type):
                for place in {path, f"{value.__module__}.{value.__qualname__}"}:
                    with suppress(TypeError):
                        self._users[place] = self._adopt(place, value)

    def __getitem__(self, name: str) -> T:
        return (self._own() | self._users)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own() | self._users)

    def __len__(self) -> int:
        return len(self._own() | self._users)

    def _own(self) -> dict[str, T]:
        if not self._ours:
            folder = importlib.import_module(self._package).__path__
            modules = [importlib.import_module(f"{self._package}.{info.name}") for info in pkgutil.iter_modules(folder)]
            values = [value for module in modules for value in self._defined_in(module).values()]
            self._ours = {name: value for value in values if (name := self._name_of(value)) is not None}
        return self._ours

    def _defined_in(self, module: ModuleType) -> dict[str, Any]:
        # What a module imports from elsewhere is not its own; what a package takes from its own modules is. Objects
        # other than classes do not say where they were made.
        def is_own(value: Any) -> bool:
            return not isinstance(value, type) or f"{value.__module__}.".startswith(f"{module.__name__}.")

        return {attribute: value for attribute, value in vars(module).items() if is_own(value)}

    def _as_it_is(self, path: str, value: Any) -> T:
        if self._name_of(value) is None:
            raise TypeError(f"{path} is no {self.kind}")
        return value


def import_users_module(name: str) -> ModuleType:
    """A module that the user named.

    Raises:
        ValueError: it is not there, or fails; with the reason.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # A user's module may raise anything.
        raise ValueError(f"module {name} cannot be imported: {type(error).__name__}: {error}") from None


def split_options(kind: str, text: str) -> tuple[str, dict[str, int | float | str]]:
    """Name and options of a text `name` or `name:option=value,option=value`, such as `kumar_score:confidence=0.7`.

    Values are numbers where they can be read as such, otherwise words.

    Raises:
        ValueError: a text of another form; the message calls it a `kind`.
    """
    name, words = split_words(kind, text)
    return name, {key: _value(word) for key, word in words.items()}


def split_words(kind: str, text: str) -> tuple[str, dict[str, str]]:
    """As `split_options`, with the values as they stand."""
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key.isidentifier() and value):
            raise ValueError(f"a {kind} must read name or name:option=value,option=value, got {text!r}")
        if key in options:
            raise ValueError(f"option {key} is given twice in {text!r}")
        options[key] = value
    return name, options


def join_options(name: str, options: Mapping[str, Any]) -> str:
    """The text that `split_options` takes apart."""
    return ":".join([name, *([",".join(f"{key}={value}" for key, value in options.items())] if options else [])])


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
