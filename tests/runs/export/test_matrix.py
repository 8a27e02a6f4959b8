"""The author x coder matrix, counted by hand."""

from bdc_agents.runs.export.matrix import Matrix
from bdc_agents.types import Attempt, Node, Problem, Trace


def attempt(agent: str, author: str, reward: float) -> Attempt:
    return Attempt(program="p", agent=agent, author=author, reward=reward)


def trace(problem: str, *nodes: Node) -> Trace:
    """One whose solution and programs the matrix does not read."""
    return Trace.model_construct(problem=Problem(id=problem, statement="x"), nodes=nodes)


ROOT = Node(id="0", value=0.5, attempts=(attempt("a", "", 0.5), attempt("b", "", 0.0)))
CHILD = Node(id="0.1", parent="0", value=None, attempts=(attempt("a", "b", 0.5), attempt("a", "b", 1.0)))
GRANDCHILD = Node(id="0.1.1", parent="0.1", attempts=(attempt("a", "b", 0.25),))


def test_each_program_counts_for_its_author_and_its_coder() -> None:
    rows = [*Matrix.of([trace("one", ROOT, CHILD, GRANDCHILD), trace("two", ROOT)]).rows()]
    assert rows == [
        # A direct answer helps where it passes anything at all.
        {
            "author": "",
            "coder": "a",
            "problems": 2,
            "programs": 2,
            "mean_reward": 0.5,
            "passed": 0,
            "helped": 1,
        },
        {
            "author": "",
            "coder": "b",
            "problems": 2,
            "programs": 2,
            "mean_reward": 0,
            "passed": 0,
            "helped": 0,
        },
        # 0.5 is no better than the parent's; 1.0 is; 0.25 is better than a parent's that has no value yet.
        {
            "author": "b",
            "coder": "a",
            "problems": 1,
            "programs": 3,
            "mean_reward": 1.75 / 3,
            "passed": 1 / 3,
            "helped": 2 / 3,
        },
    ]


def test_without_searches_there_are_no_rows() -> None:
    assert [*Matrix.of([]).rows()] == []
