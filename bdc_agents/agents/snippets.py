"""Where programs may stand in a reply, and how much of each piece parses."""

import ast
import builtins
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from bdc_agents.syntax import PARSE_ERRORS, parse, syntax_tree

_FENCE = re.compile(r"(?<![`~])(?P<mark>`{3,}+|~{3,}+)[ \t]*+(?P<info>[\w+#.-]*(?:[ \t]+[^\n`~]*)?)$")
_INLINE = re.compile(
    r"(?<![`~])(`{3,}+|~{3,}+)(?:[ \t]*+(python3?|py)\b)?+[ \t]++"
    r"(?=(?:def|class|import|from|print|for|while|if)\b)"
)
_FENCE_END = re.compile(r"(?<![`~])(?:`{3,}+|~{3,}+)\s*+$")
_PYTHON = {"python", "py", "python3", "py3", "pycon", "sage", "ipython"}
_CODE_START = re.compile(
    r"from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w|class\s+\w|@\w|>>> "
    r"|(?:if|for|while|with)\s.+:|try\s*:|[A-Za-z_][\w.]*\(.*\)\s*$"
    r"|[A-Za-z_][\w.\[\], ]*(?:[-+*/|&^%@]|//|\*\*|<<|>>)?=[^=]"
)
# Bounds on the work that a hostile reply can cause.
_BLOCKS = 50
_CLOSINGS_TRIED = 4
_SALVAGE_STEPS = 60
_STARTS_TRIED = 30


@dataclass(frozen=True)
class Block:
    """A piece of a reply that may be a program.

    Args:
        code: Its text.
        tree: What it parses to; None if it does not.
        whole: Whether it parsed without being cut.
        python: Whether its fence names Python or no language.
    """

    code: str
    tree: ast.Module | None
    whole: bool
    python: bool = True

    def defines(self, name: str | None) -> bool:
        """Whether its top level binds this name."""
        return self.tree is not None and name is not None and name in bound_names(self.tree)

    def is_program(self) -> bool:
        """Whether it parses and is more than words and literals."""
        return self.tree is not None and any(_does_something(statement) for statement in self.tree.body)


# --- finding --------------------------------------------------------------------------------


def fenced(text: str) -> list[Block]:
    """The fenced blocks of a reply, each up to the first closing fence with which it parses."""
    lines = _INLINE.sub(r"\1\2\n", text).split("\n")
    blocks: list[Block] = []
    at = 0
    while at < len(lines) and len(blocks) < _BLOCKS:
        opening = _FENCE.search(lines[at])
        at += 1
        if not opening:
            continue
        ends = list(islice(_closings(lines, at, opening["mark"]), _CLOSINGS_TRIED))
        block, end = _first_that_parses(lines, at, ends, _is_python(opening["info"]))
        blocks.append(block)
        at = end + 1
    return blocks


def closed_part(text: str) -> str:
    """The text without the fence that is open at its end, if there is one."""
    lines = _INLINE.sub(r"\1\2\n", text).split("\n")
    at = 0
    while at < len(lines):
        opening = _FENCE.search(lines[at])
        if opening is None:
            at += 1
            continue
        end = next(_closings(lines, at + 1, opening["mark"]))
        if end == len(lines):
            return "\n".join(lines[:at])
        at = end + 1
    return "\n".join(lines)


def _is_python(info: str) -> bool:
    words = info.split()
    return not words or words[0].lower() in _PYTHON


def _closings(lines: list[str], start: int, mark: str) -> Iterator[int]:
    """Lines on which a fence with this mark may close, the text's end last."""
    closing = re.compile(f"(?<!{mark[0]}){mark[0]}{{{len(mark)},}}+\\s*+$")
    yield from (n for n in range(start, len(lines)) if closing.search(lines[n]))
    yield len(lines)


def _first_that_parses(lines: list[str], start: int, ends: list[int], python: bool) -> tuple[Block, int]:
    """Tries further closing fences, as one may stand in a string; else cuts at the first."""
    bodies = [(_body(lines, start, end), end) for end in ends]
    for body, end in bodies:
        if tree := parse(body):
            return Block(body, tree, whole=True, python=python), end
    body, end = bodies[0]
    code, tree = salvage(body)
    return Block(code if tree else body, tree, whole=False, python=python), end


