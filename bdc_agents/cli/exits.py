"""How a command ends: its exit code, and one clear message instead of a traceback."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ParamSpec

import typer

from bdc_agents.errors import BDCError, NotInstalled, UsageError
from bdc_agents.extras import missing

if TYPE_CHECKING:
    from rich.console import Console

    from bdc_agents.runs.collect.left_out import LeftOut

SOLVED, UNSOLVED, USAGE, ENVIRONMENT = 0, 1, 2, 3
FAULT = 70
"""A fault of this program itself, as sysexits.h has it."""
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = """\b
Exit codes:
  0    solved, or done
  1    not solved, or not all done
  2    input or settings that cannot be used
  3    this machine cannot run it: no sandbox, no agent that answers, a package
       that is not installed, no network, a full disk
  130  interrupted (or 143); what was computed is kept"""

P = ParamSpec("P")


def own_rows(left_out: "Iterable[LeftOut]") -> int:
    """How many rows of the caller's own files cannot be used: they were asked for, so not all is done."""
    return sum(row.own for row in left_out)


def tell_own(left_out: "Iterable[LeftOut]") -> int:
    """The exit code of a command that is done with all other problems; says why it is not 0."""
    own = own_rows(left_out)
    if own:
        rows = "1 row" if own == 1 else f"{own} rows"
        note(f"{rows} of your own cannot be used, as said at the beginning: mend or remove them")
    return UNSOLVED if own else SOLVED


def guarded(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turns what a command returns or raises into an exit code and a message on stderr.

    A command whose `as_json` is true has its errors as JSON too. `BDC_DEBUG=1` lets exceptions
    through.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered has no reader; without this Python complains at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = BROKEN_PIPE
        except SystemExit as error:  # So Rich ends a program whose reader has gone.
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            code = BROKEN_PIPE
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except (Exception, KeyboardInterrupt) as error:
            code = fail(error, as_json=bool(kwargs.get("as_json")))
        raise typer.Exit(code or 0)

    return run


def fail(error: Exception | KeyboardInterrupt, *, as_json: bool) -> int:
    """Says on stderr what ended a command, and returns the exit code; `BDC_DEBUG=1` raises it again."""
    if isinstance(error, KeyboardInterrupt):
        return _complain("interrupted", INTERRUPTED, as_json)
    if debugging():
        raise error
    if isinstance(error, ModuleNotFoundError):
        error = missing(error) or error
    return _complain(_message(error), exit_code(error), as_json)


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get("BDC_DEBUG", "") not in {"", "0"}


def exit_code(error: Exception) -> int:
    """The exit code for an exception, the one rule of all commands.

    The caller's mistake is 2, what this machine lacks or what fails on it is 3, a fault of ours is 70.
    """
    if isinstance(error, UsageError) and not isinstance(error, NotInstalled):
        return USAGE
    return ENVIRONMENT if isinstance(error, BDCError | OSError) else FAULT


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and (file := error.filename2 or error.filename):
        return f"{str(file)!r:.300}: {error.strerror}"  # A name may come from a file, and be of any length.
    if isinstance(error, BDCError | OSError):
        return str(error)
    return f"a fault of bdc itself: {type(error).__name__}: {error} (BDC_DEBUG=1 shows where)"


def _complain(message: str, code: int, as_json: bool) -> int:
    from bdc_agents.view.text import printable

    if as_json:
        text = json.dumps({"error": message, "exit_code": code})
    else:
        text = printable(message if code == INTERRUPTED else f"error: {message}")
    print(text, file=sys.stderr)
    return code


def results() -> "Console":
    """The console for what a command found, on stdout; what is no terminal gets lines that are not cut."""
    from rich.console import Console  # Here: `--help` and mistakes need no tables.

    from bdc_agents.view.text import UNCUT

    console = Console()
    # COLUMNS is somebody's wish, which rich heeds.
    return console if console.is_terminal or os.environ.get("COLUMNS") else Console(width=UNCUT)


def note(message: str) -> None:
    """Tells the person at the terminal something; stdout stays clean."""
    from bdc_agents.view.text import printable

    print(printable(message), file=sys.stderr)
