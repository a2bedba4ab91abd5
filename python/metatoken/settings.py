"""Settings that are declared once: a field says its type, default, bounds and meaning, and checks its own value.

Arguments in Python, keys in YAML and options of the command line all become the same frozen dataclasses. This module
imports nothing heavy, so that the command line can show its help at once.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from metatoken.errors import ArgumentError, ConfigError, hint

T = TypeVar("T")
NOUNS = {int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "a path"}


class SettingError(ArgumentError, ConfigError):
    """A setting is unknown, missing, or has a value that cannot be used.

    Args:
        path: Names of the sections it stands in, then its own.
        said: What was expected and what came.
        kind: What is wrong with it.
    """

    def __init__(
        self, path: tuple[str, ...], said: str, kind: Literal["unknown", "missing", "value"] = "value"
    ) -> None:
        super().__init__(".".join(path), said)
        self.path, self.said, self.kind = path, said, kind

    def __str__(self) -> str:
        return f"unknown setting {self.argument!r}; {self.said}" if self.kind == "unknown" else super().__str__()

    def within(self, *sections: str) -> SettingError:
        """The same error seen from outside of a section; one that says its section already is not changed."""
        inside = self.path[: len(sections)] == sections
        return self if inside else SettingError((*sections, *self.path), self.said, self.kind)


@dataclass(frozen=True)
class Spec:
    """What a field says about itself besides its type and default.

    Attributes:
        help: One line on what it means.
        ge: Least value.
        gt: Largest value that is too small.
        le: Largest value.
        lt: Least value that is too large.
        noun: What the value is called in messages; by default from the type.
        parse: Checks a value in place of the type; raises `ValueError` with what was expected.
        group: Fields that belong together; a panel of the command line's help.
        option: Option of the command line, by default `--` and the name.
        form: How a mapping is written on the command line, such as `TYPE=FILE`.
        key: Whether it is a key in YAML.
    """

    help: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    noun: str | None = None
    parse: Callable[[Any], Any] | None = None
    group: str = ""
    option: str = ""
    form: str = ""
    key: bool = True


def setting(default: T, help: str = "", **spec: Any) -> T:  # noqa: A002 (as in argparse and typer)
    """A field of a `Settings` class.

    Args:
        default: Its default.
        help: See `Spec`.
        **spec: See `Spec`.
    """
    metadata = {"spec": Spec(help, **spec)}
    if isinstance(default, dict):
        empty: Any = field(default_factory=default.copy, metadata=metadata)
        return cast("T", empty)
    return field(default=default, metadata=metadata)


def spec_of(one: Field[Any]) -> Spec:
    """What a field says about itself."""
    found: Spec = one.metadata.get("spec", Spec())
    return found


@dataclass(frozen=True)
class Settings:
    """Base of all settings; derive a frozen dataclass and declare its fields with `setting`."""

    section: ClassVar[str] = ""
    """Stands before the names of fields in messages."""

    def __post_init__(self) -> None:
        """Check every field and bring it to its type."""
        types = get_type_hints(type(self))
        try:
            for one in fields(self):
                value = _converted(getattr(self, one.name), types[one.name], spec_of(one), (one.name,))
                object.__setattr__(self, one.name, value)
            self.check()
        except SettingError as error:
            raise (error.within(self.section) if self.section else error) from error.__cause__

    def check(self) -> None:
        """Refuses fields that do not go together; for derived classes."""

    @classmethod
    def keys(cls) -> dict[str, Field[Any]]:
        """The fields that are keys in YAML, by name."""
        return {one.name: one for one in fields(cls) if spec_of(one).key}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Settings from the plain values of a section of YAML.

        Raises:
            SettingError: A key is unknown or missing, or a value cannot be used.
        """
        cls.check_names(values, cls.keys())
        for name, one in cls.keys().items():
            if one.default is MISSING and one.default_factory is MISSING and name not in values:
                raise SettingError((name,), "is missing", "missing")
        return cls(**values)

    @classmethod
    def of(cls, settings: Self | None, changes: Mapping[str, Any], *groups: str) -> Self:
        """Ready settings, or the defaults, with some fields changed.

        Args:
            settings: The ready ones.
            changes: Values by the name of the field.
            *groups: Where given, only fields of these groups may change.

        Raises:
            SettingError: A name is unknown, or a value cannot be used.
        """
        cls.check_names(changes, [one.name for one in fields(cls) if not groups or spec_of(one).group in groups])
        return cls(**changes) if settings is None else replace(settings, **changes)

    @classmethod
    def check_names(cls, given: Collection[str], known: Collection[str]) -> None:
        """Refuses names that are not known.

        Raises:
            SettingError: For the first of them, with the nearest known name.
        """
        for name in given:
            if name not in known:
                names = [str(one) for one in known]
                remedy = hint(str(name), names, f"known are {', '.join(names)}")
                raise SettingError((str(name),), remedy, "unknown")

    def plain(self, *groups: str) -> dict[str, Any]:
        """The keys (of some groups only, where given) with values that JSON and YAML can hold."""
        named = {name: one for name, one in self.keys().items() if not groups or spec_of(one).group in groups}
        return {name: _plain(getattr(self, name)) for name in named}


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.plain()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _converted(value: Any, kind: Any, spec: Spec, path: tuple[str, ...]) -> Any:
    """A value as the type that a field declares.

    Raises:
        SettingError: It is none, or out of bounds.
    """
    origin, inner = get_origin(kind), get_args(kind)
    found = None
    if spec.parse is not None:
        found = _parsed(value, spec.parse, path)
    elif kind is Any or (value is None and NoneType in inner):
        return value
    elif origin in (Union, UnionType):
        found = _of_union(value, [one for one in inner if one is not NoneType], spec, path)
    elif isinstance(kind, type) and issubclass(kind, Settings):
        found = value if isinstance(value, kind) else _section(value, kind, path)
    elif origin is tuple and isinstance(value, list | tuple):
        found = tuple(_converted(one, inner[0], spec, path) for one in value)
    elif origin is dict and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        found = {name: _converted(one, inner[1], spec, (*path, name)) for name, one in value.items()}
    else:
        found = _scalar(value, kind, inner)
    if found is None or not _fits(found, spec):
        raise SettingError(path, f"expected {expected(kind, spec)}, got {value!r}")
    return found


