"""What cannot be solved is refused before a budget is spent; what cost programs their tests is told once."""

import pytest

from bdc_agents.config import SandboxConfig
from bdc_agents.data import task_from_dict
from bdc_agents.errors import ProblemError
from bdc_agents.runs.hidden import examine
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.own_checker import FAULT
from bdc_agents.search import asolve
from bdc_agents.search.nodes.notes import notes
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import Problem, Program, TestResult, Verdict

RIGHT = "```python\ndef f(x):\n    return x\n```"


@pytest.fixture
async def executor():
    made = create_executor(SandboxConfig(workers=1))
    yield made
    await made.aclose()


def task(**fields):
    return task_from_dict({"id": "mine", "statement": "Write f(x).", "public_tests": ["f(1) -> 1"]} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"preamble": "import no_such_module.inner as inner"},
        {"public_tests": ["from no_such_module import x\nassert f(1) == x"]},
        {"public_tests": [{"call": "f(1)", "expected": "1", "setup": "import no_such_module"}]},
        {"hidden_tests": ["def check(f):\n    import no_such_module\n    assert f(2) == 2\ncheck(f)"]},
    ],
)
async def test_a_module_that_the_sandbox_lacks_is_named_with_the_remedy(executor, fields):
    with pytest.raises(
        ProblemError, match=r'no_such_module.*packages = \["no_such_module"\] under \[sandbox\]'
    ):
        await examine(task(**fields), executor)


async def test_modules_that_are_there_or_may_be_absent_are_not(executor):
    optional = "try:\n    import no_such_module\nexcept ImportError:\n    pass"
    assert await examine(task(preamble=f"import math, collections.abc\n{optional}"), executor) == ()


async def test_a_search_asks_nobody_where_none_can_pass(executor):
    agent = ScriptedAgent("one", lambda _: RIGHT)
    problem = task(preamble="import no_such_module").problem
    with pytest.raises(ProblemError, match="no_such_module"):
        await asolve(problem, [agent], executor=executor)
    assert agent.requests == []


async def test_a_checker_that_refuses_what_its_test_expects_is_refused(executor):
    own = {"public_tests": [{"stdin": "1", "expected": "2"}], "checker": "def check(a, b, c): return b != c"}
    with pytest.raises(ProblemError, match=r"public_tests\[0\] itself expects: it says no"):
        await examine(task(**own), executor)


async def test_what_a_checker_says_of_hidden_tests_is_not_told(executor):
    own = {
        "public_tests": [{"stdin": "1"}],
        "hidden_tests": [{"stdin": "2", "expected": "secret"}],
        "checker": "def check(a, b, c): return 'it expects ' + c",
    }
    with pytest.raises(ProblemError, match=r"hidden_tests\[0\]") as caught:
        await examine(task(**own), executor)
    assert "secret" not in str(caught.value)


async def test_a_module_that_a_reference_alone_needs_is_told(executor):
    (line,) = await examine(task(reference="import no_such_module\ndef f(x):\n    return x\n"), executor)
    assert "the reference program imports no_such_module" in line
    assert 'packages = ["no_such_module"]' in line


async def test_a_reference_that_fails_is_told_and_hidden_tests_are_not(executor):
    found = await examine(
        task(reference="def f(x):\n    return 1\n", hidden_tests=["f(2) -> 77", "f(3) -> 78"]), executor
    )
    (line,) = found
    assert line.startswith(
        "mine: the reference program fails 2 of 3 tests: a hidden test (2 times) (wrong); "
    )


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (
            "import numpy",
            "ModuleNotFoundError: No module named 'numpy'",
            ["module numpy", 'packages = ["numpy"]'],
        ),
        ("#include <iostream>\nint main() {}", "SyntaxError: invalid syntax", ["looked like C++"]),
        ("print(1)", f"{FAULT}: ValueError: x", ["checker failed on the output of 2 programs"]),
    ],
)
def test_what_cost_many_programs_their_tests_is_told_once(code, error, words):
    state = {"problem": Problem(statement="Do.", public_tests=["f(1) -> 1"]).model_dump(mode="json")}
    verdict = Verdict(results=(TestResult(outcome="error", error=error),), tier="none")
    programs = {key: Program(code=code, agent="one", verdict=verdict) for key in "ab"}
    (told,) = notes(state, programs, None)
    assert all(word in told for word in words)


def test_a_module_that_only_an_error_names_is_not_told():
    """An error is the program's to forge, and what is told may be installed."""
    state = {"problem": Problem(statement="Do.", public_tests=["f(1) -> 1"]).model_dump(mode="json")}
    error = "ModuleNotFoundError: No module named 'evil'"
    verdict = Verdict(results=(TestResult(outcome="error", error=error),), tier="none")
    assert notes(state, {"a": Program(code="raise Exception", agent="one", verdict=verdict)}, None) == ()


async def test_a_class_is_asked_for_and_compared_on_further_inputs(executor):
    program = "```python\nclass Solution:\n    def twice(self, x):\n        return 2 * x\n```"
    agents = [ScriptedAgent(name, lambda _: program) for name in ("one", "two")]
    problem = Problem(
        statement="Twice.", public_tests=["Solution().twice(3) -> 6", "Solution().twice(5) -> 10"]
    )
    trace = await asolve(problem, agents, executor=executor)
    asked = str(agents[0].requests[0].messages[-1].content)
    assert "Python class `Solution` with its method `twice`" in asked
    assert (trace.solution.solved, trace.solution.confirmed) == (True, True)


async def test_check_of_a_candidate_gets_the_method(executor):
    test = "def check(candidate):\n    assert candidate(2) == 4"
    own = {"entry_point": "Solution().twice", "public_tests": [{"code": test}]}
    for factor, passed in ((2, True), (3, False)):
        reference = f"class Solution:\n    def twice(self, x):\n        return {factor} * x\n"
        assert (await examine(task(**own, reference=reference), executor) == ()) is passed
