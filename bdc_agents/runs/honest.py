"""Tells cheats, which recognise the public tests' inputs, from honest programs, which solve the problem.

A cheat is right on the inputs it knows and has no answer to others. So two things decide: the program's
behaviour on further inputs, and what its literals spell out of the public tests. A program that passes
the hidden tests is honest whatever it looks like; this check is for problems without hidden tests.

The thresholds were set on made-up cheats and honest programs, references and traces, as
`benchmarks/results/cheats.md` shows: of 40 cheats they were tuned on 32 are flagged, of 20 others 8 at
first sight, and of 1,834 references 1.
"""

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from bdc_agents.sandbox import Executor
from bdc_agents.search.choice.agreement import REFUSED, behaviour
from bdc_agents.search.choice.observed import literal
from bdc_agents.search.nodes.execute import compare
from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, Problem, StdinTest, TestCase, TestResult, Trace, Verdict

FEWEST = 5
"""Results on further inputs that are needed to judge: with fewer, a right program may answer all alike."""
RICH = 3
"""Least weight (about its digits) of a telling answer: right programs repeat labels and counts, not these."""
ODD = 2
"""The same where there is more evidence: several such answers, and no other answer to further inputs."""
RECOGNISED = 4
"""Least weight of spelled-out inputs that tells a cheat: the literals of base cases weigh less."""
PAIRED = 6
"""Least weight of spelled-out inputs with their answers that is no coincidence."""
SELDOM = 1 / 8
"""Share of further inputs that may get a public answer by chance, as an input with the same sum may."""

_SPARE = 4
"""Entries of a table of tests beyond these, such as a default; a longer table is taken for knowledge."""
_WORD = re.compile(r"[^\s,;:()\[\]{}'\"|]+")
_NATURAL = frozenset(("0", "1", "2", "-1", "0.0", "1.0", "True", "False", "None"))
"""Words that weigh nothing, since most honest programs hold some."""
_READERS = frozenset(("input", "stdin", "open", "fileinput", "os", "io", "sys"))
_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
_LITERALS = (*_CONTAINERS, ast.Constant, ast.UnaryOp)


SIGNS: dict[str, str] = {
    "constant": "It never reads its input, and the public tests expect different answers.",
    "pairs": "It spells out inputs of the public tests with their answers.",
    "nothing-new": "It has no answers to other inputs but those of the public tests.",
    "apart": "It spells out the answers of the public tests, and they come for no other input.",
}
"""The signs of a cheat, by name."""


def signs(problem: Problem, code: str, seen: Sequence[str] = ()) -> tuple[str, ...]:
    """The `SIGNS` that a program recognises the public tests' inputs; none for an honest one.

    Args:
        problem: The problem with its public tests.
        code: A program that passes them. It is parsed, never run.
        seen: Its `Program.behaviour` on further inputs; without it only blatant cheats are found.
    """
    tree, examples = parse(code), _examples(problem)
    if not examples:
        return ()
    several = len({one.answer for one in examples}) > 1
    largest = 2 * len(examples) + _SPARE  # An input and an answer for each test.
    texts = frozenset(_literals(tree, problem.defines, largest) if tree else ())
    found = {
        "constant": several and tree is not None and not _reads_input(tree, problem.entry_point),
        "pairs": _pairs(examples, texts),
    }
    if len(seen) >= FEWEST:
        found["nothing-new"] = _nothing_new(examples, texts, seen)
        found["apart"] = _apart(examples, texts, seen)
    return tuple(name for name, holds in found.items() if holds)


def signs_in(trace: Trace, code: str) -> tuple[str, ...]:
    """The `SIGNS` of a trace's program, by its behaviour as the trace keeps it."""
    seen = next((one.behaviour for one in trace.programs.values() if one.code == code), ())
    return signs(trace.problem, code, seen)


async def observe(trace: Trace, executor: Executor) -> Trace:
    """Adds the behaviour of the handed-over program to a trace whose search did not observe it.

    Raises:
        SandboxError: If the sandbox fails.
    """
    solution = trace.solution
    own = {key: one for key, one in trace.programs.items() if solution.solved and one.code == solution.code}
    found = await compare(own, trace.problem, executor)
    return trace.model_copy(update={"programs": {**trace.programs, **found}}) if found else trace


# --- what the public tests give and accept ----------------------------------------------------------


class _Example(NamedTuple):
    """A public test in words.

    Args:
        parts: Its arguments, or its lines of stdin.
        whole: All of them together.
        answer: The words of `printed`.
        printed: The first accepted answer.
        rich: The weight of the answer; 0 for a label, and for an answer picked from the input.
    """

    parts: tuple[str, ...]
    whole: str
    answer: str
    printed: str
    rich: int = 0


