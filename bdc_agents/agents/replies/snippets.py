"""Where programs may stand in a reply, and how much of each piece parses."""

import ast
import re
import textwrap
from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from bdc_agents.agents.replies.mends import mended
from bdc_agents.syntax import PARSE_ERRORS, syntax_tree

_MARK = r"`{3,}+|~{3,}+"
# At the start of a line anything may follow the mark; behind words only a language.
_FENCE = re.compile(
    rf"^[^\w`~]*(?:\d{{1,3}}[.)][ \t]*)?(?P<mark>{_MARK}|'''(?=py))[ \t]*+(?P<info>[^\n`~]*)$"
    rf"|(?<![`~])(?P<glued>{_MARK})[ \t]*+(?P<language>[\w+#.-]*)[ \t]*$",
    re.IGNORECASE,
)
_INLINE = re.compile(
    r"(?<![`~])(`{3,}+|~{3,}+)(?:[ \t]*+(python3?|py)\b)?+[ \t]++"
    r"(?=(?:def|class|import|from|print|for|while|if)\b)"
)
_FENCE_END = re.compile(r"(?<![`~'])(?:`{3,}+|~{3,}+|''')[.,;:)]?\s*+$")
_CLOSING = re.compile(r"(?<![`~'])(?:`{3,}+|~{3,}+|''')(?=[.,;:)]?\s*+$)")
_PYTHON = re.compile(r"\W*(?:(?:i?python|py|pycon|sage)(?![a-z])|$)", re.IGNORECASE)
# Of these a line may parse as Python without being any: `console.log(1)`, `puts(x)`, `a = 1`.
_FOREIGN = re.compile(
    r"\W*(?:bash|sh|shell|zsh|console|powershell|cmd|batch|json\w*|ya?ml|toml|xml|html|css|sql|c|cpp|c\+\+"
    r"|cc|cs|c#|csharp|java|javascript|js|jsx|ts|tsx|typescript|go|golang|rust|rs|ruby|rb|php|swift|kotlin"
    r"|kt|scala|perl|lua|r|julia|jl|matlab|octave|haskell|hs|ocaml|dart|elixir|erlang|clojure|lisp|scheme"
    r"|fortran|pascal|asm|vb|bat|makefile|dockerfile|output|stdout|stdin|input)(?![\w+#])",
    re.IGNORECASE,
)
_TYPED = {"python", "python3", "py", "copy code", "copy", "copy edit", "pythoncopy code", "pythoncopyedit"}
_CODE_START = re.compile(
    r"from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w|class\s+\w|@\w|>>> |In \[\d"
    r"|(?:if|for|while|with)\s.+:|try\s*:|[A-Za-z_][\w.]*\(.*\)\s*$"
    r"|[A-Za-z_][\w.\[\], ]*(?:[-+*/|&^%@]|//|\*\*|<<|>>)?=[^=]"
)
_ENCLOSURES = re.compile(
    r"(?P<tag><(?:pre|code|python|answer|solution|execute|file)(?:\s[^<>\n]{0,200})?>)(?:\s*<code[^<>\n]{0,200}>"
    r"|<!\[CDATA\[)?|(?P<box>\\boxed\{)|\[PYTHON\]|(?P<tick>`)(?=(?:async )?def |\w+ ?= ?lambda)"
    r"|\\begin\{(?:lstlisting|verbatim|minted|python|code)\}(?:[\[{][^\]}\n]{0,100}[\]}])*|BEGIN SOLUTION\n"
    r"|(?<![^\n])[ \t$]*cat\b[^\n<]{0,200}<<-?[ \t]*['\"]?(?P<here>\w{1,40})['\"]?[^\n]{0,200}\n",
    re.IGNORECASE,
)
_ENCLOSURE_END = re.compile(
    r"(?:\]\]>\s{0,20})?</(?:code|pre|python|answer|solution|execute|file)>|\[/PYTHON\]|END SOLUTION"
    r"|\\end\{(?:lstlisting|verbatim|minted|python|code)\}",
    re.IGNORECASE,
)
# Bounds on the work that a hostile reply can cause: on what is tried, and on what is parsed for all
# tries together, as a multiple of the reply's length.
_CLOSINGS_SEEN = 100
_CLOSINGS_TRIED = 4
_SALVAGE_STEPS = 60
_STARTS_TRIED = 30
_PASSES = 10
_LEAST, _MOST = 100_000, 300_000
"""Characters that may be parsed for any reply: what takes no time to speak of, and about a second."""
_PIECE = 100
"""Characters that take as long to parse as beginning to parse does: a reply may hold very many pieces."""
LONGEST_PROGRAM = 70_000
"""Characters; contests take no more than 65,536 bytes of source."""


