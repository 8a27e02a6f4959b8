"""Hidden tests that are made by a known solution."""

import pytest

from bdc_agents.errors import SandboxRefused
from bdc_agents.runs.hidden import score_hidden, with_reference_tests
from bdc_agents.sandbox import create_executor
from bdc_agents.search.choice.inputs import further_inputs
from bdc_agents.types import CallTest, HiddenTests, Problem, StdinTest, Task

RIGHT = "class Solution:\n    def top(self, nums, k):\n        return sorted(nums)[-k:]\n"
WEAK = RIGHT.replace("[-k:]", "[-k:] if len(nums) < 5 else nums[-k:]")
TESTS = (
    CallTest(call="Solution().top(nums = [5, 1, 4], k = 1)", expected=("[5]",)),
    CallTest(call="Solution().top(nums = [2, 9, 7, 3], k = 2)", expected=("[7, 9]",)),
)


def task(reference=RIGHT, tests=TESTS, tags=()):
    problem = Problem(
        id="top", statement="The k largest.", entry_point="Solution", public_tests=tests[:1], tags=tags
    )
    return Task(problem=problem, hidden=HiddenTests(tests[1:], reference))


@pytest.fixture
async def executor():
    try:
        executor = create_executor()
    except SandboxRefused as refused:
        pytest.skip(str(refused))
    yield executor
    await executor.aclose()


async def test_they_tell_a_wrong_program_from_the_known_solution(executor):
    weak = task()
    assert (await score_hidden(weak, WEAK, executor)).all_passed
    strong = await with_reference_tests(weak, executor)
    assert len(strong.hidden) > 5
    assert strong.hidden.reveal()[:1] == TESTS[1:]
    assert strong.problem == weak.problem, "nothing of it is shown"
    assert (await score_hidden(strong, RIGHT, executor)).all_passed
    assert not (await score_hidden(strong, WEAK, executor)).all_passed
    again = await with_reference_tests(weak, executor)
    assert again.hidden.reveal() == strong.hidden.reveal()
    assert strong.hidden.reveal_reference() == RIGHT


async def test_they_have_inputs_that_no_search_has_seen(executor):
    made = (await with_reference_tests(task(), executor)).hidden.reveal()[1:]
    seen = {test.call for test in further_inputs(task().problem)}
    assert len({test.call for test in made} - seen) > len(made) / 2


async def test_stdin_programs_have_some_too(executor):
    tests = tuple(StdinTest(stdin=f"{n}\n{n + 1} {n}\n", expected=(f"{2 * n + 1}\n",)) for n in (2, 5))
    made = await with_reference_tests(task("input()\nprint(sum(map(int, input().split())))", tests), executor)
    assert len(made.hidden) > 3
    assert (await score_hidden(made, "input()\nprint(sum(map(int, input().split())))", executor)).all_passed


@pytest.mark.parametrize(
    "one",
    [
        task(reference=None),
        task(reference=RIGHT.replace("-k:", "k:")),
        task(tags=("any-answer",)),
        task(reference=RIGHT.replace("return", "print(1); return object() if len(nums) > 4 else")),
        task(tests=TESTS * 10),
    ],
    ids=["no solution", "one that fails", "several answers", "values that are no literals", "many tests"],
)
async def test_where_nothing_is_sure_none_are_made(executor, one):
    made = await with_reference_tests(one, executor)
    assert all("object at" not in "".join(test.expected) for test in made.hidden.reveal())
    if "object()" not in (one.hidden.reveal_reference() or ""):
        assert made.hidden.reveal() == one.hidden.reveal()
