"""A round of the search: its plan is made from the state and the budget, and then followed by its steps."""

from collections.abc import Callable, Sequence
from functools import cached_property

from bdc_agents.search.choice.split import split_call
from bdc_agents.search.nodes.boost import boost_calls, move_calls
from bdc_agents.search.nodes.expand import expand_calls
from bdc_agents.search.policy.reflect import refine_call
from bdc_agents.search.review.questions import vetoed
from bdc_agents.search.round.budget import Account, caps_on_calls
from bdc_agents.search.round.calls import Call
from bdc_agents.search.round.plan import Plan, Side, Want, afford, names, shares
from bdc_agents.search.round.step import Step
from bdc_agents.types import Move, Tree


class Round:
    """The calls of a round.

    Args:
        step: The step that plans it, or that follows its plan.
    """

    def __init__(self, step: Step) -> None:
        self.step = step

    # --- making the plan --------------------------------------------------------------------

    def plan(
        self, evaluating: Sequence[str], refining: Sequence[str], expanding: Sequence[str]
    ) -> tuple[Plan, str | None]:
        """The plan within the budget, and the cap that left something out of it.

        A thought is asked for only where a program can still be written for it.

        Args:
            evaluating, refining, expanding: Leaves that need programs, a better thought, and
                children.
        """
        wants = [Want(call) for leaf in evaluating for call in self.programs_for(leaf)]
        wants += [want for leaf in refining for want in self._refinement(leaf)]

        def children(boosts: Sequence[Call]) -> list[Want]:
            return [
                Want(call, () if boosts else self._program(leaf))
                for leaf in expanding
                for call in self._thoughts_for(leaf)
            ]

        boosts, expands, caps, cut = self._divided(wants, children)
        refine = {call.node: call.agent for call in boosts if call.purpose == "refine"}
        plan = Plan(
            write=names(boosts, "boost"),
            refine=refine,
            rewrite={leaf: tuple(self._writers(leaf)) for leaf in refine},
            expand=names(expands, "expand"),
            caps=caps,
        )
        return plan, cut

    def plan_moves(self, moves: Sequence[Move]) -> tuple[Plan, str | None]:
        """The moves within the budget, and the cap that left one out.

        Thoughts are asked for only where a program can still be written for one of them.
        """
        wants = [Want(call) for call in self.moving([move for move in moves if move.kind != "think"])]

        def thoughts(boosts: Sequence[Call]) -> list[Want]:
            return [
                Want(call, () if boosts else tuple(self.programs_for(move.node, [move.agent])))
                for move in moves
                if move.kind == "think"
                for call in self._thoughts_for(move.node, [move.agent])
            ]

        boosts, expands, caps, cut = self._divided(wants, thoughts)
        written = tuple(call.move for call in boosts if call.move)
        return Plan(moves=written, expand=names(expands, "expand"), caps=caps), cut

    def _divided(
        self, wants: Sequence[Want], thoughts: Callable[[Sequence[Call]], Sequence[Want]]
    ) -> tuple[list[Call], list[Call], dict[Side, dict[str, float]], str | None]:
        """What the budget carries of the calls of `boost` and of `expand`, which run side by side.

        Args:
            wants: Calls of `boost`.
            thoughts: Gives the calls of `expand` for those of `boost` that fit.

        Returns:
            Both sides' calls, the caps on each where both have some, and the cap that left one out.
        """
        step, caps = self.step, caps_on_calls(self.step.budget)
        account = Account(caps, step.used)
        before = account.used
        boosts, cut = afford(wants, step.agents, account)
        between = account.used
        expands, also_cut = afford(thoughts(boosts), step.agents, account, one_for_all=True)
        sides = shares(caps, before, between.plus(before, -1), account.used.plus(between, -1))
        return boosts, expands, sides if caps and boosts and expands else {}, also_cut or cut

    def moving(self, moves: Sequence[Move]) -> list[Call]:
        """The calls of moves that write programs, and of the one that asks which output is right."""
        step = self.step
        writing = [move for move in moves if move.kind != "split"]
        calls = move_calls(step.problem, step.tree, writing, step.programs, step.config, step.made)
        if asked := step.question:
            asking = [move for move in moves if move.kind == "split"]
            calls += [split_call(step.problem, asked, move, step.config) for move in asking]
        return step.roomy(calls)

    def affordable(
        self, evaluating: Sequence[str], refining: Sequence[str], expanding: Sequence[str]
    ) -> tuple[Plan, str | None]:
        """The plan, and the cap that ends the search where there is room for nothing.

        Where the budget carries no thought with a program for it, it may carry one more direct answer.
        """
        plan, cut = self.plan(evaluating, refining, expanding)
        if plan.calls or not cut:
            return plan, None
        if self.step.config.resample and self.step.tree["0"].value is not None:
            plan, _ = self.plan(["0"], refining, [])
        return plan, None if plan.calls else cut

    def _writers(self, leaf: str) -> list[str]:
        """Who is asked for programs at a leaf, once for each program."""
        return self.step.choose(leaf) * self.step.config.programs_per_agent

    def _refinement(self, leaf: str) -> list[Want]:
        call = self._refine_call(leaf, self.step.choose(leaf, "author"))
        return [Want(call, self._program(leaf))] if call else []

    def _program(self, leaf: str) -> tuple[Call, ...]:
        """One program for a leaf, as a measure of what one takes."""
        return tuple(self.programs_for(leaf, self._writers(leaf)[:1]))

    # --- following it: every call is reserved -----------------------------------------------

    @cached_property
    def _planned(self) -> Plan:
        return self.step.plan

    def writing(self) -> list[Call]:
        """The planned calls for programs; a leaf that the state was edited to name is asked for, too."""
        step, leaves = self.step, self._planned.write.items()
        calls = step.held([call for leaf, names in leaves for call in self.programs_for(leaf, names)])
        calls += step.held(self.moving(self._planned.moves))
        planned = {*self._planned.write, *(move.node for move in self._planned.moves)}
        others = [leaf for leaf in step.state.get("evaluating", []) if leaf not in planned]
        return calls + step.afford([call for leaf in others for call in self.programs_for(leaf)])

    def thinking(self) -> list[Call]:
        """The planned calls for children; a program for one of them is held where none is written beside."""
        leaves = self._planned.expand.items()
        calls = self.step.held([call for leaf, names in leaves for call in self._thoughts_for(leaf, names)])
        if calls and not (self._planned.write or self._planned.refine or self._planned.moves):
            self.step.held(self._program(calls[0].node))
        return calls

    def refining(self) -> list[tuple[Call, list[Call]]]:
        """The planned calls for better thoughts, each with the call for a program that is held for it."""
        found: list[tuple[Call, list[Call]]] = []
        for leaf, agent in self._planned.refine.items():
            if call := self._refine_call(leaf, [agent]):
                program = self.programs_for(leaf, self._planned.rewrite.get(leaf, ())[:1])
                found += [(one, self.step.held(program)) for one in self.step.held([call])]
        return found

    def rewriting(self, leaf: str, tree: Tree) -> list[Call]:
        """The planned calls for programs for a better thought, which `tree` has."""
        return self.programs_for(leaf, self._planned.rewrite.get(leaf, ()), tree)

    # --- the calls of one leaf --------------------------------------------------------------

    def programs_for(
        self, leaf: str, writers: Sequence[str] | None = None, tree: Tree | None = None
    ) -> list[Call]:
        """The calls for a leaf's programs."""
        step = self.step
        asked = self._writers(leaf) if writers is None else writers
        return step.roomy(boost_calls(step.problem, tree or step.tree, leaf, asked, step.config))

    def _refine_call(self, leaf: str, agents: Sequence[str]) -> Call | None:
        step = self.step
        call = refine_call(step.problem, step.tree, leaf, step.programs, agents, step.config)
        return step.roomy([call])[0] if call else None

    def _thoughts_for(self, leaf: str, agents: Sequence[str] | None = None) -> list[Call]:
        step = self.step
        asked = step.choose(leaf, "author") if agents is None else agents
        no = vetoed(step.state)
        return step.roomy(expand_calls(step.problem, step.tree, leaf, step.programs, asked, step.config, no))