class Parser:
    """Parses pieces of one reply, in time that is in proportion to its length, up to about a second.

    Args:
        text: The reply.
    """

    def __init__(self, text: str) -> None:
        # Characters that may still be parsed. What else is done to a piece takes less than that.
        self.left = min(_PASSES * len(text) + _LEAST, _MOST)

    def __call__(self, code: str) -> tuple[ast.Module | None, int]:
        """The syntax tree, or the line of the first error: 0 where none is told or no time is left."""
        self.left -= max(len(code), _PIECE)
        if len(code) > LONGEST_PROGRAM or self.left < 0:
            return None, 0
        try:
            tree = syntax_tree(code)
        except SyntaxError as error:
            return None, error.lineno or code.count("\n") + 1
        except PARSE_ERRORS:
            return None, 0
        return (tree if tree.body else None), 0


@dataclass(frozen=True)
class Block:
    """A piece of a reply that may be a program.

    Args:
        code: Its text.
        tree: What it parses to; None if it does not.
        whole: Whether it parsed without being cut.
        closed: Whether the reply goes on after it.
        python: Whether its fence names Python or no language.
        foreign: Whether its fence names a language that is not Python.
        raw: All that its fence holds, as it is indented; empty without one.
    """

    code: str
    tree: ast.Module | None
    whole: bool = True
    closed: bool = True
    python: bool = True
    foreign: bool = False
    raw: str = ""

    def is_program(self) -> bool:
        """Whether it parses and is more than words and literals."""
        return self.tree is not None and not self.foreign and any(map(_does_something, self.tree.body))


# --- finding --------------------------------------------------------------------------------


def fenced(text: str, parse: Parser) -> list[Block]:
    """The fenced blocks of a reply, each up to the first closing fence with which it parses."""
    lines = _INLINE.sub(r"\1\2\n", text).split("\n")
    closings = [(n, found[0]) for n, line in enumerate(lines) if (found := _CLOSING.search(line))]
    blocks: list[Block] = []
    at = 0
    while at < len(lines) and parse.left > 0:
        opening = _FENCE.search(lines[at])
        at += 1
        if opening:
            first = bisect(closings, (at, ""))
            block, at = _fenced_block(lines, at, opening, closings[first : first + _CLOSINGS_SEEN], parse)
            blocks += [block] if block else []
    return blocks


def _fenced_block(
    lines: list[str],
    start: int,
    opening: re.Match[str],
    closings: Iterable[tuple[int, str]],
    parse: Parser,
) -> tuple[Block | None, int]:
    """The block that begins at a line, and the line to go on at.

    A closing fence may stand in a string of the program, so further ones are tried; and where a fence
    with a language comes first, as in a Markdown document that holds one, or after a block that was
    never closed, that is where the block ends.
    """
    mark = opening["mark"] or opening["glued"]
    info = opening["info"] or opening["language"] or ""
    kind = {"python": _PYTHON.match(info) is not None, "foreign": _FOREIGN.match(info) is not None}
    fitting = (n for n, fence in closings if fence.startswith(mark))
    ends = [*islice(fitting, _CLOSINGS_TRIED), len(lines)]
    nested = next((n for n in range(start, ends[0]) if _opens(lines[n])), None)
    for end in () if kind["foreign"] else ends:
        code = _body(lines, start, end)
        if tree := parse(code)[0]:
            raw = "\n".join(lines[start:end])
            return Block(code, tree, closed=end < len(lines), raw=raw, **kind), end + 1
    if nested is not None:
        block = _read(_body(lines, start, nested), parse)
        return (replace(block, **kind) if block.whole else None), nested
    block = _read(_body(lines, start, ends[0]), parse)
    raw = "\n".join(lines[start : ends[0]])
    return replace(block, closed=ends[0] < len(lines), raw=raw, **kind), ends[0] + 1


def _opens(line: str) -> bool:
    """Whether a line opens a fence and cannot close one."""
    opening = _FENCE.search(line)
    return opening is not None and bool((opening["info"] or opening["language"] or "").strip())


def _body(lines: list[str], start: int, end: int) -> str:
    taken = lines[start:end]
    if end < len(lines):
        rest = _FENCE_END.sub("", lines[end])
        taken = [*taken, rest] if rest.strip() else taken
    while taken and taken[0].strip().lower() in _TYPED:
        taken = taken[1:]
    return textwrap.dedent("\n".join(taken)).strip("\n")


