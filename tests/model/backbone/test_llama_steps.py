"""Steps in one node have the values and gradients of the same steps written out."""

from __future__ import annotations

import pytest
import torch

from metatoken.model.backbone.llama_steps import Gate, RootMeanSquare, Rotary

LOWER = pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])


def drawn(*shape, dtype=torch.float32):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def compare(fast, slow, inputs, near):
    """Values, and gradients of a weighted sum, of two functions of the same inputs."""
    found, expected = fast(*inputs), slow(*(one.float() for one in inputs))
    torch.testing.assert_close(found.float(), expected, rtol=near, atol=near)
    weights = torch.randn(expected.shape)
    by_fast = torch.autograd.grad((found.float() * weights).sum(), inputs)
    by_slow = torch.autograd.grad((expected * weights).sum(), inputs)
    for one, other in zip(by_fast, by_slow, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), rtol=4 * near, atol=4 * near)


@LOWER
def test_root_mean_square(dtype, near):
    torch.manual_seed(0)
    x, gain = drawn(7, 12), drawn(12)
    with torch.no_grad():
        x[3] *= 1e-4  # where eps counts
    compare(
        lambda x, gain: RootMeanSquare.apply(x, gain, 1e-5, dtype),
        lambda x, gain: x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * gain,
        (x, gain), near if dtype == torch.bfloat16 else 1e-4,
    )  # fmt: skip
    assert RootMeanSquare.apply(x, gain, 1e-5, dtype).dtype == dtype


def test_a_frozen_gain_gets_no_gradient():
    x, gain = drawn(3, 4), torch.ones(4)
    RootMeanSquare.apply(x, gain, 1e-5, torch.float32).sum().backward()
    assert gain.grad is None
    assert x.grad is not None


@LOWER
def test_gate(dtype, near):
    torch.manual_seed(0)
    inputs = drawn(5, 9, dtype=dtype), drawn(5, 9, dtype=dtype)
    compare(Gate.apply, lambda a, b: torch.nn.functional.silu(a) * b, inputs, near)


@LOWER
def test_rotary(dtype, near):
    """As pairs of halves are turned one by one."""
    torch.manual_seed(0)
    width, angles = 6, torch.randn(4, 3)
    inputs = drawn(4, 3 * width, dtype=dtype), drawn(4, width, dtype=dtype), drawn(4, width, dtype=dtype)

    def turn(x, row, head):
        a, b = x[row, head * width :][:3], x[row, head * width + 3 :][:3]
        cos, sin = angles[row].cos(), angles[row].sin()
        return torch.cat([a * cos - b * sin, b * cos + a * sin])

    def slow(query, key, value):
        rows = [[turn(query, row, head) for head in range(3)] + [turn(key, row, 0), value[row]] for row in range(4)]
        return torch.stack([torch.cat(row) for row in rows])

    compare(lambda *parts: Rotary.apply(*parts, angles.cos(), angles.sin()), slow, inputs, near)