def _body(lines: list[str], start: int, end: int) -> str:
    taken = lines[start:end]
    if end < len(lines):
        rest = _FENCE_END.sub("", lines[end])
        taken = [*taken, rest] if rest.strip() else taken
    return _without_prompts(textwrap.dedent("\n".join(taken)).strip("\n"))


def _without_prompts(code: str) -> str:
    """The input lines of an interactive session; other code as it is."""
    lines = code.split("\n")
    if not lines[0].startswith(">>>"):
        return code
    return "\n".join(line[4:] for line in lines if line.startswith((">>>", "...")))


def bare(text: str) -> list[Block]:
    """Runs of lines that read as code whatever stands around them, without the prose."""
    lines = [line for line in text.split("\n") if not _FENCE.fullmatch(line.strip())]
    blocks: list[Block] = []
    covered = tried = 0
    for at, line in enumerate(lines):
        if at < covered or not _CODE_START.match(line.lstrip()):
            continue
        if (tried := tried + 1) > _STARTS_TRIED:
            break
        code, tree = salvage(_without_prompts(_outdented(lines[at:])))
        if tree is not None:
            covered = at + code.count("\n") + 1
            code, tree = _without_trailing_words(code, tree)
            blocks.append(Block(code, tree, whole=True))
    return blocks


def _outdented(lines: list[str]) -> str:
    """The lines without the first one's indentation; prose that has none stays as it is."""
    depth = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[depth:] if not line[:depth].strip() else line for line in lines)


def _without_trailing_words(code: str, tree: ast.Module) -> tuple[str, ast.Module]:
    """Drops words after a program that only happen to parse, such as `Done` or `Note: fast`."""
    kept = list(tree.body)
    while kept and not _does_something(kept[-1]):
        kept.pop()
    if len(kept) == len(tree.body) or not kept:
        return code, tree
    shorter = "\n".join(code.split("\n")[: kept[-1].end_lineno])
    parsed = parse(shorter)
    return (shorter, parsed) if parsed else (code, tree)


# --- parsing --------------------------------------------------------------------------------


def salvage(code: str) -> tuple[str, ast.Module | None]:
    """A beginning that parses, found by cutting before each error in turn; else the code, None."""
    lines = code.split("\n")
    for _ in range(_SALVAGE_STEPS):
        body = "\n".join(lines).rstrip()
        try:
            tree = syntax_tree(body)
            return (body, tree) if tree.body else (code, None)
        except SyntaxError as error:
            last = body.count("\n") + 1
            lines = lines[: min(max((error.lineno or last) - 1, 0), last - 1)]
        except PARSE_ERRORS:
            break
    return code, None


def _does_something(statement: ast.stmt) -> bool:
    """Whether a statement could stand in a program, and is not a word or literal of an answer."""
    if isinstance(statement, ast.Expr):
        return any(isinstance(node, ast.Call | ast.Await | ast.NamedExpr) for node in ast.walk(statement))
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None
    return not isinstance(statement, ast.Return | ast.Pass | ast.Break | ast.Continue)


# --- names ----------------------------------------------------------------------------------


def bound_names(tree: ast.Module) -> set[str]:
    """Names that running the module defines at its top level."""
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names.update(_imported(statement.names))
        else:
            names.update(_stored(ast.walk(statement)))
    return names


def free_names(tree: ast.Module) -> set[str]:
    """Names the module reads and binds nowhere: an estimate that knows no scopes."""
    nodes = list(ast.walk(tree))
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound = bound_names(tree) | _stored(nodes) | {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    bound |= _imported(n for n in nodes if isinstance(n, ast.alias))
    bound |= {n.name for n in nodes if isinstance(n, ast.ExceptHandler) and n.name}
    return read - bound - set(dir(builtins))


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _imported(aliases: Iterable[ast.alias]) -> set[str]:
    return {(alias.asname or alias.name).split(".")[0] for alias in aliases}