def enclosed(text: str, parse: Parser) -> list[Block]:
    """Blocks that other marks than fences stand around: those of HTML, LaTeX, shells and some models."""
    blocks: list[Block] = []
    at = 0
    while parse.left > 0 and (opening := _ENCLOSURES.search(text, at)):
        if opening["tick"]:
            end = text.find("`", opening.end())
        elif opening["here"]:  # A file that a shell is told to write, up to the word that ends it.
            closing = re.compile(rf"^[ \t]*{opening['here']}[ \t]*$", re.MULTILINE).search(
                text, opening.end()
            )
            end = closing.start() if closing else -1
        elif opening["box"]:
            end = text.rfind("}", opening.end())
        else:
            closing = _ENCLOSURE_END.search(text, opening.end())
            end = closing.start() if closing else -1
        end = len(text) if end < 0 else end
        blocks.append(_read(_body(text[opening.end() : end].split("\n"), 0, end), parse))
        at = end
    return blocks


def wrapped(value: Any, parse: Parser) -> list[Block]:
    """The texts of a JSON value that hold programs, fenced or not."""
    blocks: list[Block] = []
    for text in _texts(value):
        if parse.left < 0:
            break
        inner = fenced(text, parse)
        blocks += inner or [_read(_body(text.split("\n"), 0, len(text)), parse)]
    return [block for block in blocks if block.whole]


def _texts(value: Any) -> Iterator[str]:
    """The texts in a JSON value, in order; it may be nested deeper than calls can be."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            # A cell of a notebook, whose source may be a list of its lines; one of words is no program.
            source = item.get("source") if "cell_type" in item else None
            if isinstance(source, list):
                source = "".join(line for line in source if isinstance(line, str))
            if "cell_type" not in item:
                waiting += reversed(item.values())
            elif item["cell_type"] == "code" and isinstance(source, str):
                yield source
        elif isinstance(item, list):
            waiting += reversed(item)


def bare(text: str, parse: Parser) -> list[Block]:
    """Runs of lines that read as code whatever stands around them, without the prose."""
    lines = list(_unfenced(text))
    blocks: list[Block] = []
    covered = tried = 0
    for at, line in enumerate(lines):
        if at < covered or not _CODE_START.match(line.lstrip()):
            continue
        if (tried := tried + 1) > _STARTS_TRIED or parse.left < 0:
            break
        block = _salvaged(_outdented(lines[at:]), parse)
        if block.tree is not None:
            covered = at + block.code.count("\n") + 1
            blocks.append(_without_trailing_words(replace(block, whole=True), parse))
    return blocks


def _unfenced(text: str) -> Iterator[str]:
    """The lines without fences, and without what stands in those of another language."""
    foreign = False
    for line in text.split("\n"):
        if opening := _FENCE.fullmatch(line.strip()):
            foreign = not foreign and _FOREIGN.match(opening["info"] or opening["language"] or "") is not None
        elif not foreign:
            yield line


def _outdented(lines: list[str]) -> str:
    """The lines without the first one's indentation; prose that has none stays as it is."""
    depth = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[depth:] if not line[:depth].strip() else line for line in lines)


def _without_trailing_words(block: Block, parse: Parser) -> Block:
    """Drops words after a program that only happen to parse, such as `Done` or `Note: fast`."""
    assert block.tree is not None
    kept = list(block.tree.body)
    while kept and not _does_something(kept[-1]):
        kept.pop()
    if len(kept) == len(block.tree.body) or not kept:
        return block
    shorter = "\n".join(block.code.split("\n")[: kept[-1].end_lineno])
    tree, _ = parse(shorter)
    return Block(shorter, tree) if tree else block


# --- parsing --------------------------------------------------------------------------------


def _read(code: str, parse: Parser) -> Block:
    """The code as it is, with the fewest mends with which it parses, or as much of it as does."""
    best = code
    for best in (code, *mended(code)):
        dedented = textwrap.dedent(best).strip("\n")
        if tree := parse(dedented)[0]:
            return Block(dedented, tree)
    tries = [_salvaged(text, parse) for text in dict.fromkeys((code, textwrap.dedent(best).strip("\n")))]
    return max(tries, key=lambda block: (block.is_program(), len(block.code) if block.tree else 0))


def _salvaged(code: str, parse: Parser) -> Block:
    """A beginning that parses, found by cutting before each error in turn; else the code without a tree."""
    lines = code.split("\n")
    for _ in range(_SALVAGE_STEPS):
        body = "\n".join(lines).rstrip()
        tree, line = parse(body)
        if tree:
            return Block(body, tree, whole=body == code.rstrip())
        if not line:
            break
        lines = lines[: min(max(line - 1, 0), body.count("\n"))]
    return Block(code, None, whole=False)


def _does_something(statement: ast.stmt) -> bool:
    """Whether a statement could stand in a program, and is not a word or literal of an answer."""
    if isinstance(statement, ast.Expr):
        return any(isinstance(node, ast.Call | ast.Await | ast.NamedExpr) for node in ast.walk(statement))
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None
    return not isinstance(statement, ast.Return | ast.Pass | ast.Break | ast.Continue)
