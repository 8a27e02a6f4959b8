"""Every prompt of the project, in one place.

Prompts are built from what a search may see: the problem with its public tests, the path of
thoughts, programs and their verdicts. Labels such as difficulty and tags are left out.
"""

import ast
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, Problem, Program, StdinTest, TestCase, TestResult, Thought
from bdc_agents.types.tests import visible

TESTS_SHOWN = 6
"""Public tests in a prompt, as many as failing ones in a reflection: further ones add length and rarely a new
case. Chosen, not measured."""
TEXT_LIMIT = 600
"""Characters of a test's text, value or error in a prompt: some ten lines, so that one test cannot fill it.
Chosen, not measured."""
PROGRAM_LIMIT = 6000
"""Characters of a program in a prompt, some 2,000 tokens: longer than nearly all programs that agents write.
Chosen, not measured."""
_BODY = 12 * " " + "pass"
"""Added to starter code that ends in the head of a method, so that it parses."""

# One text for all purposes, with the problem right after it: a server with a prompt cache then reads a
# problem once, however many calls there are about it.
_SYSTEM = "You are an expert Python programmer. You write correct, complete programs."


def thoughts_schema(width: int) -> dict[str, Any]:
    """The JSON schema of a list of rated thoughts, at most `width` of them."""
    thought = _object(
        {
            "thought": {"type": "string", "minLength": 1, "maxLength": 600},
            "reasonableness": {"type": "number", "minimum": 0, "maximum": 1},
        }
    )
    thoughts = {"type": "array", "items": thought, "minItems": 1, "maxItems": width}
    return _object({"thoughts": thoughts})


def judge_schema() -> dict[str, Any]:
    """The JSON schema of a judge's score."""
    return _object({"score": {"type": "number", "minimum": 0, "maximum": 1}})


def expected_schema() -> dict[str, Any]:
    """The JSON schema of an expected output, with the steps that lead to it before it."""
    return _object({"steps": {"type": "string", "maxLength": 2000}, "expected": {"type": "string"}})


def tests_schema(stdin: bool, count: int) -> dict[str, Any]:
    """The JSON schema of self-written tests, for programs that read stdin or for functions."""
    given = "stdin" if stdin else "call"
    test = _object({given: {"type": "string"}, "expected": {"type": "string"}})
    return _object({"tests": {"type": "array", "items": test, "minItems": 1, "maxItems": count}})


def write_program(problem: Problem, thoughts: Sequence[Thought]) -> tuple[BaseMessage, ...]:
    """Asks for a program that follows a path of thoughts; none asks for a direct answer."""
    parts = [describe(problem), _plan(thoughts, "Follow this plan:"), _how_to_answer(problem)]
    return _conversation(parts)


def propose_thoughts(
    problem: Problem,
    thoughts: Sequence[Thought],
    previous: Program | None,
    failures_shown: int,
    width: int,
    tried: Sequence[str] = (),
) -> tuple[BaseMessage, ...]:
    """Asks for `width` different thoughts that continue a path, each with a self-rating.

    Args:
        problem, thoughts: The path.
        previous: A program that failed, to be shown; None for none.
        failures_shown: Its failing tests to show, at most.
        width: Thoughts to propose, at most.
        tried: Thoughts that continued the path before, each with what came of it.
    """
    step = "the next step after the plan above" if thoughts else "a first step"
    ask = (
        f"Think about how to solve this, as an expert in algorithms. Propose {width} different alternatives "
        f"for {step}: each one or two sentences on the idea, the algorithm or the mistake to avoid. Do not "
        "write code. Rate the "
        'reasonableness of each from 0 to 1.\nReply with JSON: {"thoughts": [{"thought": "...", '
        '"reasonableness": 0.8}, ...]}'
    )
    parts = [
        describe(problem),
        _plan(thoughts, "The plan so far:"),
        _tried(tried),
        _previous(previous, failures_shown),
        ask,
    ]
    return _conversation(parts)


def refine_thought(
    problem: Problem, thoughts: Sequence[Thought], best: Program, failures_shown: int
) -> tuple[BaseMessage, ...]:
    """Asks for a better last thought, given the best program it led to and its failing tests."""
    ask = (
        f"The last step of the plan (step {len(thoughts)}) did not lead to a correct program. Find out from "
        "the failing tests what is wrong with it, and write a better step to replace it, in one to three "
        'sentences, without code.\nReply with JSON: {"thoughts": [{"thought": "...", "reasonableness": 0.8}]}'
    )
    parts = [describe(problem), _plan(thoughts, "The plan:"), _previous(best, failures_shown), ask]
    return _conversation(parts)


