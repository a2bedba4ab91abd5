"""Every key of a configuration with its default and what it means, as YAML that can be trained with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

from metatoken.config import Settings, spec_of
from metatoken.data.settings import LogSettings
from metatoken.run.config import Config

WIDTH = 110  # of comments
EXAMPLE = Path("log.csv")


def template() -> str:
    """All keys with their defaults, those of optional sections as comments; the log is `log.csv`."""
    config = Config(data=LogSettings(path=EXAMPLE))
    head = (
        "# Every key of a configuration with its default. Keep what you change; `metatoken train config.yaml` runs it."
    )
    return "\n".join([head, *_section(config, "")]) + "\n"


def _section(settings: Settings, indent: str) -> Iterator[str]:
    plain = settings.plain()
    for name, one in settings.keys().items():
        value, spec = getattr(settings, name), spec_of(one)
        text = " ".join(part for part in (spec.help, f"(A number {spec.bounds()}.)" if spec.bounds() else "") if part)
        if text:
            yield from textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, Settings):
            yield f"{indent}{name}:"
            yield from _section(value, f"{indent}  ")
        else:
            flow = isinstance(plain[name], list | dict)
            written = yaml.safe_dump(plain[name] if flow else {name: plain[name]}, default_flow_style=flow, width=1000)
            yield f"{indent}{name}: {written.strip()}" if flow else f"{indent}{written.strip()}"