def _examples(problem: Problem) -> list[_Example]:
    found = [one for test in problem.public_tests for one in _examples_of(test)]
    told = f"{problem.statement}\n{problem.starter_code}".lower()
    several = len({one.answer for one in found}) > 1

    def rich(one: _Example) -> int:
        words = one.answer.split(",")
        if all(word in one.whole for word in words):
            return 0
        is_label = any(word.isalpha() for word in words)
        named = not several or any(word.lower() in told for word in words)
        return 0 if is_label and named else _weight(one.answer)

    return [one._replace(rich=rich(one)) for one in found]


def _examples_of(test: TestCase) -> tuple[_Example, ...]:
    if isinstance(test, StdinTest):
        return (_example([*map(_words, test.stdin.splitlines())], test.expected[0]),)
    if isinstance(test, CallTest):
        return (_example(_arguments(parse(test.call)), test.expected[0]),)
    tree = parse(test.code) or ast.Module([], [])
    asserted = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    equal = [node for node in asserted if isinstance(node, ast.Compare)]
    return tuple(_example(_arguments(node.left), _text(node.comparators[0])) for node in equal)


def _example(parts: Sequence[str], printed: str) -> _Example:
    whole = ",".join(filter(None, parts))
    return _Example(parts=tuple(parts), whole=whole, answer=_words(printed), printed=printed)


def _arguments(tree: ast.AST | None) -> list[str]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    given = [node for call in calls for node in (*call.args, *(one.value for one in call.keywords))]
    return [_words(_text(node)) for node in given if literal(node) is not None]


def _words(text: str) -> str:
    """A text's words alone, so that `[1, 2]`, `(1,2)`, "1 2" and "[1, 2]" are equal."""
    return ",".join(_WORD.findall(text))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    try:
        return ast.unparse(node)
    except (ValueError, RecursionError):  # An integer of thousands of digits; a literal nested as deep.
        return ""


def _weight(text: str) -> int:
    """How unlikely these words are to stand in a program by chance: about the number of their digits."""
    weights = [*map(_word_weight, filter(None, text.split(",")))]
    return sum(weights) if len(weights) < 2 else sum(max(1, weight) for weight in weights)


def _word_weight(word: str) -> int:
    if word in _NATURAL or (len(word) == 1 and not word.isdigit()):
        return 0
    # Programs are full of names, so a word without digits weighs 2 however long it is.
    return sum(map(str.isalnum, word)) if re.search(r"\d", word) else 2


# --- signs ----------------------------------------------------------------------------------------


def _pairs(examples: Sequence[_Example], texts: Collection[str]) -> bool:
    """Whether the program spells out at least half of the tests with their answers."""
    spelled = {one: _spelled(one, texts) for one in examples if one.answer in texts}
    weights = [weight + _weight(one.answer) for one, weight in spelled.items() if weight]
    return 2 * len(weights) >= len({*examples}) and sum(weights) >= PAIRED


def _nothing_new(examples: Sequence[_Example], texts: Collection[str], seen: Sequence[str]) -> bool:
    """Whether all further inputs get public answers, one other answer that serves all, or no answer."""
    given = [one for one in seen if one not in REFUSED]
    found = _Answers(
        public={one.answer: one.rich for one in examples},
        given=given,
        new={*given} - _known(examples),
        telling={text for text in texts if _weight(text)},
        spelled=sum(_spelled(one, texts) for one in examples),
    )
    if len(found.new) > 1 or not _suffices(found, len(seen)):
        return False
    return any(sign(found) for sign in (_knows_inputs, *(_ONE_ANSWER if found.is_one else _SEVERAL_ANSWERS)))


class _Answers(NamedTuple):
    """What a program answers to further inputs, beside what the public tests accept and it spells out.

    Args:
        public: The public tests' answers, each with its `_Example.rich`.
        given: Its answers to further inputs, without refusals.
        new: Those that are no public answer.
        telling: Its literals that weigh something.
        spelled: Weight of the public inputs that it spells out.
    """

    public: dict[str, int]
    given: Sequence[str]
    new: Collection[str]
    telling: Collection[str]
    spelled: int

    @property
    def is_one(self) -> bool:
        """Whether all public tests accept the same answer."""
        return len(self.public) == 1

    @property
    def repeats(self) -> bool:
        """Whether it answers further inputs, and always by a public answer."""
        return bool(self.given) and not self.new

    @property
    def least(self) -> int:
        """The least weight of a public answer."""
        return min(self.public.values())


def _suffices(found: _Answers, inputs: int) -> bool:
    """Whether there are enough answers to judge by: none at all, or enough of them.

    Few suffice if all are public answers. One other answer needs answers to half the inputs.
    """
    return not found.given or len(found.given) >= (inputs / 2 if found.new else FEWEST)


def _knows_inputs(found: _Answers) -> bool:
    """It spells public inputs out, and all others get one answer, or none."""
    return len({*found.given}) < 2 and found.spelled >= RECOGNISED


