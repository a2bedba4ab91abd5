"""Twin of the seeded random streams."""

from __future__ import annotations

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Rng:
    """Twin of `rust/rng.rs`: the same numbers for the same (seed, stream, index)."""

    def __init__(self, seed: int, stream: int, index: int) -> None:
        a = _mix((seed + GOLDEN) & MASK)
        b = _mix(a ^ ((stream * GOLDEN + 1) & MASK))
        self.state = _mix(b ^ ((index * GOLDEN + 2) & MASK))

    def next_u64(self) -> int:
        self.state = (self.state + GOLDEN) & MASK
        return _mix(self.state)

    def below(self, bound: int) -> int:
        return (self.next_u64() * bound) >> 64

    def uniform(self) -> float:
        return (self.next_u64() >> 11) / (1 << 53)
