"""What `metatoken inspect` says of a vocabulary that was extended: whether its tokens still fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metatoken.cli.output import print_facts

if TYPE_CHECKING:
    from metatoken.tokens.quality.health import Fill, Health
    from metatoken.tokens.vocabulary import Vocabulary


def healths(vocabulary: Vocabulary) -> dict[str, Health]:
    """The health of items and users; nothing for a vocabulary that was never extended."""
    from metatoken.tokens.quality.health import health

    found = {f"{kind}s": health(vocabulary, kind) for kind in ("item", "user")}
    return {kind: one for kind, one in found.items() if one is not None}


def print_health(found: dict[str, Health]) -> None:
    """Prints what became of each kind of ids, and whether a rebuild is due."""
    for kind, one in found.items():
        print(f"\n{kind} since the tokens were learned")
        print_facts(_facts(one))
    for kind, one in found.items():
        for reason in one.due:
            print(f"a rebuild is due ({kind}): {reason}")
    if found and not any(one.due for one in found.values()):
        print("no rebuild is due")


def _facts(one: Health) -> list[tuple[str, Any]]:
    names = ["fitted", *(f"extension {place}" for place in range(1, len(one.generations)))]
    facts: list[tuple[str, Any]] = []
    for name, part in zip(names, one.generations, strict=True):
        said = f"{part.ids:,} ids"
        if part.error is not None:
            said += f", error {part.error:.3f} ({part.error_held:.3f} as coded), {part.off_nearest:.1%} off the nearest"
        if part.measured < part.ids:
            said += f"; nothing is known of {part.ids - part.measured:,}"
        facts.append((name, said))
    facts += [("room when fitted", _fill(one.fill_at_first)), ("room in the parent", _fill(one.fill_before))]
    facts.append(("room now", _fill(one.fill)))
    if one.appended:
        facts.append(("tokens appended", one.appended))
    if one.room is not None:
        facts.append(("extensions like the last that find room", one.room))
    return facts


def _fill(fill: Fill) -> str:
    full = f"{fill.full:,} of {fill.prefixes:,} prefixes full, the fullest to {fill.fullest:.0%}"
    return f"{fill.free:,} codes free; {full}"
