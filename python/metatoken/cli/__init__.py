"""The command line, one module per command.

Modules here import nothing heavy at their top: torch, polars and the rest of metatoken are imported inside the command
functions, so that `metatoken --help` answers at once.
"""
