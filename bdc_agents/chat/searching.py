"""The search in a conversation: it goes on from the tree of earlier messages, and tells how it goes."""

from collections import Counter
from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables.config import RunnableConfig, set_config_context
from langgraph.config import get_config
from langgraph.graph.message import push_message
from langgraph.types import Overwrite

from bdc_agents.chat.proposing import ASKED, usable
from bdc_agents.chat.replies import names
from bdc_agents.chat.state import Progress
from bdc_agents.search.choice.agreement import confirmed
from bdc_agents.search.choice.inputs import further_inputs
from bdc_agents.search.choice.self_tests import read_tests, self_test_calls
from bdc_agents.search.nodes.execute import compare, execute
from bdc_agents.search.nodes.nodes import Nodes
from bdc_agents.search.resume.origin import origin_of
from bdc_agents.search.resume.rejudge import passing_of, rejudged
from bdc_agents.search.review.decisions import asks_of
from bdc_agents.search.review.questions import (
    Ask,
    Decided,
    HITLDecision,
    ask,
    awaits,
    read_decisions,
    refused,
    vetoed,
)
from bdc_agents.search.round.calls import read_each
from bdc_agents.search.round.plan import Plan
from bdc_agents.search.round.step import SearchRuntime, Step
from bdc_agents.search.state import Json, SearchState, merge_nodes, news
from bdc_agents.types import Problem, Program, TestCase, Tree
from bdc_agents.view.text import plural

_OF_THIS_TURN = ("usage", "calls", "failing", "set_aside", "room")


