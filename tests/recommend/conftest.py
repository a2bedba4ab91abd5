"""The command line, as the tests of it run it."""

from tests.cli.conftest import refuse, run  # noqa: F401
