"""The command line `bdc`: every command a call of the library, with exit codes that scripts can rely on."""

from bdc_agents.cli.app import app, main

__all__ = ["app", "main"]