def _parsed(value: Any, parse: Callable[[Any], Any], path: tuple[str, ...]) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise SettingError(path, str(error)) from error


def _of_union(value: Any, kinds: list[Any], spec: Spec, path: tuple[str, ...]) -> Any:
    # First the type that it has: "2" stays text where text may stand.
    kinds = sorted(kinds, key=lambda kind: type(value) is not kind)
    for kind in kinds[:-1]:
        try:
            return _converted(value, kind, spec, path)
        except SettingError:
            continue
    return _converted(value, kinds[-1], spec, path)


def _section(value: Any, kind: type[Settings], path: tuple[str, ...]) -> Settings:
    if not isinstance(value, Mapping):
        raise SettingError(path, f"expected a section with keys of {', '.join(kind.keys())}; got {value!r}")
    try:
        return kind.read(value)
    except SettingError as error:
        raise error.within(*path) from error.__cause__


def _scalar(value: Any, kind: Any, choices: tuple[Any, ...]) -> Any:
    """A single value as its type, None where it is of another one."""
    found: Any = None
    if get_origin(kind) is Literal:
        found = value if isinstance(value, str) and value in choices else None
    elif kind is bool:
        found = bool(value) if isinstance(value, int) and value in (0, 1) else None
    elif kind in (int, float) and not isinstance(value, bool):
        # Text, too, since YAML reads 1e-3 as a word.
        if isinstance(value, str | Integral) or (kind is float and isinstance(value, Real)):
            with suppress(ValueError, OverflowError):
                found = kind(value)
    elif kind is Path:
        found = Path(value) if isinstance(value, str | os.PathLike) else None
    elif kind is str:
        found = value if isinstance(value, str) else None
    return found


def _fits(value: Any, spec: Spec) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    low = (spec.ge is None or value >= spec.ge) and (spec.gt is None or value > spec.gt)
    high = (spec.le is None or value <= spec.le) and (spec.lt is None or value < spec.lt)
    return low and high and (abs(value) <= sys.maxsize if isinstance(value, int) else math.isfinite(value))


def expected(kind: Any, spec: Spec) -> str:
    """What a value must be, in words: `an integer of at least 1`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(inner)}"
    if origin in (tuple, dict):
        return "a list" if origin is tuple else "a mapping with text for keys"
    noun = spec.noun or NOUNS.get(kind, "a value")
    low = f"of at least {spec.ge:g}" if spec.ge is not None else f"above {spec.gt:g}" if spec.gt is not None else ""
    high = f"at most {spec.le:g}" if spec.le is not None else f"below {spec.lt:g}" if spec.lt is not None else ""
    bounds = " and ".join(part for part in (low, high) if part)
    return f"{noun} {bounds}" if bounds else noun if kind is not float else f"{noun} that is finite"
