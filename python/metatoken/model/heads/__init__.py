"""Heads: what is read off the states of a backbone."""
