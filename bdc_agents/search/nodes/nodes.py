"""The nodes of the search graph: each reads the state, calls one stage, and writes what changed.

This is the one place where the effects (agents, sandbox, clock) meet the pure stages.
"""

from asyncio import gather
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from langgraph.types import Overwrite

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.data.jsonl import read_problem
from bdc_agents.errors import ProblemError
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.choice.agreement import confirmed
from bdc_agents.search.choice.inputs import further_inputs
from bdc_agents.search.choice.llm_judge import judge_calls, judged_reward, read_score
from bdc_agents.search.choice.self_tests import agree, read_tests, self_test_calls
from bdc_agents.search.choice.split import read_expected, settled, votes
from bdc_agents.search.context import read_context
from bdc_agents.search.events import Started
from bdc_agents.search.nodes.attempts import (
    asked,
    attempts_of,
    credited,
    in_vain,
    told,
    unanswered,
    with_repairs,
)
from bdc_agents.search.nodes.backpropagate import backpropagate, close
from bdc_agents.search.nodes.boost import Draft, boost_calls, read_draft
from bdc_agents.search.nodes.execute import compare, evaluate, execute, missed, program_key
from bdc_agents.search.nodes.expand import add_children, interleave, merge_call, read_thoughts
from bdc_agents.search.nodes.finish import assemble
from bdc_agents.search.nodes.start import check_premises
from bdc_agents.search.policy.beliefs import MENDS, NOTHING, read_beliefs
from bdc_agents.search.policy.moves import Left, Policy, for_a_person, plan, prune_branch
from bdc_agents.search.policy.reflect import can_refine, did_not_help, may_change, prune, refine
from bdc_agents.search.policy.select import can_expand, is_open, select
from bdc_agents.search.resume.history import Link, page_of
from bdc_agents.search.resume.origin import origin_of, with_budget
from bdc_agents.search.review.decisions import asks_of, caps_in_force, what_follows
from bdc_agents.search.review.questions import (
    CAPS,
    Ask,
    Decided,
    ask,
    check_can_ask,
    check_kinds,
    is_vetoed,
    refused,
    unreviewed,
    wished,
)
from bdc_agents.search.round.budget import check_prices, with_caps
from bdc_agents.search.round.calls import Answer, Call, failures, read_each
from bdc_agents.search.round.clock import Clock
from bdc_agents.search.round.plan import Side, stored
from bdc_agents.search.round.round import Round
from bdc_agents.search.round.step import SearchRuntime, Step
from bdc_agents.search.state import Json, SearchState, news, remembering
from bdc_agents.search.stopping import stop_of
from bdc_agents.types import AskedFor, Node, Problem, Program, StoppedBy, Thought, Tree

MOVES_AT_ONCE = 4
"""Moves of a round once direct answers have failed: as many slots as small endpoints have."""
MORE_AFTER, MOST_AT_ONCE = 32, 12
"""After so many programs a round makes as many moves more, up to so many in all: each may end the search, but
the more have failed, the less likely, and super-steps are most of what a long search costs itself. One move
more at a time would leave slots idle: five on four slots take as long as eight."""


