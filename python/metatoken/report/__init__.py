"""A run as one page for people: what it learned from, how good it is, what it costs, what to do next."""

from metatoken.report.page import make_report, write_report

__all__ = ["make_report", "write_report"]
