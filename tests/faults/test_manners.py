"""What a person sees and gets beside results: signals, control characters, errors of disks and memory."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from metatoken.cli.errors import clean_errors
from metatoken.cli.interrupts import TerminatedError, interruptible
from metatoken.cli.output import printable
from metatoken.errors import CoreError


def test_control_characters_are_spelled() -> None:
    assert printable("a\x1b[2Jb\rc\x9b\x7f") == "a\\x1b[2Jb\\x0dc\\x9b\\x7f"
    assert printable("Café 日本 \u200d👩‍🚀") == "Café 日本 \u200d👩‍🚀"


class PanicException(BaseException):
    """As a panic of native code reaches Python."""


FAULTS = {
    "a full disk under stdout": (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
    "no memory": (MemoryError(), "not enough memory"),
    "no memory for torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
    "a panic": (PanicException("index out of bounds"), "please report"),
    "a panic that the core reports": (CoreError("index out of bounds"), "please report"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    error, said = FAULTS[name]
    with pytest.raises(SystemExit) as stopped, clean_errors():
        raise error
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    for error in (RuntimeError("x"), OSError("without a number"), KeyError("x")):
        with pytest.raises(type(error)), clean_errors():
            raise error


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_codes_of_signals(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped, interruptible(), clean_errors():
        signal.raise_signal(number)
    assert stopped.value.code == code
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_codes_of_signals_within_a_command(number: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from metatoken.cli.app import main

    monkeypatch.setattr("builtins.print", lambda *_, **__: signal.raise_signal(number))
    with pytest.raises(SystemExit) as stopped:
        main(["config"])
    assert stopped.value.code == code


def test_a_signal_within_an_import_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_native.py").write_text(
        "import signal\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "except BaseException:\n"  # as native code swallows it
        "    swallowed = True\n"
        "else:\n"
        "    swallowed = False\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def work() -> bool:
        import slow_native  # type: ignore[import-not-found]

        found: bool = slow_native.swallowed
        assert not found
        signal.pause()
        return found

    with pytest.raises(TerminatedError), interruptible():
        work()


def test_what_the_shell_ignores_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
