"""Things with names: those that the modules of a package define, and a user's own. A name in a file imports nothing."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Generic, TypeVar

from lightning_rs.checks import check_known

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
        adopt: what a path that the user gave leads to -> the object; TypeError if it cannot serve.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        name_of: Callable[[Any], str | None],
        option: str,
        adopt: Callable[[Any], T] | None = None,
    ) -> None:
        self.kind, self.option = kind, option
        self._package, self._name_of, self._adopt = package, name_of, adopt
        self._ours: dict[str, T] = {}
        self._users: dict[str, T] = {}

    def get(self, name: str) -> T:  # type: ignore[override]
        """The object of that name, if it is one of ours or the user has named it.

        Raises:
            ValueError: it is neither; the message lists the known names, or says how to name an own one.
        """
        if "." in name and name not in self:
            raise ValueError(
                f"{self.kind} {name} is not one of lightning_rs, and what only a file names is never imported: "
                f"give {self.option.format(name)} or --plugins {name.rpartition('.')[0]}"
            )
        return self[check_known(self.kind, name, self)]

    def load(self, name: str) -> T:
        """The object that the user calls `name`: as `get`, but the path of an own one is imported.

        Raises:
            ValueError: an unknown name, a module that is not there or fails, or something of another kind.
        """
        if "." in name and name not in self:
            module, _, attribute = name.rpartition(".")
            value = getattr(import_users_module(module), attribute, None)
            try:
                if value is None:
                    raise TypeError(f"module {module} has no {attribute}")
                if self._adopt is None and self._name_of(value) is None:
                    raise TypeError(f"{name} is no {self.kind}")
                self._users[name] = value if self._adopt is None else self._adopt(value)
            except TypeError as error:
                raise ValueError(str(error)) from None
        return self.get(name)

    def add(self, value: T) -> None:
        """Make a class that the user's code handed over known by its path."""
        self._users.setdefault(f"{value.__module__}.{value.__qualname__}", value)

    def plug_in(self, module: ModuleType) -> None:
        """Make all that a user's module defines known, by name and by path.

        Raises:
            ValueError: one of them has the name of one of ours.
        """
        for name, value in self._defined_in(module).items():
            if name in self._own():
                raise ValueError(f"{self.kind} {name!r} of {module.__name__} has the name of one of lightning_rs")
            self._users |= {name: value, f"{module.__name__}.{name}": value}
            if isinstance(value, type):
                self.add(value)

    def __getitem__(self, name: str) -> T:
        return (self._own() | self._users)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own() | self._users)

    def __len__(self) -> int:
        return len(self._own() | self._users)

    def _own(self) -> dict[str, T]:
        if not self._ours:
            for info in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                self._ours |= self._defined_in(importlib.import_module(f"{self._package}.{info.name}"))
        return self._ours

    def _defined_in(self, module: ModuleType) -> dict[str, T]:
        # What a module imports from elsewhere is not its own; what a package takes from its own modules is.
        def is_own(value: Any) -> bool:
            return f"{getattr(value, '__module__', module.__name__)}.".startswith(f"{module.__name__}.")

        own = filter(is_own, vars(module).values())
        return {name: value for value in own if (name := self._name_of(value)) is not None}


def import_users_module(name: str) -> ModuleType:
    """A module that the user named.

    Raises:
        ValueError: it is not there, or fails; with the reason.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # A user's module may raise anything.
        raise ValueError(f"module {name} cannot be imported: {type(error).__name__}: {error}") from None


def parse_options(kind: str, text: str) -> tuple[str, dict[str, int | float | str]]:
    """Name and options of a text `name` or `name:option=value,option=value`.

    Values are numbers where they can be read as such, otherwise words.

    Raises:
        ValueError: a text of another form.
    """
    name, _, rest = text.partition(":")
    options: dict[str, int | float | str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key.isidentifier() and value):
            raise ValueError(f"a {kind} must read name or name:option=value,option=value, got {text!r}")
        if key in options:
            raise ValueError(f"option {key} is given twice in {text!r}")
        options[key] = _value(value)
    return name, options


def _value(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text
