"""What replies say, and that nothing of others is a mark of Markdown in them."""

import pytest

from bdc_agents.chat.replies import PATH_SHOWN, code, fence, quoted, safe, show, tree_lines
from bdc_agents.chat.understanding import Known, hear
from bdc_agents.types import Attempt, Node, Solution, Thought, Tree, TreeStats


def deep(depth: int) -> tuple[Solution, Tree]:
    """A tree of one path, at whose end the program stands."""
    nodes = [Node(attempts=(Attempt(program="p", agent="ann", reward=0.5),))]
    for number in range(1, depth + 1):
        last = nodes[-1]
        key = f"{last.id}.0"
        nodes[-1] = last.model_copy(update={"children": (key,)})
        thought = Thought(text=f"step {number}\n- # `x` " + "long " * 200, agent="*bob*")
        nodes.append(Node(id=key, parent=last.id, thought=thought))
    stats = TreeStats(nodes=depth + 1, evaluated=1, pruned=2, refined=0, depth=depth, programs=3, rollouts=3)
    solution = Solution(
        problem_id="p",
        solved=True,
        code="x",
        reward=1,
        agent="ann",
        node=nodes[-1].id,
        stopped_by="solved",
        tree=stats,
    )
    return solution, Tree(patched={node.id: node for node in nodes})


@pytest.mark.parametrize("depth", [0, 1, 4, 5, 6, 8, 40])
def test_the_tree_of_a_reply_has_few_lines(depth: int) -> None:
    text = tree_lines(*deep(depth))
    lines = text.splitlines()
    assert len(lines) <= 15
    assert all(len(line) < 300 for line in lines)
    assert text.count("\u2190 the program") == 1
    assert f"depth {depth}" in lines[-1]
    assert ("nodes between" in text or "node between" in text) == (depth + 1 > PATH_SHOWN)
    assert "`x`" not in text


def test_texts_of_others_stay_in_their_span_and_fence() -> None:
    assert code("a`b\n\x1b[2J") == "`a'b \N{REPLACEMENT CHARACTER}[2J`"
    assert code("  ") == "nothing"
    assert fence("'''\n```\n'''").startswith("````python\n")
    assert safe("[a](http://b) *c* <d> `e`") == r"\[a\](http\://b) \*c\* \<d\> \`e\`"
    assert quoted("www.a.example, b@c.example, $1 to $n") == r"*www\.a.example, b\@c.example, \$1 to \$n*"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Write f. f(2) should be 4", "`f(2)` is `4`"),
        ("Write f. f('a') should raise TypeError", "`f('a')` raises `TypeError`"),
        ("Print the sum. Input: 2 3 Output: 5", "input `2 3` prints `5`"),
        ("A class C.\n>>> c = C()\n>>> c.f()\n1", "after `c = C()`, `c.f()` is `1`"),
        ("Write f.\n```python\nx = f(1)\nassert x > 0\n```", "`x = f(1) assert x > 0`"),
    ],
)
def test_a_test_is_shown_in_a_line(text: str, shown: str) -> None:
    heard = hear([text], Known())
    assert heard.problem
    assert [show(test) for test in heard.problem.public_tests] == [shown]
