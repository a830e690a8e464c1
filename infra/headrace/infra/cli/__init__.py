"""The `headrace` command: one file a verb."""

from headrace.infra.cli.app import app, main

__all__ = ["app", "main"]