def merge_thoughts(
    problem: Problem, thoughts: Sequence[Thought], proposals: Sequence[Thought]
) -> tuple[BaseMessage, ...]:
    """Asks for one thought made of the best of several proposals."""
    listed = "\n".join(f"- {proposal.text}" for proposal in proposals)
    ask = (
        f"Several colleagues proposed a next step:\n{listed}\n\nWrite one step that takes the best of them, "
        "in one to three sentences, without code.\n"
        'Reply with JSON: {"thoughts": [{"thought": "...", "reasonableness": 0.8}]}'
    )
    return _conversation([describe(problem), _plan(thoughts, "The plan so far:"), ask])


def judge_program(problem: Problem, program: Program) -> tuple[BaseMessage, ...]:
    """Asks how likely a program that passes the public tests is right on all inputs."""
    ask = (
        f"This program passes the tests shown:\n{_fence(program.code)}\n\nReview it. How likely is it that "
        'it is right for every valid input, from 0 to 1?\nReply with JSON: {"score": 0.7}'
    )
    return _conversation([describe(problem), ask])


def expect_output(problem: Problem, given: str) -> tuple[BaseMessage, ...]:
    """Asks what a right program gives for an input, without showing one.

    Args:
        problem: The problem.
        given: The text of stdin, or code that ends with the expression whose value is asked for.
    """
    if problem.entry_point is None:
        kind = "input" if visible(given) == given else f"input, {_SOURCE}"
        what, form = f"print for this {kind}?\n{_block(visible(given))}", "the whole output"
    else:
        what, form = f"give for the last line of this code?\n{_fence(given)}", "the value as a Python literal"
    ask = (
        f"Do not write a program. What does a right program {what}\n\nWork it out in short steps from the "
        f'problem alone.\nReply with JSON: {{"steps": "...", "expected": "{form}"}}'
    )
    return _conversation([describe(problem), ask])


def repair_program(
    asked: Sequence[BaseMessage], program: Program, failures_shown: int
) -> tuple[BaseMessage, ...]:
    """Asks for a correction: the first request, the program as its answer, and what is wrong with it."""
    shown = _failures(program, failures_shown)
    ask = (
        f"This program is wrong. It fails these tests:\n{shown}\n\nFind the mistake and write the corrected, "
        "complete program. Reply with one ```python block and nothing else."
    )
    code = _fence(trim(program.code, PROGRAM_LIMIT))
    return (*asked, AIMessage(content=code), HumanMessage(content=ask))


def mend_program(
    problem: Problem, thoughts: Sequence[Thought], failed: Program, failures_shown: int, *, code: bool
) -> tuple[BaseMessage, ...]:
    """Asks for a diagnosis of a failed program and, in the same reply, for a better one.

    Args:
        problem, thoughts: The path that the program was written for.
        failed: The program, with its verdict.
        failures_shown: Failing tests to show, at most.
        code: Whether its code is shown, too, behind the facts: what a program does says more than its text.
    """
    shown = _failures(failed, failures_shown)
    facts = f"A colleague's program is wrong. It fails these tests:\n{shown}" if shown else ""
    if not facts:
        facts = "A colleague's program is wrong: no test of it gave a result."
    text = f"The program:\n{_fence(trim(failed.code, PROGRAM_LIMIT))}" if code and failed.code else ""
    seen = (
        "what is wrong with it and what a right program does instead"
        if code
        else "what these tests show about the problem that was missed"
    )
    begin = "" if code else ", from scratch,"
    ask = f"First say in one to three sentences {seen}. Then{begin} "
    how = _what_to_write(problem)
    ask += f"write {how}. Reply with these sentences and one ```python block."
    return _conversation([describe(problem), _plan(thoughts, "The plan so far:"), facts, text, ask])


def _failures(program: Program, most: int) -> str:
    failed = program.verdict.failures[:most] if program.verdict else ()
    return "\n".join(map(_show_failure, failed))


def write_tests(problem: Problem, count: int) -> tuple[BaseMessage, ...]:
    """Asks for tests of a problem that has none of its own."""
    if problem.entry_point is None:
        form = '{"stdin": "the whole input", "expected": "the whole output"}'
    else:
        form = f'{{"call": "{problem.entry_point}(...)", "expected": "the value as a Python literal"}}'
    ask = (
        f"Write {count} small tests for this problem whose answers you are sure of. Do not write a program."
        f'\nReply with JSON: {{"tests": [{form}, ...]}}'
    )
    return _conversation([describe(problem), ask])


def with_remark(statement: str, remark: str) -> str:
    """A statement with what the person who asked said later, word for word."""
    heading = "The person who asked adds:"
    start = "" if heading in statement else f"\n\n{heading}"
    return f"{statement.strip()}{start}\n- {' '.join(remark.split())}"


