"""LeetCodeDataset: problems whose program is a class `Solution` with one method.

The official grader runs `prompt`, the program and `check(Solution().method)` in one process and holds
values against each other by `==`. Here each assert of `check` is a test of its own, whose value leaves
the sandbox before it is compared, so that no program meets what is expected of it. Lists and trees of
nodes, which the set compares by helpers of its own, leave as plain lists. Each test gets an object of its
own, as on LeetCode; the official grader calls one object again and again.

Public are the tests that the statement prints as examples; where it prints none, the first half of the
few tests there are (one of two or three). The others are hidden.
"""

import ast
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from bdc_agents.data.contest import unjudged_tags
from bdc_agents.data.rows import Row, build_task, is_literal_node, read_row
from bdc_agents.errors import ProblemError
from bdc_agents.syntax import PARSE_ERRORS, long_integers, parse, syntax_tree
from bdc_agents.types import CallTest, Limits, ScriptTest, Task, TestCase

LIMITS = Limits(cpu_seconds=12)
"""Of each test: twice the default, since some of the set's own programs need it."""
MOST_PUBLIC = 3
_METHOD = re.compile(r"(?P<name>[A-Za-z_]\w*)\(\)\.[A-Za-z_]\w*")
_CANDIDATE = "candidate"
# The row's words to the LLM, in front of the statement, behind it, or in its place.
_FRAME = re.compile(
    r"\A.*?### Question:\n(?P<framed>.*?)\n### (?:Format|Answer):.*\Z"
    r"|\A(?P<plain>.*?)\nPlease complete the following python code precisely:\n```.*\Z",
    re.DOTALL,
)
_EXAMPLE = re.compile(r"^[ \t]*Input:[ \t]*(.+?)\n[ \t]*Output:", re.MULTILINE | re.DOTALL)

_NODES = re.compile(r"\b(?:list_node|tree_node)\(([^()]*)\)")
_LINE_END = re.compile(r"\r\n?")
"""What ends a line for Python's parser beside a line feed; `splitlines` knows more."""
_GAPS = re.compile(r"\n{3,}")
_PYTHON = {"null": "None", "true": "True", "false": "False"}

# What makes a plain list of nodes, in the order in which the set's own helpers read one. A list with a
# cycle, or a tree with one, is cut off: it equals nothing that is expected.
_MOST_NODES = 100_000
LIST_VALUES = f"""
def list_values(node):
    values = []
    while node is not None and len(values) <= {_MOST_NODES}:
        values.append(node.val)
        node = node.next
    return values
"""
TREE_VALUES = f"""
def tree_values(root):
    values, level = [], [root]
    while any(level) and len(values) <= {_MOST_NODES}:
        values += [node.val if node else None for node in level]
        level = [child for node in level if node for child in (node.left, node.right)]
    while values and values[-1] is None:
        values.pop()
    return values
"""


def _labels(value: Any) -> Any:
    return () if value is None else value


class _Meta(Row):
    question_id: int | None = None
    difficulty: str | None = None
    lang_code: str = ""


class _LeetCodeRow(Row):
    task_id: Annotated[str, Field(min_length=1)]
    prompt: str
    entry_point: str
    test: str
    completion: str = ""
    problem_description: str = ""
    query: str = ""
    starter_code: str = ""
    difficulty: str | None = None
    tags: Annotated[tuple[str, ...], BeforeValidator(_labels)] = ()
    meta: _Meta = _Meta()


def _level_order(values: Any) -> list[Any]:
    """A tree as `tree_values` gives it, of a list as `tree_node` reads it."""
    items = list(values)
    while items and items[-1] is None:
        items.pop()
    return items


class _Helper(NamedTuple):
    """How values are compared that `==` does not compare.

    Args:
        makes: What makes one of a plain list.
        reads: What makes a plain list of one.
        code: Its definition.
        plain: The list that it makes, of the list that one is made of.
    """

    makes: str
    reads: str
    code: str
    plain: Callable[[Any], Any]


_HELPERS = {
    "is_same_list": _Helper("list_node", "list_values", LIST_VALUES, list),
    "is_same_tree": _Helper("tree_node", "tree_values", TREE_VALUES, _level_order),
}


_OF_NODES = {name for same, helper in _HELPERS.items() for name in (same, helper.makes)}


