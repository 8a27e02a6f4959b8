from collections.abc import Callable

import pytest

from bdc_agents.evaluate.figures.diagnose import (
    contributions,
    diagnose,
    is_flat,
    program_identity,
    thought_similarity,
)
from bdc_agents.types import (
    Attempt,
    CallTest,
    Node,
    Problem,
    Program,
    Solution,
    TestResult,
    Thought,
    Trace,
    TreeStats,
    Usage,
    Verdict,
)

Make = Callable[..., Trace]


def kinds(traces: list[Trace]) -> set[str]:
    return {finding.kind for finding in diagnose(traces)}


@pytest.fixture
def make() -> Make:
    """A trace of two agents with one step of thoughts; what is not given is healthy."""

    def trace(
        thoughts: tuple[str, str] = ("sort the list first", "count with a dictionary"),
        programs: tuple[str, str] = ("a", "b"),
        rewards: tuple[float, ...] = (0.0, 1.0),
        outcome: str = "wrong",
        solved: bool = True,
        by: str = "ann",
        usage: dict[str, Usage] | None = None,
        set_aside: dict[str, str] | None = None,
        public: bool = True,
    ) -> Trace:
        names = ("ann", "bob")
        nodes = (
            Node(
                id="0",
                children=("0.0", "0.1"),
                attempts=tuple(
                    Attempt(program=key, agent=name, reward=0.0)
                    for key, name in zip(programs, names, strict=True)
                ),
            ),
            *(
                Node(id=f"0.{n}", parent="0", thought=Thought(text=text, agent=name))
                for n, (text, name) in enumerate(zip(thoughts, names, strict=True))
            ),
        )
        written = {}
        for number, reward in enumerate(rewards):
            passed = TestResult(outcome="passed")
            failed = TestResult(outcome=outcome)  # type: ignore[arg-type]
            results = tuple(passed if n < reward * 4 else failed for n in range(4))
            verdict = Verdict(results=results, tier="t")
            written[f"p{number}"] = Program(code=f"x = {number}", agent="ann", verdict=verdict)
        tests = (CallTest(call="f()", expected=("1",)),) if public else ()
        default = {name: Usage(calls=10 * public, completion_tokens=10) for name in names}
        return Trace(
            problem=Problem(statement="s", public_tests=tests),
            solution=Solution(
                problem_id="p",
                solved=solved,
                code="x",
                reward=1.0,
                agent=by,
                node="0",
                stopped_by="solved" if solved else "rollouts",
                usage=default if usage is None else usage,
                set_aside=set_aside or {},
                tree=TreeStats(nodes=3, evaluated=1, pruned=0, refined=0, depth=1, programs=2, rollouts=1),
            ),
            nodes=nodes,
            programs=written,
        )

    return trace


def test_a_healthy_run_has_nothing_to_report(make: Make) -> None:
    assert kinds([make(by=name) for name in ("ann", "bob") * 10]) == set()
    assert diagnose([]) == ()


def test_problems_of_several_answers_are_told(make: Make) -> None:
    traces = [make(by=name) for name in ("ann", "bob") * 10]
    for tag in ("any-answer", "inexact"):
        problem = traces[0].problem.model_copy(update={"tags": (tag,)})
        found = diagnose([traces[0].model_copy(update={"problem": problem}), *traces[1:]])
        assert [finding.kind for finding in found] == ["unjudged"]
        assert "1 of 20" in found[0].text


def test_agents_that_think_alike(make: Make) -> None:
    same = [make(thoughts=("sort the list", "Sort the list!"), by=n) for n in ("ann", "bob") * 6]
    assert thought_similarity(same) == (1.0, 12)
    assert kinds(same) == {"similar-thoughts"}
    assert thought_similarity([make(thoughts=("a b c", "b c d"))]) == (0.5, 1)
    assert "100%" in str(diagnose(same)[0])


def test_agents_that_write_the_same_programs(make: Make) -> None:
    mixed = [
        make(programs=("a", "a" if number % 2 else "b"), by=("ann", "bob")[number % 2])
        for number in range(12)
    ]
    assert program_identity(mixed) == (0.5, 12)
    assert kinds(mixed) == {"same-programs"}
    (found,) = diagnose(mixed)
    assert found.value == 0.5
    assert "50% of 12 pairs" in found.text
    assert kinds(mixed[:3]) == set()  # Three pairs say nothing.


def test_a_program_that_was_not_written_is_not_the_same_as_another(make: Make) -> None:
    for programs in (("", ""), ("", "a"), ("a", "")):
        assert program_identity([make(programs=programs)]) is None


def test_an_agent_that_never_has_a_part(make: Make) -> None:
    traces = [make(by="ann") for _ in range(6)]
    assert contributions(traces) == {"ann": 6, "bob": 0}
    assert kinds(traces) == {"idle-agent"}
    assert "bob" in str(diagnose(traces)[0])
    assert "60 calls" in str(diagnose(traces)[0])


