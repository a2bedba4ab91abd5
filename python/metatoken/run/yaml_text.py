"""YAML as people write it: one value for a key, and no more of it than stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from metatoken.artifacts.formats import told
from metatoken.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 200  # characters of a text in a message
MOST = 100_000  # values, those that are referred to counted again


def parse_yaml(text: str, place: str | Path) -> Any:
    """The value of a text.

    Args:
        text: YAML.
        place: Where it stands, for messages.

    Raises:
        ConfigError: It is none, a key stands twice in one section, or references make it larger than any configuration.
    """
    try:
        return _checked(yaml.SafeLoader(text), place)
    except yaml.YAMLError as error:
        mark, option = getattr(error, "problem_mark", None), str(place).startswith("--set")
        if option:
            raise ConfigError(f"{place}: {shortened(text)!r} is not a YAML value") from error
        where = str(place) if mark is None else f"{place}:{mark.line + 1}"
        raise ConfigError(f"{where}: broken YAML, {getattr(error, 'problem', None) or told(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{place}: is nested too deep") from error
    except ValueError as error:  # a number of thousands of digits, a date that is none
        raise ConfigError(f"{place}: holds a value that cannot be read ({told(error)})") from error


def shortened(text: str) -> str:
    """A text as a message shows it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _checked(loader: yaml.SafeLoader, place: str | Path) -> Any:
    """The value of the one document; its nodes are checked before anything is made of them."""
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, place)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check(root: yaml.Node, place: str | Path) -> None:
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        """Values in a node; one that it refers to twice counts twice."""
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = MOST + 1  # a node that refers to itself never ends
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node, place)
            parts = [part for pair in node.value for part in pair]
        sizes[id(node)] = found = 1 + sum(map(size, parts))
        return found

    if size(root) > MOST:
        raise ConfigError(f"{place}: holds more than {MOST:,} values, or refers to itself")


def _check_keys(node: yaml.MappingNode, place: str | Path) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen and name != "<<":
            where = str(place) if str(place).startswith("--set") else f"{place}:{line}"
            raise ConfigError(f"{where}: the key {name!r} stands in line {seen[name]} already; keep one of them")
        seen[name] = line