class Nodes:
    """The nodes, bound to what they need.

    Args:
        agents: By name; all of them act on the same tree.
        executor: Runs the programs.
        search: Settings where a run's context does not change them.
        budget: Caps, likewise.
        policy: Plans the rounds; None for the one that the settings name.
        interrupt_for: What a person is asked about; see `create_search_graph`.
        link: Gives the address of the page that shows a thread's tree.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        executor: Executor,
        search: SearchConfig,
        budget: Budget,
        policy: Policy | None = None,
        interrupt_for: Sequence[AskedFor] = (),
        link: Link | None = None,
    ) -> None:
        self.policy = policy
        self.interrupt_for = check_kinds(interrupt_for, [*agents], steps_in=link is not None)
        self.link = link
        self.agents = agents
        self.executor = executor
        self.search = search
        self.budget = budget
        self._read_context = remembering(
            partial(read_context, search=search, budget=budget, agents=[*agents])
        )
        self._read_problem = remembering(read_problem)
        self._read_beliefs = remembering(read_beliefs)
        self._clock = Clock()

    def _step(self, state: SearchState, runtime: SearchRuntime, side: Side | None = None) -> Step:
        config, budget = with_caps(*self._read_context(runtime.context), state.get("caps"))
        beliefs = self._read_beliefs(config.beliefs)
        return Step(
            self.agents, config, budget, self._read_problem, state, runtime, self._clock, beliefs, side
        )

    async def start(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Checks the input and plants the root; writes tests where there are none and this is wanted."""
        run = self._step({}, runtime)
        check_can_ask(self.interrupt_for)
        if state.get("problem") is None:
            raise ProblemError(
                'the input names no problem; write {"problem": ...}, as in '
                'graph.ainvoke({"problem": problem}), with a Problem or its fields as a dict'
            )
        problem = given = read_problem(state.get("problem"))
        if not problem.public_tests and run.config.self_tests:
            wanted = self_test_calls(problem, list(run.agents), run.config)
            answers = await run.ask(run.afford(wanted))
            tests = agree(await read_each(read_tests, answers))
            problem = problem.model_copy(update={"public_tests": tests})
        if not problem.public_tests:
            raise ProblemError(
                f"{problem.id}: the problem has no public test, so the search has nothing to aim at; "
                "add one, or let the agents write some with self_tests = true under [search]"
            )
        await check_premises(problem, self.executor)
        _check_prices(run, problem)
        page = page_of(self.link, runtime)
        started = Started(type="started", problem=problem.id, agents=list(run.all_agents))
        if page:
            started["tree_url"] = page
        run.emit(started)
        return {
            **({"tree_url": page} if page else {}),
            "origin": origin_of(given, run.all_agents, run.config, run.budget),
            "problem": problem.model_dump(mode="json"),
            "tree": Overwrite(run.grown(Tree().with_nodes(Node()))),
            "programs": Overwrite({}),
            **{key: Overwrite(value) for key, value in run.settled().items()},
            "credit": {},
            "told": {},
            "unanswered": {},
            "refining": [],
            "expanding": [],
            "full": False,
            "rollouts": 0,
            "best": 0.0,
            "passing": {},
            "split": {},
            "confirmed": False,
            "seconds": Overwrite(run.ended()),
            "tier": self.executor.tier,
            "stopped_by": None,
            **unreviewed(state),
        }

    async def select(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Picks the next leaves beside those to refine, or says what ends the search."""
        run = self._step(state, runtime)
        changes = self._selected(run, state)
        if "budget" in self.interrupt_for and (stop := changes.get("stopped_by")) in CAPS:
            changes["caps"] = caps_in_force(run, stop)
        return changes

    def _selected(self, run: Step, state: SearchState) -> Json:
        refining = state.get("refining", [])
        stop = stop_of(run)
        if stop:
            return _stopped(run, stop)
        if self._by_moves(run):
            return self._select_moves(run)
        places = _places(run) - len(refining)
        first = wished(state)[: max(places, 0)]
        chosen = select(run.tree, run.config, places - len(first), [*refining, *first])
        evaluate = (*first, *chosen.evaluate)
        wanted = (*state.get("expanding", []), *chosen.expand, *_expanded_early(run, evaluate))
        expanding = [leaf for number, leaf in enumerate(wanted) if leaf not in wanted[:number]]
        if not (evaluate or expanding or refining):
            return _stopped(run, "exhausted")
        planned, cut = Round(run).affordable(evaluate, refining, expanding)
        if cut:
            return _stopped(run, cut)
        evaluating, expanding = [*planned.write], [*planned.expand]
        run.emit({"type": "selected", "leaves": [*dict.fromkeys((*evaluating, *expanding))]})
        changes = {
            "evaluating": evaluating,
            "expanding": expanding,
            "plan": stored(planned),
            "drafts": [],
            "stopped_by": None,
        }
        return news(state, changes)

    def _by_moves(self, run: Step) -> bool:
        """Whether rounds are planned as moves, rather than by the published walk."""
        return self.policy is not None or run.config.policy != "paper"

    def _select_moves(self, run: Step) -> Json:
        """Plans a round of moves, or says what ends the search."""
        left, outlook = _left(run), run.outlook()
        moves = for_a_person(wished(run.state), outlook, left)
        if len(moves) < left.count:
            calls = None if left.calls is None else left.calls - len(moves)
            rest = replace(left, count=left.count - len(moves), calls=calls)
            moves += (self.policy or plan)(run.tree, outlook, rest, run.config)
        if not moves:
            return _stopped(run, "exhausted")
        planned, cut = Round(run).plan_moves(moves)
        if not planned.calls:  # A question that nothing calls for makes none.
            return _stopped(run, cut or "exhausted")
        run.emit({"type": "selected", "leaves": [*dict.fromkeys(move.node for move in moves)]})
        writing = [move.node for move in planned.moves if move.kind not in (*MENDS, "split")]
        changes = {
            "evaluating": [*dict.fromkeys(writing)],
            "expanding": [*planned.expand],
            "plan": stored(planned),
            "drafts": [],
            "stopped_by": None,
        }
        return news(run.state, changes)

    async def expand(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Asks for thoughts and adds them as children of the leaves."""
        run = self._step(state, runtime, "expand")
        answers = await run.ask(Round(run).thinking())
        read = await read_each(partial(read_thoughts, width=run.config.width), answers)
        malformed = [a for a, thoughts in zip(answers, read, strict=True) if a.reply and not thoughts]
        tree = run.tree
        for leaf in state.get("expanding", []):
            proposals = interleave(
                thoughts for answer, thoughts in zip(answers, read, strict=True) if answer.call.node == leaf
            )
            if run.config.merge and len(proposals) > 1:
                proposals += await _merge(run, leaf, proposals)
            tree = close(add_children(tree, leaf, proposals, run.config), leaf, run.config)
        changes = {
            "tree": run.grown(tree),
            "expanding": list[str](),
            **run.settled(malformed),
            "seconds": run.ended(),
        }
        return news(state, changes)

    async def boost(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Asks for programs for the leaves, for those to refine after a better thought."""
        run = self._step(state, runtime, "boost")
        planned = Round(run)
        writing, refining = planned.writing(), planned.refining()
        # The longer chain goes first, so that its programs are not left to the end of the round.
        (tree, answers, unread), more = await gather(_refined(run, planned, refining), run.ask(writing))
        answers += more
        written = [answer for answer in answers if answer.call.purpose in ("boost", "repair")]
        found = await read_each(partial(read_draft, problem=run.problem), written)
        drafts = [*zip(written, found, strict=True)]
        unread += [answer for answer, draft in drafts if draft and not draft.code]
        split, unclear = await _split(run, answers)
        unread += unclear
        changes = {
            **split,
            "tree": run.grown(tree),
            "drafts": [draft.model_dump() for _, draft in drafts if draft],
            **run.settled(unread),
            "seconds": run.ended(),
        }
        return news(state, changes)

    async def execute(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Runs the programs on the public tests; the mean reward is the value of their leaf.

        Where the time is up, what still runs is killed; what has a verdict by then counts.
        """
        run = self._step(state, runtime)
        drafts = [Draft.model_validate(draft) for draft in state.get("drafts", [])]
        keys = [program_key(draft.code) if draft.code else "" for draft in drafts]
        written: dict[str, Program] = {}
        for key, draft in zip(keys, drafts, strict=True):
            if key:
                written.setdefault(key, Program(code=draft.code, agent=draft.agent))
        fresh = await execute(written, run.programs, run.problem, self.executor, run.deadline)
        _tell(run, fresh)
        judged = await _judge(run, state, fresh)
        leaves = [*state.get("evaluating", []), *state.get("refining", [])]
        run.tree, drafts = with_repairs(run.tree, drafts, keys)
        attempts, passed = attempts_of(run, drafts, keys, fresh)
        tree = run.tree
        missing = in_vain(run, drafts)
        more = [*(draft.node for draft in drafts), *(move.node for move in missing)]
        leaves += [leaf for leaf in dict.fromkeys(more) if leaf not in leaves]
        for leaf in leaves:
            own = [attempt for node, attempt in attempts if node == leaf]
            if own:
                tree = evaluate(tree, leaf, own, judged)
            elif not run.late:
                tree = missed(tree, leaf)
        no_answer = refused(state)
        passed = [key for key in passed if key not in no_answer]
        passing = Counter(state.get("passing", {})) + Counter(passed)
        agreed = state.get("confirmed", False)
        if passed and run.config.confirm > 1 and passing.total() > 1:
            compared = await compare(run.known(passing, fresh), run.problem, self.executor, run.deadline)
            _tell(run, compared)
            fresh |= compared
        if (passed or asked(run)) and not run.late:
            known = run.known(passing, fresh)
            agreed = confirmed(known, passing, run.config.confirm, votes(run.split, known))
            # Without further inputs no other attempt could tell more than the first that passes.
            agreed = agreed or not further_inputs(run.problem)
        changes = {
            "tree": run.grown(tree),
            "programs": {key: program.model_dump(mode="json") for key, program in fresh.items()},
            "credit": credited(run, attempts),
            "told": told(run, drafts, keys, fresh),
            "unanswered": unanswered(run, missing),
            "evaluating": [leaf for leaf in leaves if leaf not in state.get("refining", [])],
            "best": max(
                [
                    state.get("best", 0.0),
                    *(one.reward for _, one in attempts if one.program not in no_answer),
                ]
            ),
            "passing": dict(passing),
            "confirmed": agreed,
            **run.settled(),
            "seconds": run.ended(),
        }
        return news(state, changes)

    async def backpropagate(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Carries the leaves' values up their paths; those that did not help are refined or pruned."""
        run = self._step(state, runtime)
        tree, refined = run.tree, state.get("refining", [])
        solved = run.config.stop_when_solved and state.get("best", 0.0) >= 1
        again, done, due = list[str](), 0, [*state.get("expanding", [])]
        outlook = run.outlook() if self._by_moves(run) else None
        for leaf in (*refined, *state.get("evaluating", [])):
            if tree[leaf].value is None:
                continue
            if outlook:
                tree = prune_branch(backpropagate(tree, leaf, run.config), leaf, outlook, run.config)
                done += 1
                continue
            if did_not_help(tree, leaf) and not solved:
                if leaf not in refined and _can_refine(run, leaf):
                    again.append(leaf)
                    continue
                tree = prune(tree, leaf) if run.config.prune else tree
            tree = close(backpropagate(tree, leaf, run.config), leaf, run.config)
            if not is_vetoed(state, leaf):
                due.append(leaf)
            done += 1
        eager = run.config.expand == "eager"
        due = [leaf for leaf in due if eager and not tree[leaf].expanded and is_open(tree[leaf], run.config)]
        full, run.tree = len(again) >= run.leaves and not stop_of(run), tree
        if outlook:  # Several moves of a round may write programs for one leaf, and each is a rollout.
            done = max(done, len(state.get("drafts", [])))
        changes = {
            "tree": run.grown(tree),
            "evaluating": [],
            "expanding": due,
            "refining": again,
            "plan": stored(Round(run).plan([], again, [])[0]) if full else {},
            "full": full,
            "rollouts": state.get("rollouts", 0) + done,
            "seconds": run.ended(),
        }
        return news(state, changes)

    async def review(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Asks a person, and does what they decided. Nothing before the answer costs anything."""
        return await self._decided(state, runtime, ask)

    async def _decided(
        self, state: SearchState, runtime: SearchRuntime, answer: Callable[[Sequence[Ask]], list[Decided]]
    ) -> Json:
        """What changes by the answers to what waits; nothing where nothing does."""
        run = self._step(state, runtime)
        asks = asks_of(run, self.interrupt_for)
        if not asks:
            return {}
        changes = await what_follows(run, answer(asks), self.executor)
        self._clock.ended(state.get("seconds", 0.0))  # A person's time is none of the search's.
        return news(state, changes)

    async def finish(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Hands over the program with the highest public reward."""
        run = self._step(state, runtime)
        solution = assemble(state, run.config.skills, run.budget)
        run.emit({"type": "finished", "solution": solution.model_dump(mode="json")})
        origin = with_budget(state.get("origin", {}), run.budget)
        return {"origin": origin, "solution": solution.model_dump(mode="json")}


def _check_prices(run: Step, problem: Problem) -> None:
    if run.budget.money is None:
        return
    calls = boost_calls(problem, Tree().with_nodes(Node()), "0", list(run.agents), run.config)
    check_prices(run.budget, ((call.agent, run.agents[call.agent].bound(call.request)) for call in calls))


def _expanded_early(run: Step, evaluating: Sequence[str]) -> list[str]:
    """Leaves that are asked for children while they are evaluated: of those whose thought stays."""
    if run.config.expand != "eager":
        return []
    open_ = [leaf for leaf in evaluating if can_expand(run.tree[leaf], run.config)]
    return [leaf for leaf in open_ if not run.config.refine or not may_change(run.tree[leaf])]


def _places(run: Step) -> int:
    """How many leaves this round may evaluate."""
    left = run.leaves if run.rollouts is None else run.rollouts - run.state.get("rollouts", 0)
    return min(run.leaves, left)


def _stopped(run: Step, reason: str) -> Json:
    run.emit({"type": "stopped", "by": cast("StoppedBy", reason)})
    return {"stopped_by": reason, "seconds": run.ended()}


async def _refined(
    run: Step, planned: Round, refining: Sequence[tuple[Call, Sequence[Call]]]
) -> tuple[Tree, list[Answer], list[Answer]]:
    """Asks for better thoughts, and for programs for each as soon as all are known.

    Returns:
        The tree with the better thoughts, all answers, and those that held no thought.
    """
    tree, unread, calls = run.tree, list[Answer](), list[Call]()
    if not refining:
        return tree, [], []
    answers = await run.ask([call for call, _ in refining])
    read = await read_each(partial(read_thoughts, width=1), answers)
    for (_, held), answer, thoughts in zip(refining, answers, read, strict=True):
        run.release(held)
        leaf = answer.call.node
        for thought in thoughts:
            tree = refine(tree, leaf, thought)
            calls += planned.rewriting(leaf, tree)
        if answer.reply and tree[leaf].refined is None:
            unread.append(answer)
    return tree, [*answers, *await run.ask(run.afford(calls))], unread


async def _split(run: Step, answers: Sequence[Answer]) -> tuple[Json, list[Answer]]:
    """What an agent said of the input on which programs differ, for the state; the answer if it is none."""
    mine = [answer for answer in answers if answer.call.purpose == "split"][:1]
    if not mine or not mine[0].reply or not run.question:
        return {}, []
    [expected] = await read_each(read_expected, mine)
    agent = mine[0].call.agent
    accuracy = run.outlook().chances("split", agent, NOTHING)[-1]
    split = settled(run.question, agent, expected, accuracy)
    return {"split": split.model_dump(mode="json")}, [] if expected else mine


def _left(run: Step) -> Left:
    """What a round of moves may use."""
    calls = None if run.budget.calls is None else run.budget.calls - run.used.calls
    passing = bool(run.state.get("passing"))
    first = not run.tree["0"].evaluations
    tried = run.state.get("rollouts", 0)
    many = min(MOVES_AT_ONCE * (1 + tried // MORE_AFTER), MOST_AT_ONCE)
    count = run.config.leaves or (len(run.agents) if first else 1 if passing else many)
    if run.rollouts is not None:
        count = min(count, run.rollouts - tried)
    doubtful = frozenset(name for name, row in run.state.get("failing", {}).items() if row["rounds"])
    awaits = passing and run.config.stop_when_solved
    divided = awaits and run.question is not None
    return Left(tuple(run.agents), calls, count, awaits, divided, doubtful)


def _can_refine(run: Step, leaf: str) -> bool:
    """Whether a leaf's thought is refined next: once, where the budget has room for it and a program."""
    if not (run.config.refine and can_refine(run.tree[leaf], run.config)) or is_vetoed(run.state, leaf):
        return False
    return bool(Round(run).plan([], [leaf], [])[0].refine)


async def _merge(run: Step, leaf: str, proposals: Sequence[Thought]) -> list[Thought]:
    """One more thought made of all proposals, by the agent that proposed first."""
    call = merge_call(run.problem, run.tree, leaf, proposals, proposals[0].agent, run.config)
    if call.agent in failures(run.answers):
        return []
    answers = await run.ask(run.afford(run.roomy([call])))
    read = await read_each(partial(read_thoughts, width=1), answers)
    return [thought for thoughts in read for thought in thoughts]


async def _judge(run: Step, state: SearchState, fresh: Mapping[str, Program]) -> dict[str, float]:
    """Judged rewards of new programs that pass, where a judge is wanted."""
    if not run.config.judge or not run.agents:
        return {}
    leaf = next(iter(state.get("evaluating", [])), "0")
    calls = judge_calls(run.problem, leaf, fresh, list(run.agents), run.config)
    asked = run.afford(run.roomy([*calls.values()]))
    keys = {call.request.seed: key for key, call in calls.items()}
    answers = await run.ask(asked)
    scores = await read_each(read_score, answers)
    return {
        keys[answer.call.request.seed]: judged_reward(score)
        for answer, score in zip(answers, scores, strict=True)
    }


def _tell(run: Step, programs: Mapping[str, Program]) -> None:
    for key, program in programs.items():
        run.emit({"type": "program", "key": key, "program": program.model_dump(mode="json")})
