"""Makes public tests of the examples in a statement, for problems that come without any.

Nothing here looks at the hidden tests, and nothing is executed: code is only parsed.
"""

import ast
import doctest
import re
from collections.abc import Iterator
from itertools import pairwise

from bdc_agents.data.rows import is_literal
from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, StdinTest
from bdc_agents.types.written.asserts import called_names

_HEADING = re.compile(r"^(sample |example )?(inputs?|outputs?)( ?#?\d+)?$")
_EXAMPLES = re.compile(r"^(examples?|samples?|sample tests?)( ?#?\d+)?$")
_END = re.compile(r"^(notes?|explanations?( .*)?|hints?|constraints|scoring|example explanation)$")
_LONGEST_LINE = 2000
"""Characters of a line that may hold an example: longer ones are none, and would slow the patterns down."""
_OPERATORS = frozenset("+-*/%=<>&|^([{")
_WORD = re.compile(r"^(true|false|none)\b")
_ARROW = re.compile(
    r"\s*(?:=+>|==?|->|➞|→|# *(?:=+>|returns?)|returns?|should return)\s*(.+)", re.DOTALL | re.IGNORECASE
)


def stdin_examples(statement: str) -> tuple[StdinTest, ...]:
    """The input and output blocks under the examples heading of a contest problem."""
    tests: list[StdinTest] = []
    blocks = list(_blocks(statement))
    for (kind, text), (next_kind, next_text) in pairwise(blocks):
        if kind == "input" and next_kind == "output" and next_text:
            tests.append(StdinTest(stdin=f"{text}\n", expected=(f"{next_text}\n",)))
    return tuple(dict.fromkeys(tests))


def _blocks(statement: str) -> Iterator[tuple[str, str]]:
    """The `input` and `output` blocks of the examples, in order, each with its text."""
    kind, lines, inside = "", list[str](), False
    for line in [*statement.splitlines(), "Note"]:
        title = line.strip().strip("-:* ").lower()
        heading = _HEADING.match(title)
        if heading and (inside or heading[1]):
            yield kind, "\n".join(lines).strip()
            kind, lines, inside = heading[2].rstrip("s"), [], True
        elif _EXAMPLES.match(title) or _END.match(title) or heading or _is_rule(line):
            yield kind, "\n".join(lines).strip()
            kind, lines, inside = "", [], bool(_EXAMPLES.match(title))
        else:
            lines.append(line.rstrip())


def _is_rule(line: str) -> bool:
    """Whether a line is a section heading between dashes, such as `-----Note-----`."""
    return bool(re.fullmatch(r"-{3,}[^-].*[^-]-{3,}", line.strip()))


def call_examples(text: str, name: str) -> tuple[CallTest, ...]:
    """The examples of a function's docstring: `>>>` prompts, `f(x) == y`, `f(x) -> y` and the like.

    Args:
        text: The docstring, or a whole statement.
        name: The function that the examples call.
    """
    found = [*_doctests(text, name), *_lines(text, name)]
    return tuple({test.call: test for test in reversed(found)}.values())[::-1]


def _doctests(text: str, name: str) -> Iterator[CallTest]:
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return
    for example in examples:
        test = _example(example.source, example.want.strip(), name)
        if test:
            yield test


def _lines(text: str, name: str) -> Iterator[CallTest]:
    for line in text.splitlines():
        if len(line) > _LONGEST_LINE:
            continue
        # The want of a `>>>` prompt stands on the next line; `f(x) == y` behind one is an example too.
        start = line.find(f"{name}(")
        end = _closing(line, start + len(name)) if start >= 0 else -1
        arrow = _ARROW.match(line, end) if end >= 0 else None
        test = _example(line[start:end], _leading_literal(arrow[1]), name) if arrow else None
        if test:
            yield test


def _example(call: str, expected: str, name: str) -> CallTest | None:
    call = call.strip()
    tree = parse(call)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    called = called_names(call)
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    # A free name, as in `f(n) = 1`, stands in a formula and not in an example.
    if name not in called or sorted(names) != sorted(called) or not is_literal(expected):
        return None
    # The segment leaves a comment behind the call out.
    segment = ast.get_source_segment(call, tree.body[0].value)
    return CallTest(call=segment or call, expected=(expected,))


def _closing(line: str, start: int) -> int:
    """The position after the bracket that closes the one at `start`; -1 where none does."""
    for end in range(start + 1, len(line) + 1):
        if line[end - 1] == ")" and parse(f"f{line[start:end]}") is not None:
            return end
    return -1


def _leading_literal(text: str) -> str:
    """The literal at the start of a text that may go on in words, but not with an operator."""
    text = _WORD.sub(lambda word: word[0].capitalize(), text.split(" #")[0].strip(), count=1)
    ends = [len(text), *(match.start() for match in re.finditer(r"[\s,.;)]", text))]
    for end in sorted(ends, reverse=True):
        literal, rest = text[:end].rstrip(".,"), text[end:].lstrip()
        # In a list of one: the comma of a sentence makes no tuple.
        if is_literal(literal) and len(ast.literal_eval(f"[{literal}]")) == 1:
            return "" if rest[:1] in _OPERATORS else literal
    return ""
