"""Settings that are declared once: a field says its type, default, bounds and meaning, and checks its own value.

Arguments in Python, keys in YAML and options of the command line all become the same frozen dataclasses. This module
imports nothing heavy, so that the command line can show its help at once.
"""

from __future__ import annotations

import math
import os
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from metatoken.errors import ArgumentError, ConfigError, hint

SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxlong, SHORT.maxstring, SHORT.maxother = 4, 60, 200, 200
SHORT.maxlist = SHORT.maxtuple = SHORT.maxdict = 30
LONGEST = 1000  # characters of a value that a message shows

T = TypeVar("T")
S = TypeVar("S", bound="Settings")
Fault = Literal["unknown", "missing", "value"]
MOST = 1 << 20  # of an integer that sizes something
NOUNS = {int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "a path"}


class SettingError(ArgumentError, ConfigError):
    """A setting is unknown, missing, or has a value that cannot be used.

    Args:
        path: Names of the sections it stands in, then its own.
        said: What was expected and what came.
        kind: What is wrong with it.
    """

    def __init__(self, path: tuple[str, ...], said: str, kind: Fault = "value") -> None:
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
        ge: Least value; `gt`: largest value that is too small; `le`: largest value; `lt`: least that is too large.
        noun: What a number is called in messages; by default from the type.
        parse: Checks a value in place of the type; raises `ValueError` with what was expected and what came.
        group: Fields that belong together; a panel of the command line's help.
        option: Option of the command line, by default `--` and the name.
        form: How a mapping is written on the command line, such as `TYPE=FILE`.
        key: Whether it is a key in YAML.
        size: Whether an integer sizes something in memory or time: without an upper bound of its own it is at most
            `MOST`. False for those that only count what is there, and for seeds.
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
    size: bool = True

    def bounds(self) -> str:
        """The bounds in words: `of at least 0 and below 1`; the one that every size has is left out."""
        words = {"of at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt}
        return " and ".join(f"{word} {value:g}" for word, value in words.items() if value is not None)

    def fits(self, value: Any) -> bool:
        """Whether a number is finite, fits 64 bits and is within the bounds; other values fit."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        low = (self.ge is None or value >= self.ge) and (self.gt is None or value > self.gt)
        high = (self.le is None or value <= self.le) and (self.lt is None or value < self.lt)
        return low and high and (abs(value) <= self.most if isinstance(value, int) else math.isfinite(value))

    @property
    def most(self) -> int:
        """The largest integer, whatever the other bounds."""
        return MOST if self.size and self.le is None and self.lt is None else sys.maxsize


def setting(default: T, help: str = "", **spec: Any) -> T:  # noqa: A002 (as in argparse and typer)
    """A field of a `Settings` class; the arguments after its default are those of `Spec`."""
    metadata = {"spec": Spec(help, **spec)}
    if isinstance(default, dict):
        copied: Any = field(default_factory=default.copy, metadata=metadata)
        return cast("T", copied)
    return field(default=default, metadata=metadata)


def spec_of(one: Field[Any]) -> Spec:
    """What a field says about itself."""
    return cast("Spec", one.metadata.get("spec", Spec()))


@dataclass(frozen=True)
class Settings:
    """Base of all settings; derive a frozen dataclass and declare its fields with `setting`."""

    section: ClassVar[str] = ""  # stands before the names of fields in messages

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
        """Settings from the plain values of a section of YAML; `SettingError` for a key or value that is none."""
        known = cls.keys()
        _check_names(values, known)
        for name, one in known.items():
            if one.default is MISSING and one.default_factory is MISSING and name not in values:
                raise SettingError((name,), "is missing", "missing")
        return cls(**values)

    @classmethod
    def of(cls, settings: Self | None, changes: Mapping[str, Any], *groups: str) -> Self:
        """Ready settings, or the defaults, with some fields changed; with groups, only fields of these may change."""
        _check_names(changes, [one.name for one in fields(cls) if not groups or spec_of(one).group in groups])
        return cls(**changes) if settings is None else replace(settings, **changes)

    def plain(self, *groups: str) -> dict[str, Any]:
        """The keys (of some groups only, where given) with values that JSON and YAML can hold."""
        named = [name for name, one in self.keys().items() if not groups or spec_of(one).group in groups]
        return {name: _plain(getattr(self, name)) for name in named}


def shown(value: Any) -> str:
    """A value as a message shows it: cut where it is long, whatever it refers to."""
    text = SHORT.repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with the home in the place of `~`; one of nobody is a name like any other."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib's raises RuntimeError for nobody's)


def expect(argument: str, value: object, kind: type) -> None:
    """Refuses an object of another class: `TypeError`, which names the argument."""
    if not isinstance(value, kind):
        raise TypeError(f"{argument}: expected {kind.__name__}, got {shown(value)}")


def expect_list(argument: str, values: T, of: str) -> T:
    """Refuses what is no collection, or a single text, whose characters would be its values: `ArgumentError`."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ArgumentError(argument, f"expected a list of {of}, got {shown(values)}")
    return values


def expect_texts(argument: str, values: Mapping[Any, object]) -> None:
    """Refuses what is no mapping, `TypeError`, or one with keys that are no text, `ArgumentError`."""
    expect(argument, values, Mapping)
    for name in values:
        if not isinstance(name, str):
            raise ArgumentError(argument, f"expected texts by name, got the name {shown(name)}")


def filled(settings: S, other: Any, *names: str) -> S:
    """Settings with those of some fields that are None as another object has them."""
    return replace(settings, **{name: getattr(other, name) for name in names if getattr(settings, name) is None})


def _check_names(given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            remedy = hint(str(name), [*known], f"known are {', '.join(known)}")
            raise SettingError((str(name),), remedy, "unknown")


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.plain()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _converted(value: Any, kind: Any, spec: Spec, path: tuple[str, ...]) -> Any:
    """A value as the type that a field declares; `SettingError` if it is none, or out of bounds."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any and isinstance(value, float):
        kind = float  # which is finite
    elif kind is Any or (value is None and NoneType in inner):
        return value
    if spec.parse is not None:
        try:
            return spec.parse(value)
        except ValueError as error:
            raise SettingError(path, str(error)) from error
    if origin in (Union, UnionType):
        return _of_union(value, [one for one in inner if one is not NoneType], spec, path)
    if isinstance(kind, type) and issubclass(kind, Settings):
        return _section(value, kind, path)
    if origin is tuple and isinstance(value, list | tuple):
        found: Any = tuple(_converted(one, inner[0], spec, path) for one in value)
    elif origin is dict and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        found = {name: _converted(one, inner[1], spec, (*path, name)) for name, one in value.items()}
    else:
        found = _scalar(value, kind)
    if found is None or found == () or not spec.fits(found):
        more = f" and at most {spec.most}" if isinstance(found, int) and found > spec.most else ""
        raise SettingError(path, f"expected {_expected(kind, spec)}{more}, got {shown(value)}")
    return found


def _of_union(value: Any, kinds: list[Any], spec: Spec, path: tuple[str, ...]) -> Any:
    # First the type that the value has: "2" stays text where text may stand.
    kinds.sort(key=lambda kind: type(value) is not kind)
    for kind in kinds[:-1]:
        with suppress(SettingError):
            return _converted(value, kind, spec, path)
    return _converted(value, kinds[-1], spec, path)


def _section(value: Any, kind: type[Settings], path: tuple[str, ...]) -> Settings:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise SettingError(path, f"expected a section with keys of {', '.join(kind.keys())}; got {shown(value)}")
    try:
        return kind.read(value)
    except SettingError as error:
        raise error.within(*path) from error.__cause__


def _scalar(value: Any, kind: Any) -> Any:
    """A single value as its type, None where it is of another one."""
    if get_origin(kind) is Literal:
        return value if isinstance(value, str) and value in get_args(kind) else None
    if kind is bool:
        return bool(value) if isinstance(value, int) and value in (0, 1) else None
    if kind in (int, float):
        # Text, too, since YAML reads 1e-3 as a word.
        known = isinstance(value, str | Integral) or (kind is float and isinstance(value, Real))
        with suppress(ValueError, OverflowError):
            return kind(value) if known and not isinstance(value, bool) else None
    if kind is Path and isinstance(value, os.PathLike | str):
        return Path(value)
    return value if kind is str and isinstance(value, str) else None


def _expected(kind: Any, spec: Spec) -> str:
    """What a value must be, in words: `an integer of at least 1`."""
    origin = get_origin(kind)
    if origin is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if origin in (tuple, dict):
        return "a list of at least one" if origin is tuple else "a mapping with text for keys"
    bounds = spec.bounds() or ("that is finite" if kind is float else "")
    return f"{spec.noun or NOUNS.get(kind, 'a value')} {bounds}".rstrip()
