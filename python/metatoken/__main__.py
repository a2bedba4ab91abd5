"""`python -m metatoken` is the `metatoken` command."""

from metatoken.cli.app import main

main()