def test_the_author_of_a_thought_on_the_way_has_a_part(make: Make) -> None:
    trace = make(by="ann")
    thought = trace.model_copy(update={"solution": trace.solution.model_copy(update={"node": "0.1"})})
    assert contributions([thought]) == {"ann": 1, "bob": 1}


def test_replies_that_cannot_be_read(make: Make) -> None:
    usage = {"ann": Usage(calls=20, malformed=1), "bob": Usage(calls=20)}
    traces = [make(usage=usage, by=name) for name in ("ann", "bob")]
    assert kinds(traces) == {"malformed"}
    assert "5% of agent ann's 40 replies" in str(diagnose(traces)[0])


def test_requests_that_fail(make: Make) -> None:
    assert kinds([make(usage={"ann": Usage(calls=20, failed=5)})]) == {"failed-calls"}


def test_an_agent_that_stops_answering(make: Make) -> None:
    found = diagnose([make(), make(set_aside={"bob": "401: no such key"})])
    assert [finding.kind for finding in found] == ["agent-lost"]
    assert "1 of 2 problems" in found[0].text
    assert "401" in found[0].text


@pytest.mark.parametrize(
    ("rewards", "solved", "flat"),
    [
        ((0.5, 0, 0, 0.5, 0.25, 0), False, True),
        ((0, 0, 0, 0, 0, 0), False, True),
        ((0.25, 0, 0, 0.5, 0, 0), False, False),
        ((0, 0, 0, 0, 0, 1), True, None),
        ((0, 0, 0, 0, 0), False, None),
    ],
)
def test_a_search_whose_second_half_finds_nothing_is_flat(
    make: Make, rewards: tuple[float, ...], solved: bool, flat: bool | None
) -> None:
    assert is_flat(make(rewards=rewards, solved=solved)) is flat


def test_searches_that_do_not_converge(make: Make) -> None:
    flat = [make(rewards=(0.5, *[0.0] * 5), solved=False) for _ in range(5)]
    assert kinds(flat) == {"flat"}
    assert "5 of 5 unsolved searches" in str(diagnose(flat)[0])


@pytest.mark.parametrize(("outcome", "kind"), [("timeout", "timeouts"), ("memory", "memory")])
def test_programs_that_pass_limits(make: Make, outcome: str, kind: str) -> None:
    traces = [make(outcome=outcome, rewards=(0, 1), by=name) for name in ("ann", "bob") * 3]
    assert kinds(traces) == {kind}
    assert "6 of 12 programs" in str(diagnose(traces)[0])
    assert kinds([make(outcome=outcome, rewards=(0,) * 9)]) == set(), "few programs say nothing"
    assert kinds([make(outcome=outcome, rewards=(0,) * 10)]) == {kind}
    assert kinds([make(outcome=outcome, rewards=(0, *[1] * 10))]) == set(), "less than a tenth"


def test_problems_with_nothing_to_aim_at(make: Make) -> None:
    traces = [make(), make(public=False, solved=False, usage={})]
    assert kinds(traces) == {"no-public-tests"}


@pytest.mark.parametrize(
    ("calls", "failed", "told"), [(10, 10, True), (19, 1, True), (20, 1, False), (9, 9, False), (0, 9, False)]
)
def test_failed_requests_are_told_from_one_in_twenty_of_ten_calls(
    make: Make, calls: int, failed: int, told: bool
) -> None:
    found = diagnose([make(usage={"ann": Usage(calls=calls, failed=failed)})])
    assert [finding.kind for finding in found] == ["failed-calls"] * told
    assert all(finding.value == failed / (calls + failed) for finding in found)


def test_replies_that_cannot_be_read_are_told_from_ten_calls_on(make: Make) -> None:
    assert kinds([make(usage={"ann": Usage(calls=9, malformed=9)})]) == set()
    assert kinds([make(usage={"ann": Usage(calls=10, malformed=1)})]) == {"malformed"}
    assert kinds([make(usage={"ann": Usage(calls=30, malformed=1)})]) == set()


def test_few_solved_problems_make_no_agent_idle(make: Make) -> None:
    assert kinds([make(by="ann") for _ in range(4)]) == set()
    (found,) = diagnose([make(by="ann") for _ in range(5)])
    assert (found.kind, found.value) == ("idle-agent", 0.0)


def test_few_pairs_of_thoughts_say_nothing(make: Make) -> None:
    alike = [make(thoughts=("sort the list", "sort the list"), by=name) for name in ("ann", "bob") * 5]
    (found,) = diagnose(alike)
    assert (found.kind, found.value) == ("similar-thoughts", 1.0)
    assert diagnose(alike[1:]) == ()


def test_searches_of_which_few_are_flat_converge(make: Make) -> None:
    flat = [make(rewards=(0.5, *[0.0] * 5), solved=False) for _ in range(4)]
    better = [make(rewards=(*[0.0] * 5, 0.5), solved=False) for _ in range(5)]
    assert kinds(flat) == set()
    assert kinds(flat + better) == set()
    assert kinds(flat + better[:4]) == {"flat"}