class SearchingNodes(Nodes):
    """The search's nodes, which start from the tree in the state where there is one."""

    def settings(self, state: SearchState, runtime: SearchRuntime) -> Step:
        """A step that tells the settings, agents and budget of the run."""
        return self._step(state, runtime)

    async def propose(
        self, problem: Problem, state: SearchState, runtime: SearchRuntime
    ) -> tuple[dict[str, list[TestCase]], Json]:
        """Asks up to two agents for tests, one call each.

        Returns:
            The tests that can be used, by agent, and what the calls change in the state.
        """
        run = self._step(state, runtime)
        answers = await run.ask(run.afford(self_test_calls(problem, list(run.agents)[:ASKED], run.config)))
        read = await read_each(read_tests, answers)
        proposed = {
            answer.call.agent: usable(tests, problem) for answer, tests in zip(answers, read, strict=True)
        }
        malformed = [one for one in answers if one.reply and not proposed[one.call.agent]]
        return proposed, news(state, {**run.settled(malformed), "seconds": run.ended()})

    def waits_for(self, state: SearchState, runtime: SearchRuntime) -> list[Ask]:
        """What a person is asked about now."""
        kinds = self.interrupt_for
        return asks_of(self._step(state, runtime), kinds) if awaits(state, kinds) else []

    async def decide(
        self, state: SearchState, runtime: SearchRuntime, decisions: Sequence[HITLDecision]
    ) -> Json:
        """Does what a person decided: in a message, or else in what the run is resumed with.

        Args:
            decisions: Those of the message; none where the run waits for them.
        """

        def answer(asks: Sequence[Ask]) -> list[Decided]:
            return read_decisions({"decisions": [*decisions]}, asks) if decisions else ask(asks)

        return await self._decided(state, runtime, answer)

    async def start(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """Plants the root, or goes on from the tree that the state has, with a fresh budget."""
        if state.get("tree"):
            return await self._go_on(state, runtime)
        changes = await super().start(state, runtime)
        # Calls for tests were made before the search, and count.
        kept = {key: Overwrite(state.get(key, {})) for key in _OF_THIS_TURN}
        return {
            **changes,
            **kept,
            "passed": {},
            "outdated": [],
            "seconds": Overwrite(state.get("seconds", 0.0)),
        }

    async def select(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """As in every search, unless a known program has ended it before the first round.

        Then tells who is asked for what, as a round may take minutes.
        """
        if state.get("stopped_by"):
            return {}
        changes = await super().select(state, runtime)
        after = {**state, **changes}
        plan = Plan() if after.get("stopped_by") else Plan.model_validate(after.get("plan") or {})
        if asked := _asked(plan):
            _tell(f"I ask {asked}", runtime)
        return changes

    async def backpropagate(self, state: SearchState, runtime: SearchRuntime) -> Json:
        """As in every search; then tells how far it is."""
        changes = await super().backpropagate(state, runtime)
        grown = merge_nodes(state.get("tree", {}), [changes.get("tree", {})])
        _tell(_how_far({**state, **changes, "tree": grown}), runtime)
        return changes

    async def _go_on(self, state: SearchState, runtime: SearchRuntime) -> Json:
        run = self._step(state, runtime)
        problem = run.problem
        origin = origin_of(problem, run.all_agents, run.config, run.budget)
        tests, checker, wish = (
            _differ(state, origin, f"problem.{name}") for name in ("public_tests", "checker", "statement")
        )
        tests = tests or checker
        changes: Json = {"origin": origin, "rollouts": 0, "stopped_by": None, "tier": self.executor.tier}
        changes |= {
            "evaluating": [],
            "expanding": [],
            "refining": [],
            "drafts": [],
            "plan": {},
            "full": False,
        }
        changes |= {"unanswered": {}}
        if tests or wish:
            changes |= await self._judged_again(run, problem, tests=tests, wish=wish)
        return {**changes, "seconds": run.ended()}

    async def _judged_again(self, run: Step, problem: Problem, *, tests: bool, wish: bool) -> Json:
        """What the known programs are worth now.

        Where one passes all tests the search is over, and confirmed as far as the attempts that there are
        say so: no call is spent on more of them before the person has seen it.

        Args:
            run: The step.
            problem: As it is now.
            tests: Whether its tests changed, so that programs run again.
            wish: Whether its statement changed: tests may not tell whether a program does what is wished,
                so none that was written before counts as an answer.
        """
        known = {key: Program.model_validate(value) for key, value in run.programs.items()}
        fresh: dict[str, Program] = {}
        if tests:
            unrun = {key: Program(code=one.code, agent=one.agent) for key, one in known.items()}
            fresh = await execute(unrun, {}, problem, self.executor, run.deadline)
        known |= fresh
        tree = rejudged(run.tree, known, run.config)
        for node in vetoed(run.state):  # Which no test takes back.
            tree = tree.change(node, pruned=True) if node in tree else tree
        before = run.state.get("passing", {})
        passed = run.state.get("passed", {}) | before
        outdated = {*known} if wish else {*run.state.get("outdated", ())} - before.keys()
        no_answer = refused(run.state) | outdated
        passing = {key: times for key, times in passing_of(tree, passed).items() if key not in no_answer}
        if sum(passing.values()) > 1 and run.config.confirm > 1:
            own = {key: known[key] for key in passing}
            compared = await compare(own, problem, self.executor, run.deadline)
            fresh, known = fresh | compared, known | compared
        own = {key: known[key] for key in passing}
        agreed = bool(passing) and (
            confirmed(own, passing, run.config.confirm) or not further_inputs(problem)
        )
        over = bool(passing) and run.config.stop_when_solved
        if over:
            run.emit({"type": "stopped", "by": "solved"})
        return {
            "tree": run.grown(tree),
            "programs": {key: program.model_dump(mode="json") for key, program in fresh.items()},
            "passing": passing,
            "passed": passed,
            "split": {},  # Asked about an input that was made from the tests before.
            "confirmed": agreed,
            "best": max((one.reward for key, one in known.items() if key not in no_answer), default=0.0),
            "outdated": sorted(outdated),
            "stopped_by": "solved" if over else None,
        }


def _differ(state: SearchState, origin: Mapping[str, object], key: str) -> bool:
    return state.get("origin", {}).get(key) != origin.get(key)


_TO = {
    "answer": "to answer",
    "think": "for thoughts",
    "write": "for a program",
    "repair": "for a repair",
    "rethink": "to try again",
    "split": "which program is right",
}


def _asked(plan: Plan) -> str:
    """Who is asked for what in a round; nothing where nobody is."""
    asked = [(_TO[move.kind], move.agent) for move in plan.moves]
    asked += [(_TO["think"], name) for agents in plan.expand.values() for name in agents]
    asked += [(_TO["write"], name) for agents in plan.write.values() for name in agents]
    asked += [(_TO["think"], name) for name in plan.refine.values()]
    times = Counter(asked)
    told: dict[str, list[str]] = {}
    for (what, name), count in times.items():
        told.setdefault(what, []).append(f"{name} ({count} times)" if count > 1 else name)
    return "; ".join(f"{names(agents)} {what}" for what, agents in told.items())


def _how_far(state: Mapping[str, object]) -> str:
    """One line: how many leaves, how many programs, and the best of them."""
    tree = Tree(state.get("tree"))  # pyright: ignore[reportArgumentType]
    programs = state.get("programs")
    written = len(programs) if isinstance(programs, Mapping) else 0
    best = state.get("best")
    share = f"{best:.0%}" if isinstance(best, float | int) else "0%"
    rollouts = state.get("rollouts")
    after = f"{plural(rollouts, 'rollout')}: " if isinstance(rollouts, int) else ""
    size = f"{plural(written, 'program')} in a tree of {plural(len(tree), 'node')}"
    again = "" if state.get("confirmed") or not state.get("passing") else ", and another is to confirm it"
    return f"{after}{size}; the best passes {share} of the tests{again}"


def _tell(text: str, runtime: SearchRuntime) -> None:
    """Streams a line: as a custom event, and as part of a message that no history keeps."""
    event: Progress = {"type": "progress", "text": text}
    runtime.stream_writer(event)
    if get_config().get("callbacks"):  # Without any nobody streams messages.
        # One id for all lines: clients join chunks of a message.
        chunk = AIMessageChunk(content=f"{text}\n\n", id="search-progress")
        with set_config_context(_of_the_conversation(get_config())) as here:
            here.run(push_message, chunk, state_key=None)


_NAMESPACE = "langgraph_checkpoint_ns"


def _of_the_conversation(config: RunnableConfig) -> RunnableConfig:
    """The config of the step that runs the search: most chat clients see nothing of what subgraphs stream."""
    inner: str = config.get("metadata", {}).get(_NAMESPACE, "")
    outer = inner.rpartition("|")[0] or inner
    return {**config, "metadata": {**config.get("metadata", {}), _NAMESPACE: outer}}
