"""Ideas that were tried are told to those who think on, and what says nothing new makes no node."""

import json

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import SearchConfig
from bdc_agents.search import asolve
from bdc_agents.search.nodes.expand import add_children, expand_calls
from bdc_agents.search.nodes.ideas import COMPARED, SHOWN, repeats, tried, words_of
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Attempt, Node, Problem, Thought, Tree

SORT = "Sort the list, then compare each number with the next one."
CONFIG = SearchConfig()
PAPER = SearchConfig.preset("paper")


def thoughts(*texts: str) -> list[Thought]:
    return [Thought(text=text, agent="ann") for text in texts]


def tree(*children: Node) -> Tree:
    root = Node(children=tuple(child.id for child in children), expanded=1)
    return Tree().with_nodes(root, *children)


def child(number: int, text: str, *rewards: float, **more: object) -> Node:
    made = [Attempt(program=str(n), agent="ann", reward=reward) for n, reward in enumerate(rewards)]
    fields = {"id": f"0.{number}", "parent": "0", "thought": Thought(text=text, agent="ann")}
    return Node(**fields | {"attempts": tuple(made)} | more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("A first step: sort the list and then compare each number to the next.", True),
        ("Another approach is sorting the list, comparing numbers.", True),
        ("Sort the list in descending order, then compare each number with the next one.", False),
        ("Sort.", False),
        ("Keep a dictionary of counts.", False),
    ],
)
def test_a_copy_has_no_word_of_its_own(text: str, again: bool) -> None:
    assert repeats(words_of(text), [words_of(SORT)]) is again


def test_a_loop_is_no_recursion() -> None:
    loop = "Convert the result to a text and sum the digits using a loop."
    assert not repeats(words_of(loop.replace("a loop", "recursion")), [words_of(loop)])


def test_copies_of_siblings_and_of_the_path_make_no_node() -> None:
    grown = add_children(
        tree(child(0, SORT)), "0", thoughts("We can sort the list, compare numbers."), CONFIG
    )
    assert grown["0"].children == ("0.0",)
    grown = add_children(tree(child(0, SORT)), "0.0", thoughts(SORT, "Count them.", "Counting them"), CONFIG)
    assert [grown[key].thought for key in grown["0.0"].children] == thoughts("Count them.")


def test_the_published_walk_leaves_out_what_is_the_same_to_the_letter_alone() -> None:
    proposed = thoughts(SORT.upper(), "We can sort the list, compare numbers.")
    assert add_children(tree(child(0, SORT)), "0", proposed, PAPER)["0"].children == ("0.0", "0.1")


def test_a_diagnosis_of_another_program_is_no_idea_that_was_tried() -> None:
    mended = tree(child(0, SORT, 0.5, mends="key", kind="repair"))
    assert add_children(mended, "0", thoughts(SORT), CONFIG)["0"].children == ("0.0", "0.1")
    assert tried(mended, "0", 2) == ()


def test_agents_that_only_repeat_themselves_are_asked_twice() -> None:
    many = tree(*(child(number, f"Idea number {number}") for number in range(5)))
    once = add_children(many, "0", thoughts("Idea number 3"), CONFIG)
    assert once["0"].expanded - len(once["0"].children) == 1
    twice = add_children(once, "0", [], CONFIG)
    assert twice["0"].expanded - len(twice["0"].children) == 2


def test_the_latest_ideas_are_told_with_the_best_that_came_of_them(problem: Problem) -> None:
    long = "word " * 200
    asked = tree(child(0, SORT, 0.0, 0.5), child(1, long, 0.25), child(2, "Not tried."))
    [call] = expand_calls(problem, asked, "0", {}, ["ann"], CONFIG)
    prompt = str(call.request.messages[-1].content)
    assert f"- tried: {SORT} - 2 of 4 tests passed\n" in prompt
    assert "word - 1 of 4 tests passed" in prompt
    assert len(prompt) < 2 * len(long)
    assert "Not tried" not in prompt
    [call] = expand_calls(problem, asked, "0", {}, ["ann"], PAPER)
    assert "tried" not in str(call.request.messages[-1].content)


def test_a_node_with_many_children_costs_no_more() -> None:
    many = tree(*(child(number, f"Idea number {number}", 0.0) for number in range(200)))
    assert len(tried(many, "0", 4)) == SHOWN
    read = set[str]()

    class Watched(Tree):
        def __getitem__(self, node_id: str) -> Node:
            read.add(node_id)
            return many[node_id]

    tried(Watched(), "0", 4)
    add_children(Watched(), "0", thoughts("Idea number 199"), CONFIG)
    assert len(read) <= COMPARED + 1


async def test_a_search_tells_what_was_tried(problem: Problem) -> None:
    def respond(request: Request) -> str:
        if request.json_schema:
            number = len(agent.requests)
            return json.dumps({"thoughts": [{"thought": f"Plan {number} by rule {n}"} for n in range(2)]})
        return f"```python\ndef double(x):\n    return {len(agent.requests)}\n```"

    agent = ScriptedAgent("ann", respond)
    search = SearchConfig(rollouts=40, refine=False)
    await asolve(problem, [agent], executor=ScriptedExecutor(lambda job: 0.25), search=search)
    prompts = [str(one.messages[-1].content) for one in agent.requests if one.json_schema]
    assert len(prompts) > 1
    assert "tried" not in prompts[0]
    assert any("by rule 1 - 1 of 4 tests passed" in prompt for prompt in prompts[1:])
