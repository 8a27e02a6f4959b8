"""The result of a search: `Usage`, `Solution`, `Trace`, and what a stored trace adds to them."""

from typing import Any, Literal

from pydantic import Field

from bdc_agents.types.base import Count, Frozen, Number
from bdc_agents.types.problem import Problem
from bdc_agents.types.program import Program, Verdict
from bdc_agents.types.tree import Move, Node


class Usage(Frozen):
    """The usage of an agent's calls.

    A cached reply counts its original tokens and cost, so that a re-run searches the same tree;
    `saved` is the part of `cost` that was not charged again. Costs are in US dollars, None if no price
    is known.

    Args:
        calls: Requests that an LLM answered or may have answered: an empty, damaged or late reply is paid
            for too. A refused request, as with status 429, does not count.
        cached: Calls that were answered from the cache.
        failed: Requests that failed, including those that were retried.
        malformed: Replies that held nothing of use.
        truncated: Replies that were cut off at their token limit.
        misreported: Replies whose endpoint reported impossible counts, which were corrected.
        excess: Completion tokens beyond the limit that the endpoint was sent.
        seconds: Time spent waiting for replies.
    """

    calls: Count = 0
    cached: Count = 0
    failed: Count = 0
    malformed: Count = 0
    truncated: Count = 0
    misreported: Count = 0
    excess: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cost: Number | None = None
    saved: Number = 0.0
    seconds: Number = 0.0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        mine, theirs = self.__dict__, other.__dict__
        cost = None if self.cost is None and other.cost is None else (self.cost or 0) + (other.cost or 0)
        return Usage(**{key: mine[key] + theirs[key] for key in mine if key != "cost"}, cost=cost)


StoppedBy = Literal[
    "solved", "rollouts", "calls", "tokens", "money", "seconds", "exhausted", "agents", "interrupted"
]


class TreeStats(Frozen):
    """The shape of a finished search tree."""

    nodes: Count
    evaluated: Count
    pruned: Count
    refined: Count
    depth: Count
    programs: Count
    rollouts: Count


class Solution(Frozen):
    """The answer of a search: the program with the highest public reward, and how it came about.

    Args:
        solved: Whether the program passes every public test.
        confirmed: Whether enough passing attempts agree on further inputs; None if none were compared:
            only one passed, or no further input could be made.
        stopped_by: What ended the search; `exhausted` means that no node was left to select, `agents`
            that no agent answered any more, `interrupted` that it did not end.
        usage: Usage by agent.
        set_aside: Why an agent was taken out of the search, by agent.
        notes: Other remarks, such as on requests that failed and replies that were cut off.
        matrix: Mean reward by author of the last thought, then by coder; the author of a
            direct answer is the empty string.
    """

    problem_id: str
    solved: bool
    code: str
    reward: Number
    agent: str | None = None
    node: str | None = None
    verdict: Verdict | None = None
    confirmed: bool | None = None
    stopped_by: StoppedBy
    usage: dict[str, Usage] = {}
    set_aside: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    tree: TreeStats
    matrix: dict[str, dict[str, Number]] = {}
    tier: str = ""
    seconds: Number = 0.0

    @property
    def unconfirmed(self) -> bool:
        """Whether a program passes every public test, and the search ended before it was confirmed."""
        return self.solved and not self.confirmed and (self.confirmed is False or self.stopped_by != "solved")


class Hidden(Frozen):
    """How a program did on the hidden tests: counts alone, never what the tests are."""

    passed: int = Field(ge=0)
    total: int = Field(ge=0)

    @property
    def all_passed(self) -> bool:
        """Whether there were hidden tests and none failed."""
        return 0 < self.total == self.passed


class Decision(Frozen):
    """Whether a trace may be trained on, and why not.

    Args:
        kept: Whether it may be trained on.
        reasons: Why not, by the names of `bdc_agents.runs.REASONS`; empty if it is kept.
        hidden: Counts of the hidden tests; None if the problem has none.
        right: Keys of the programs that may be trained on, since they pass every public and hidden test;
            the handed-over one first if it is among them. Empty if only that one was tested.
    """

    kept: bool
    reasons: tuple[str, ...] = ()
    hidden: Hidden | None = None
    right: tuple[str, ...] = ()