def describe(problem: Problem) -> str:
    """The problem as agents read it: statement, starter code and public tests."""
    parts = [problem.statement.strip()]
    if problem.starter_code.strip() and problem.starter_code.strip() not in problem.statement:
        parts.append(f"Start from this code:\n{_fence(problem.starter_code)}")
    if problem.public_tests:
        tests = [_show_test(test, problem) for test in problem.public_tests[:TESTS_SHOWN]]
        # Between tests of several lines an empty one: what belongs to which is not seen otherwise.
        gap = "\n\n" if any("\n" in test and not test.endswith("\n") for test in tests) else "\n"
        shown = gap.join(tests)
        parts.append(f"The program must pass these tests:\n{shown}")
    return "\n\n".join(parts)


_SOURCE = "as a Python string"
"""How text is introduced whose blank lines nobody would see."""


def _show_test(test: TestCase, problem: Problem) -> str:
    if isinstance(test, StdinTest):
        given = visible(test.stdin)
        kind = "Input" if given == test.stdin else f"Input, {_SOURCE}"
        return f"{kind}:\n{trim(given)}\n{_output(test, problem)}\n"
    if isinstance(test, CallTest):
        setup = f"{trim(test.setup.strip())}\n" if test.setup.strip() else ""
        return f"{setup}{trim(test.call)} == {trim(test.expected[0])}"
    return trim(test.code)


def _output(test: StdinTest, problem: Problem) -> str:
    """What a program is to print; with a checker of the problem's own, what it may print."""
    said = trim(test.expected[0])
    if not problem.checker.code:
        # Where words alone are compared, blank lines of an output mean nothing.
        shown = said if problem.checker.text == "tokens" else trim(visible(test.expected[0]))
        return f"Output:\n{said}" if shown == said else f"Output, {_SOURCE}:\n{shown}"
    if said.strip():
        return f"Output, for example (others may be right, too):\n{said}"
    return "Output: whatever is right for this input"


def _plan(thoughts: Sequence[Thought], heading: str) -> str:
    if not thoughts:
        return ""
    steps = "\n".join(f"{number}. {thought.text}" for number, thought in enumerate(thoughts, 1))
    return f"{heading}\n{steps}"


def _tried(tried: Sequence[str]) -> str:
    if not tried:
        return ""
    listed = "\n".join(f"- tried: {one}" for one in tried)
    return f"These steps were tried and did not solve it. Propose others:\n{listed}"


def _previous(program: Program | None, failures_shown: int) -> str:
    if program is None or program.verdict is None or program.verdict.passed:
        return ""
    shown = _failures(program, failures_shown)
    code = _fence(trim(program.code, PROGRAM_LIMIT))
    return f"An earlier program is wrong:\n{code}\n\nIt fails these tests:\n{shown}"


def _show_failure(result: TestResult) -> str:
    lines = [f"- {trim(result.shown)}"]
    if result.expected:
        lines.append(f"  expected: {trim(result.expected)}")
    if result.actual:
        lines.append(f"  got: {trim(result.actual)}")
    if result.error:
        where = f" (line {result.line})" if result.line else ""
        lines.append(f"  error: {trim(result.error)}{where}")
    elif result.outcome not in ("wrong", "error"):
        lines.append(f"  {result.outcome}")
    return "\n".join(lines)


def _how_to_answer(problem: Problem) -> str:
    return f"Write {_what_to_write(problem)}. Reply with one ```python block and nothing else."


def _what_to_write(problem: Problem) -> str:
    if problem.entry_point is None:
        what = "a complete Python program that reads from standard input and prints to standard output"
    elif problem.entry_point != problem.defines:
        method = problem.entry_point.rpartition(".")[2]
        named = f"`{problem.defines}` with its method `{method}`"
        what = f"the complete Python class {named} and the imports it needs"
    else:
        what = f"the complete Python {_named(problem, problem.entry_point)} with the imports it needs"
    return what


def _named(problem: Problem, entry_point: str) -> str:
    """The entry point as what it is: a class, a method of one, or a function."""
    tree = parse(problem.starter_code) or parse(f"{problem.starter_code}\n{_BODY}")
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef):
            methods = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
            if node.name == entry_point:
                return f"class `{node.name}`"
            if entry_point in methods:
                return f"class `{node.name}` with its method `{entry_point}`"
    return f"{'class' if problem.is_class else 'function'} `{entry_point}`"


def _conversation(parts: Sequence[str]) -> tuple[BaseMessage, ...]:
    body = "\n\n".join(part for part in parts if part)
    return SystemMessage(content=_SYSTEM), HumanMessage(content=body)


def _block(text: str) -> str:
    return f"```\n{text.strip()}\n```"


def _fence(code: str) -> str:
    return f"```python\n{code.strip()}\n```"


def trim(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text, or its two ends with a mark between them if it is longer than `limit`."""
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