def leetcode_task(row: Any, source: str = "row") -> Task:
    """The task of one row of LeetCodeDataset.

    Args:
        row: With `task_id`, `prompt`, `entry_point`, `test`, `completion`, and `problem_description`,
            `starter_code`, `difficulty` and `tags`, or `query` and `meta` as in older versions.
        source: Where the row comes from; named in errors.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_LeetCodeRow, row, source)
    method = _METHOD.fullmatch(fields.entry_point)
    if method is None:
        raise ProblemError(
            f'{source}: entry_point: not a method of a class, such as "Solution().twoSum": '
            f"{fields.entry_point!r:.80}"
        )
    statement = _statement(fields)
    tests = _tests(fields, source)
    public, hidden = _split(tests, statement, fields.entry_point)
    return build_task(
        source,
        hidden=hidden,
        reference=fields.completion or None,
        id=f"leetcode:{fields.task_id}",
        statement=statement,
        entry_point=method["name"],
        starter_code=(fields.starter_code or fields.meta.lang_code).rstrip(),
        preamble=_preamble(fields.prompt, tests),
        public_tests=public,
        limits=LIMITS,
        difficulty=fields.difficulty or fields.meta.difficulty,
        tags=(*(tag for tag in fields.tags if tag), *unjudged_tags(statement)),
    )


def _statement(fields: _LeetCodeRow) -> str:
    """The statement without what the row tells an LLM of the form of its answer."""
    text = fields.problem_description or fields.query
    framed = None if fields.problem_description else _FRAME.match(text)
    return (framed["framed"] or framed["plain"] or "" if framed else text).strip()


# --- tests ------------------------------------------------------------------------------------------


def _tests(fields: _LeetCodeRow, source: str) -> tuple[TestCase, ...]:
    """One test for each assert of `check`; the whole of it as one where it is not only asserts."""
    text = _LINE_END.sub("\n", fields.test)
    code = _Code(text.split("\n"), fields.entry_point)
    with long_integers():
        tree = parse(text)
        check = tree.body[-1] if tree and tree.body else None
        if not isinstance(check, ast.FunctionDef) or check.name != "check":
            raise ProblemError(f"{source}: test: does not end in a function check(candidate)")
        alone = tree is not None and len(tree.body) == 1
        tests = [_test(node, code) for node in check.body] if alone else [None]
    if None in tests:
        return (ScriptTest(code=f"{fields.test}\n\ncheck({fields.entry_point})\n"),)
    return tuple(test for test in tests if test)


class _Code(NamedTuple):
    """The lines of the code of `check`, and the method that stands for its candidate."""

    lines: list[str]
    entry_point: str

    def text(self, node: ast.expr) -> str:
        """The code of an expression; `ast.get_source_segment` goes through the whole source for each."""
        last = node.end_lineno or node.lineno
        lines = [line.encode() for line in self.lines[node.lineno - 1 : last]]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"\n".join(lines).decode()


def _test(node: ast.stmt, code: _Code) -> CallTest | None:
    """The test of `assert candidate(...) == VALUE`, or of one of the helpers that compare nodes."""
    match node:
        case ast.Assert(
            test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[expected])
        ) if _is_value(expected):
            return _call_test(call, code, code.text(expected))
        case ast.Assert(
            test=ast.Call(
                func=ast.Name(id=same),
                args=[ast.Call() as call, ast.Call(func=ast.Name(id=makes), args=[values])],
                keywords=[],
            )
        ) if same in _HELPERS and makes == _HELPERS[same].makes and is_literal_node(values):
            helper, plain = _HELPERS[same], ast.literal_eval(values)
            return _call_test(call, code, repr(helper.plain(plain)), helper.reads)
    return None


def _call_test(call: ast.Call, code: _Code, expected: str, reads: str = "") -> CallTest | None:
    if not (isinstance(call.func, ast.Name) and call.func.id == _CANDIDATE):
        return None
    text = f"{code.entry_point}{code.text(call).removeprefix(_CANDIDATE)}"
    return CallTest(call=f"{reads}({text})" if reads else text, expected=(expected,))


def _is_value(node: ast.expr) -> bool:
    """Whether an expression is a literal, in which `inf` and `nan` stand for numbers."""
    if is_literal_node(node):
        return True
    try:
        copy = syntax_tree(ast.unparse(node), "eval").body
        return is_literal_node(_WithoutInf().visit(copy))
    except PARSE_ERRORS:  # nested too deeply to be written again
        return False


class _WithoutInf(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(0) if node.id in ("inf", "nan") else node


def _preamble(prompt: str, tests: Sequence[TestCase]) -> str:
    """The row's own code as far as the tests need it, and what makes plain lists of nodes.

    All that makes and compares nodes stands before every problem, also of numbers. What is not needed is
    left out, and `inf` is imported: code that seems to keep a state has each test run in a process of its
    own, which takes a program with a table of primes, say, a hundred times as long.
    """
    calls = [test.call if isinstance(test, CallTest) else test.code for test in tests if test.kind != "stdin"]
    prompt = _LINE_END.sub("\n", prompt)
    tree, lines = parse(prompt), prompt.split("\n")
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name in _OF_NODES:
            if not any(f"{node.name}(" in call for call in calls):
                lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or 0) - node.lineno + 1)
        elif ast.unparse(node) == "inf = float('inf')":
            lines[node.lineno - 1 : node.end_lineno] = ["from math import inf"]
    used = [one.code for one in _HELPERS.values() if any(call.startswith(f"{one.reads}(") for call in calls)]
    return _GAPS.sub("\n\n", "\n".join([*lines, *used])).strip()


# --- public and hidden ------------------------------------------------------------------------------


def _split(
    tests: Sequence[TestCase], statement: str, entry_point: str
) -> tuple[Sequence[TestCase], Sequence[TestCase]]:
    examples = {_compact(text) for text in _EXAMPLE.findall(statement)}
    shown = [test for test in tests if examples and _arguments(test, entry_point) in examples]
    if not shown:
        calls = [test for test in tests if isinstance(test, CallTest)]
        shown = calls[: min(MOST_PUBLIC, max(1, len(calls) // 2))]
    public = {id(test) for test in shown}
    return shown, [test for test in tests if id(test) not in public]


def _arguments(test: TestCase, entry_point: str) -> str:
    """The arguments of a test's call, as text that can be compared with an example's."""
    call = test.call if isinstance(test, CallTest) else ""
    around = next((one.reads for one in _HELPERS.values() if call.startswith(f"{one.reads}(")), "")
    call = call.removeprefix(f"{around}(").removesuffix(")") if around else call
    return _compact(call.removeprefix(f"{entry_point}(").removesuffix(")"))


def _compact(text: str) -> str:
    """Arguments without blanks, in Python's words for JSON's constants; of nodes the lists they are of."""
    text = _NODES.sub(r"\1", re.sub(r"\s+", "", text))
    return re.sub(r"\b(?:null|true|false)\b", lambda word: _PYTHON[word[0]], text)