class Lineage(Frozen):
    """The origin of a trace, so that records alone tell two runs apart.

    Args:
        dataset: Address of the data set, such as `mbpp:train`.
        models: The model behind each agent, by the agent's name.
        prompts: Hash of the prompts.
        settings: Hash of the settings of the search, its budget and its agents.
        seed: Seed of the search.
        package: Version of this package.
        hidden: Hash of the hidden tests that scored it; empty if there were none, or an older version made
            the trace.
    """

    dataset: str = ""
    models: dict[str, str] = {}
    prompts: str = ""
    settings: str = ""
    seed: int = 0
    package: str = ""
    hidden: str = ""


class CallRecord(Frozen):
    """One call of an LLM in a search.

    Args:
        order: Of the calls as they were planned, from 0.
        purpose: What it asked for: thoughts (`expand`, `merge`, `refine`), a program (`boost`), a diagnosis
            and a program (`repair`), a rating (`judge`), tests (`tests`), the expected output on an input on
            which programs that pass differ (`split`).
        node: Where it started.
        move: The move it was planned as, with the gain that was believed of it; None for other calls.
        prompt: Hash of its messages.
        seed: Its seed, as sent to endpoints that take one.
        error: Why no reply came; empty where one did.
        unread: Why nothing of use was found in the reply; empty where something was.
        said: The beginning and the end of such a reply.
    """

    order: Count
    agent: str
    purpose: str
    node: str
    move: Move | None = None
    prompt: str
    seed: Count
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cost: Number | None = None
    seconds: Number = 0.0
    cached: bool = False
    error: str = ""
    unread: str = ""
    said: str = ""


class Split(Frozen):
    """What an agent said on the input on which programs that pass differ most.

    Args:
        input: As the agent read it.
        place: Of the input among the further ones: that of its hash in a program's `behaviour`.
        expected: The output as the agent told it; empty where the reply held none.
        answers: The programs that passed then by what they gave there, as in `behaviour`.
        fits: The one of `answers` that was expected; empty for none of them.
        weight: How many attempts the answer counted for.
    """

    input: str
    place: Count
    agent: str
    expected: str = ""
    answers: dict[str, tuple[str, ...]] = {}
    fits: str = ""
    weight: Number = 0.0


AskedFor = Literal["thoughts", "accept", "budget"]
"""What a person is asked about: new thoughts, the program that is to be handed over, more budget."""


class Review(Frozen):
    """One decision of a person in a search.

    Args:
        asked: What it was about.
        decision: As the person sent it.
        by: Who decided, as the author of thoughts and programs.
        node: The thought, or where the program was written.
        program: Key of the program that was to be handed over.
        text: The thought, remark or reason that the person wrote.
        rollouts: Leaves that were evaluated by then.
        refuses: Keys of programs that are no answer from then on.
        accepts: Key of the program that the person takes as the answer.
        caps: Those that hold from then on, by name, where it was about the budget.
    """

    asked: AskedFor
    decision: Literal["approve", "edit", "reject", "respond"]
    by: str = "person"
    node: str = ""
    program: str = ""
    text: str = ""
    rollouts: Count = 0
    refuses: tuple[str, ...] = ()
    accepts: str = ""
    caps: dict[str, Number] = {}


class Trace(Frozen):
    """A finished search as data, which all views and later stages read.

    Args:
        version: Version of this format.
        calls: Every call in the order of the plan; empty in version 1.
        beliefs: What moves gave in this search, as the fields of `Beliefs`; empty in version 1.
        split: What an agent was asked where programs that pass differ; None where nobody was.
        reviews: What a person decided, in order; empty where nobody was asked.
        settings: The search settings, agents and seed that produced it.
        nodes: Every node of the tree, parents first.
        programs: Programs by the keys that the nodes' attempts name.
        decision, lineage: None for a search of a single problem.
    """

    version: Literal[1, 2] = 2
    problem: Problem
    solution: Solution
    nodes: tuple[Node, ...] = Field(fail_fast=True)
    programs: dict[str, Program]
    calls: tuple[CallRecord, ...] = Field(default=(), fail_fast=True)
    beliefs: dict[str, dict[str, tuple[Number, ...]]] = {}
    split: Split | None = None
    reviews: tuple[Review, ...] = ()
    settings: dict[str, Any] = {}
    created: str = ""
    package: str = ""
    decision: Decision | None = None
    lineage: Lineage | None = None