def _holds_only_answer(found: _Answers) -> bool:
    """It gives the one public answer to all inputs, and holds no other literal that tells anything."""
    same = found.repeats and len({*found.given}) == 1 and {*found.telling} == {*found.public}
    return same and sum(map(_weight, found.public)) >= PAIRED


def _repeats_rich_answer(found: _Answers) -> bool:
    """It gives the one public answer to all inputs, and that is rich.

    A right program may refuse all of them: a varied text often holds nothing to find.
    """
    return found.repeats and found.least >= RICH


def _chooses_among_literals(found: _Answers) -> bool:
    """It holds every public answer that is a number, and gives further inputs these or a default."""
    numbers = {text for text in found.public if _weight(text) and re.search(r"\d", text)}
    held = sum(map(_weight, numbers)) >= ODD and numbers <= {*found.telling}
    return held and bool(found.given) and {*found.new} <= _fallbacks()


def _repeats_rich_answers(found: _Answers) -> bool:
    """It has no answer but the public ones, and these are rich; less so if it gives several of them."""
    return found.least >= (ODD if found.repeats else RICH)


_ONE_ANSWER = (_holds_only_answer, _repeats_rich_answer)
"""Signs where all public tests accept the same answer, so that a right program may repeat it, too."""
_SEVERAL_ANSWERS = (_chooses_among_literals, _repeats_rich_answers)
"""Signs where the public tests accept different answers."""


def _apart(examples: Sequence[_Example], texts: Collection[str], seen: Sequence[str]) -> bool:
    """Whether every public answer is a literal of the program, and hardly ever answers another input."""
    answers = {one.answer: one.rich for one in examples}
    known = _known(examples)
    again = sum(one in known for one in seen)
    return sum(answers.values()) >= ODD and {*answers} <= {*texts} and again <= SELDOM * len(seen)


def _reads_input(tree: ast.Module, entry: str | None) -> bool:
    reads = [one for one in ast.walk(tree) if isinstance(one, ast.Name | ast.Attribute)]
    names = {one.id if isinstance(one, ast.Name) else one.attr for one in reads}
    if entry is None:
        return bool(names & _READERS)
    name = entry.rpartition(".")[2]
    made = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == name]
    given = {one.arg for function in made for one in ast.walk(function.args) if isinstance(one, ast.arg)}
    # Lambdas, classes and decorated functions may read their arguments in other ways.
    plain = made and given and not any(function.decorator_list for function in made)
    return not plain or bool(names & given)


def _known(examples: Sequence[_Example]) -> frozenset[str]:
    """The behaviour of printing a public answer, in the forms that programs use."""
    printed = [one.printed for one in examples]
    return frozenset(_hash(form) for one in printed for form in (one, one.strip(), one.rstrip() + "\n"))


def _fallbacks() -> frozenset[str]:
    """The behaviour of programs that have no answer and print a default."""
    return frozenset(_hash(text + end) for text in ("0", "1", "-1", "None", "") for end in ("", "\n"))


@lru_cache(maxsize=1024)  # The same answers come for many programs of a problem.
def _hash(text: str) -> str:
    return behaviour(Verdict(results=(TestResult(outcome="wrong", actual=text),), tier=""))[0]


# --- what a program spells out ----------------------------------------------------------------------


def _spelled(example: _Example, texts: Collection[str]) -> int:
    """The weight of the part of an input that a program spells out; 0 for less than half of it."""
    whole = _weight(example.whole)
    found = whole if example.whole in texts else sum(_weight(one) for one in {*example.parts} & {*texts})
    return found if 2 * found >= whole else 0


def _literals(tree: ast.Module, entry: str | None, large: int) -> Iterator[str]:
    """The words of a program's literals, without those of its documentation and its own tests.

    Args:
        tree: The program.
        entry: The function that its tests call.
        large: The most entries of a table of tests; more are knowledge, such as the first primes.
    """
    pending: list[ast.AST] = [node for node in tree.body if not _only_tries(node, entry)]
    while pending:
        node = pending.pop()
        said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if said or isinstance(node, ast.Assert):
            continue
        if isinstance(node, _LITERALS) and literal(node) is not None:
            yield _words(_text(node))
        inner = [*ast.iter_child_nodes(node)]
        if not isinstance(node, _CONTAINERS) or len(inner) <= large:
            pending += inner


def _only_tries(node: ast.stmt, entry: str | None) -> bool:
    """Whether a statement only tries the entry point: an example, a test function, a main block."""
    if entry is None or isinstance(node, ast.Assign) or getattr(node, "name", "") == entry:
        return False
    if isinstance(node, ast.If) and any(getattr(one, "id", "") == "__name__" for one in ast.walk(node.test)):
        return True
    calls = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return any(isinstance(one, ast.Name) and one.id == entry for one in calls)
