"""Recommendations over HTTP: JSON endpoints, batching of concurrent requests, metrics, and a page to try it.

Needs the extra `serve` (FastAPI and uvicorn); nothing else in the package imports this folder but its command.
"""
