"""The command line `bdc`: every command a call of the library, with exit codes that scripts can rely on.

A command is one module: its options, its examples and what it does. `app` has the table of them; `exits`,
`options` and `inputs` are what all share. A module imports at its top whatever a core install has; what
an extra brings is imported where it is used, so that every command has its help and names what is missing.
"""

from bdc_agents.cli.app import app, main

__all__ = ["app", "main"]
