"""What a conversation's replies say, in Markdown: what was understood, what is asked, what was found.

Texts of agents, programs and persons are hostile here: each is one short line, in a code span or with every
mark of Markdown taken from it, or stands in a fence that it cannot close.
"""

import re
from collections.abc import Mapping, Sequence

from bdc_agents.chat.spoken import RAISES
from bdc_agents.chat.understanding import UNTESTED, Heard, doubts_of
from bdc_agents.config import Budget
from bdc_agents.data.rows import given
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.search.review.questions import CAPS, PERSON, Ask, amounts, as_much_again
from bdc_agents.search.state import Json
from bdc_agents.types import (
    CallTest,
    Node,
    Problem,
    Review,
    Solution,
    StdinTest,
    TestCase,
    TestResult,
    Tree,
    Usage,
)
from bdc_agents.types.names import called, with_short_names
from bdc_agents.types.tests import visible
from bdc_agents.view.text import count, decisions, money, one_line, passes, plural, printable, why_ended

TESTS_SHOWN = 8
NOTES_SHOWN = 6
PATH_SHOWN = 6
"""Nodes of the path in a reply, so that its tree stays below 15 lines."""
THOUGHTS_SHOWN = 12
_LINE = 120
"""Characters of a text of somebody else's in a line."""
_THOUGHT = 600
"""Characters of a thought that a person decides on: as many as an agent may write."""


# --- before the search ----------------------------------------------------------------------------------


def understood(
    heard: Heard,
    agents: Sequence[str],
    budget: Budget,
    rollouts: int | None,
    known: int,
    link: str | None = None,
    before: Sequence[TestCase] = (),
) -> str:
    """What was understood, shown before the budget is spent.

    Args:
        heard: What the message means.
        agents: Who takes part.
        budget: The caps, of which all are unused.
        rollouts: Programs for leaves at most, where that ends the search.
        known: Programs of the tree that the search goes on from.
        link: Address of the page that shows the tree while it grows, if there is one.
        before: The tests up to now.
    """
    problem = heard.problem
    assert problem is not None
    lines = [_opening(heard, problem, known, before)]
    if heard.remark:
        lines.append(f"Your remark goes to the agents: {quoted(heard.remark)}")
    lines.append(_tests(problem, heard.sources))
    if problem.checker.tolerance:
        lines.append(f"Numbers may be off by {problem.checker.tolerance:g}.")
    lines += _notes(heard.notes)
    lines.append(f"Agents: {names(agents)}. Budget: {_budget(budget, rollouts)}.")
    if link:
        lines.append(f"[Watch the tree grow]({link})")
    return "\n\n".join(filter(None, lines))


def _opening(heard: Heard, problem: Problem, known: int, before: Sequence[TestCase] = ()) -> str:
    what = _what(problem)
    if known and heard.begins:
        return f"This is another problem, so I start anew: {what}."
    if heard.begins or not known:
        return f"I understood: {what}."
    if changes := _changes(before, problem.public_tests):
        return f"I {changes}, run the {plural(known, 'known program')} again, and go on: {what}."
    return f"I go on from the tree with its {plural(known, 'program')}: {what}."


def _changes(before: Sequence[TestCase], now: Sequence[TestCase]) -> str:
    """What becomes of the tests, as in "add 2 tests, take 1 test out"; empty where they stay."""
    old, new = ({given(test): test for test in tests} for tests in (before, now))
    changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
    counts = (("add", len(new.keys() - old.keys())), ("change", changed))
    done = [f"{verb} {plural(count, 'test')}" for verb, count in counts if count]
    gone = len(old.keys() - new.keys())
    return ", ".join([*done, f"take {plural(gone, 'test')} out"] if gone else done)


def _what(problem: Problem) -> str:
    if problem.entry_point is None:
        return "a program that reads standard input and prints"
    kind = (
        "the class"
        if problem.is_class
        else "the function"
        if problem.entry_point == problem.defines
        else "the method"
    )
    return f"{kind} {code(problem.entry_point)}"


def _tests(problem: Problem, sources: Sequence[str]) -> str:
    if set(sources) == {UNTESTED}:
        return f"Tests: {UNTESTED}. Nothing will say whether it is right."
    counts = {source: sources.count(source) for source in dict.fromkeys(sources)}
    named = ", ".join(f"{number} {source}" for source, number in counts.items())
    return f"Tests ({named}):\n{listed(problem.public_tests)}"


def listed(tests: Sequence[TestCase]) -> str:
    """Tests as a numbered list, the first of many."""
    lines = [f"{number}. {show(test)}" for number, test in enumerate(tests[:TESTS_SHOWN], 1)]
    more = len(tests) - len(lines)
    return "\n".join([*lines, f"- and {more} more"] if more > 0 else lines)


def show(test: TestCase) -> str:
    """A test in a line."""
    if isinstance(test, StdinTest):
        given = one_line(visible(test.stdin), _LINE)
        return f"input {code(given)} prints {code(one_line(test.expected[0], _LINE))}"
    if isinstance(test, CallTest):
        setup = f"after {code(one_line(test.setup, 60))}, " if test.setup.strip() else ""
        return f"{setup}{code(one_line(test.call, _LINE))} is {code(one_line(test.expected[0], _LINE))}"
    if raised := RAISES.match(test.code):
        return f"{code(one_line(raised[1], _LINE))} raises {code(raised[2])}"
    return code(one_line(test.code, _LINE))


def asking(heard: Heard, agents: Sequence[str], budget: Budget, rollouts: int | None, known: int) -> str:
    """What was understood of a problem without tests; see `understood`."""
    problem = heard.problem
    assert problem is not None
    ask = f"You gave no test. I ask {names(agents)} for some; these calls count in the budget"
    parts = [_opening(heard, problem, known), *_notes(heard.notes), f"{ask} of {_budget(budget, rollouts)}."]
    return "\n\n".join(parts)


def agreed_tests(tests: Sequence[TestCase], agents: Sequence[str]) -> str:
    """That agents agree on tests, which are taken."""
    wrong = 'If one is wrong, say "test 1 is wrong".'
    return f"Tests proposed by {names(agents)}, who agree on them:\n{listed(tests)}\n\n{wrong}"


def question(tests: Sequence[TestCase], proposed: Mapping[str, int]) -> str:
    """Asks a person whether proposed tests are right."""
    by = names([name for name, number in proposed.items() if number])
    why = "" if len(proposed) < 2 else ", but no two agree on one"
    return (
        f"Tests proposed by {by}{why}. Are they right?\n\n{listed(tests)}\n\n"
        'Answer "yes", the numbers of those that are right, a list of your own, or "go on without".'
    )


def no_proposal(
    problem: Problem, proposed: Mapping[str, Sequence[TestCase]], reasons: Mapping[str, str]
) -> str:
    """That nobody could propose a test, or that agents contradict each other on each.

    Args:
        problem: Without tests.
        proposed: Tests that could be run, by agent.
        reasons: Why agents did not answer.
    """
    call = f"{problem.defines}(...) should be ..." if problem.defines else "Input: ... Output: ..."
    without = ', or "go on without"' if problem.defines else ""
    ask = f"such as {code(call)}{without}."
    rivals = [f"- {named(name)}: {show(test)}" for name, tests in proposed.items() for test in tests]
    if rivals:
        told = "\n".join(
            ["Agents contradict each other on the tests that they propose:", *rivals[:TESTS_SHOWN]]
        )
        return f"{told}\n\nGive the right one, {ask}"
    why = "".join(f"\n- {named(name)}: {safe(reason)}" for name, reason in reasons.items())
    return f"No agent proposed a test that I can run. Give one, {ask}{why}"


# --- in the midst of it ---------------------------------------------------------------------------------


def decide(asks: Sequence[Ask]) -> str:
    """What a person is to decide, for clients that show no interrupt."""
    first, kind = asks[0].request["args"], asks[0].kind
    if kind == "thoughts":
        lines = [_thought(number, one.request["args"]) for number, one in enumerate(asks[:THOUGHTS_SHOWN], 1)]
        more = len(asks) - len(lines)
        lines += [f"- and {more} more"] if more > 0 else []
        parts = [f"{plural(len(asks), 'new thought')} before programs are written:", "\n".join(lines)]
    elif kind == "accept":
        tests = f"{first['passed']} of {plural(first['tests'], 'test')}"
        parts = [f"A program of {named(str(first['agent']))} passes {tests}: is it the answer?"]
        parts.append(fence(first["code"]))
    else:
        parts = [f"{asks[0].request['description'].partition(' Approve:')[0]} Is it to have more?"]
    ways = "\n".join(f"- {way}" for way in _ways(asks))
    return "\n\n".join([*parts, "I wait for your decision, by buttons or in words:", ways, _OR_ELSE])


_OR_ELSE = "Or send a test, a wish or another problem instead."


def _thought(number: int, args: Json) -> str:
    by = f"{named(args['agent'])} at node {args['node']}"
    return f"{number}. {by}: {quoted(args['text'], _THOUGHT)}"


def _ways(asks: Sequence[Ask]) -> list[str]:
    """The decisions in words, and what follows."""
    if asks[0].kind == "accept":
        return [
            "`approve`: it is the answer",
            "`edit:` and a code block: your program runs on the tests, and is the answer if it passes",
            "`reject: why`: it is no answer, and the search goes on",
            "`respond: a message`: it goes to the agents, who search on",
        ]
    if asks[0].kind == "budget":
        args = asks[0].request["args"]
        more = as_much_again({name: args[name] for name in CAPS if name in args}, asks[0].used)
        return [
            f"`approve`: as much again, {amounts(more)} in all",
            f"`edit: {amounts({name: 2 * cap for name, cap in more.items()})}`: as much as you say, in all",
            "`reject`: the search ends",
        ]
    ways = [
        "`approve`: agents may write programs for it",
        "`reject 1: why`: its branch is pruned, and whoever thinks on there reads why",
        "`edit 1: another text`: yours takes its place",
        "`respond 1: a message`: it becomes a thought that continues it",
    ]
    if len(asks) == 1:
        return ways
    ways[0] = "`approve`: agents may write programs for all of them"
    return [*ways, "several, as in `reject 1: why; edit 2: another text`: the others are approved"]


def still(text: str, asks: Sequence[Ask]) -> str:
    """An answer to a message that decided nothing, while something waits for a decision."""
    what = {"thoughts": plural(len(asks), "thought"), "accept": "the program", "budget": "the budget"}
    ways = ", ".join(way[: way.index("`", 1) + 1] for way in _ways(asks)[:4])
    return f"{text}\n\nI still wait for your decision on {what[asks[0].kind]}: {ways}."


def decided(reviews: Sequence[Review]) -> str:
    """What a person decided, as it was understood, and what follows."""
    first = reviews[0]
    if first.asked == "thoughts":
        lines = [f"- {line}" for line in map(_about_thought, reviews[:THOUGHTS_SHOWN]) if line]
        return "\n".join([f"You decided: {decisions(reviews)}.", *lines])
    if first.asked == "budget":
        on = f"The search goes on, with {amounts(first.caps)} in all."
        return "You ended the search." if first.decision == "reject" else on
    if first.decision == "edit":
        on = "Your program does not pass, and the search goes on."
        return "Your program passes, and is the answer." if first.accepts else on
    why = f": {quoted(first.text)}" if first.text else ""
    return {
        "approve": "You took the program.",
        "reject": f"You refused the program, and the search goes on{why or '.'}",
        "respond": f"Your message goes to the agents{why}",
    }[first.decision]


def _about_thought(row: Review) -> str:
    what = {"edit": "is now yours:", "reject": "is pruned:", "respond": "goes on with your thought:"}
    return f"node {row.node} {what[row.decision]} {quoted(row.text)}" if row.text else ""


# --- after the search -----------------------------------------------------------------------------------


def found(
    problem: Problem,
    solution: Solution,
    tree: Tree,
    state: Json,
    spent: Mapping[str, Usage],
    link: str | None,
) -> str:
    """The final reply: the program, its verdict, who wrote it, the cost, and the tree.

    Args:
        problem, solution, tree: Of the search.
        state: Its last state.
        spent: What earlier messages about the problem used, by agent.
        link: Address of the tree's page, if there is one.
    """
    heard = state.get("heard", {})
    unchecked = set(heard.get("sources", ())) == {UNTESTED}
    key = program_key(solution.code)
    stale = key in state.get("outdated", ()) and key not in state.get("passing", {})
    parts = [_verdict(problem, solution, unchecked=unchecked, stale=stale, open_=not state.get("confirmed"))]
    if solution.code:
        parts.append(fence(solution.code))
        parts.append(_author(solution, tree))
    if solution.solved and not stale:
        parts.append(_wished(problem, heard.get("remark", "")))
    if not solution.solved:
        parts += [_failure(solution), _help(problem, solution)]
    parts += [_cost(solution, spent), tree_lines(solution, tree)]
    doubts = () if solution.solved else doubts_of(problem)
    names = {*solution.usage, *solution.set_aside}
    aside = (f"{called(name, names)} was set aside: {why}" for name, why in solution.set_aside.items())
    parts += _notes([*doubts, *aside, *(with_short_names(note, names) for note in solution.notes)])
    if link:
        parts.append(f"[The whole tree]({link})")
    return "\n\n".join(filter(None, parts))


def _verdict(problem: Problem, solution: Solution, *, unchecked: bool, stale: bool, open_: bool) -> str:
    passed, total = passes(solution.verdict)
    ended = why_ended(solution.stopped_by) or "the search ended"
    if not solution.code:
        return f"**Not solved**: no program was written; {ended}."
    what = f"{code(problem.entry_point)} " if problem.entry_point else ""
    if unchecked and solution.solved:
        return f"**Not tested**: {what}loads; nothing says whether it is right."
    tests = f"passes {passed} of {plural(total, 'test')}"
    if not solution.solved:
        return f"**Not solved**: the best program {tests}; {ended}."
    if stale:
        return (
            f"**Solved before your remark**: {what}{tests}, but no program that was written since does; "
            "this one may not do what you wish."
        )
    sure = {
        True: "Confirmed: programs that were written apart do the same on further inputs.",
        False: "Not confirmed: the programs that pass do not agree on further inputs.",
        None: "Not confirmed: no other program was compared with it.",
    }[solution.confirmed]
    further = (
        ' Say "go on" to search for one that agrees.' if open_ and solution.confirmed is not True else ""
    )
    return f"**Solved**: {what}{tests}. {sure}{further}"


def _author(solution: Solution, tree: Tree) -> str:
    node = tree[solution.node] if solution.node and solution.node in tree else None
    move = "a program" if node is None else _move(node, solution)
    where = f" at node {node.id}" if node else ""
    by = "you" if solution.agent == PERSON else f"**{named(solution.agent or 'an agent')}**"
    return f"Written by {by}: {move}{where}."


def _wished(problem: Problem, remark: str) -> str:
    """That a wish is not judged, where no test came with it."""
    tested = not remark or (problem.defines and f"{problem.defines}(" in remark)
    return "" if tested else f"No test tells whether it does as you wish: {quoted(remark)}"


def _move(node: Node, solution: Solution) -> str:
    if node.thought is None:
        return "a direct answer"
    if node.mends:
        how = "a repair" if node.kind == "repair" else "another try"
        return f"{how} of a program that failed"
    author = node.thought.agent
    whose = "its own" if author == solution.agent else "yours" if author == PERSON else named(author)
    return f"a program for a thought of {whose}"


def _failure(solution: Solution) -> str:
    failed = solution.verdict.failures if solution.verdict else ()
    return f"First failing test: {_show_failure(failed[0])}" if failed else ""


def _show_failure(result: TestResult) -> str:
    parts = [code(one_line(result.shown, _LINE))]
    if result.error:
        parts.append(f"raised {code(one_line(result.error, _LINE))}")
    elif result.outcome == "wrong":
        parts.append(f"gave {code(one_line(result.actual, _LINE))}")
        if result.expected:
            parts.append(f"and {code(one_line(result.expected, _LINE))} is expected")
    else:
        parts.append(f"ended by {result.outcome}")
    return " ".join(parts) + "."


def _help(problem: Problem, solution: Solution) -> str:
    if solution.stopped_by == "agents":
        return 'No agent answers any more: see why below, mend it, and say "go on".'
    if solution.stopped_by == "exhausted":  # It would end at once again.
        return 'What could help: "new problem:", then the statement once more, with what you know of the way.'
    hints = ['say "go on" for another budget']
    hints.append("say in words what the programs get wrong, or how to do it")
    hints.append("give a smaller test that fails")
    if problem.unjudged:
        hints.append("or a checker, where several answers are right")
    return f"What could help: {'; '.join(hints)}."


def _cost(solution: Solution, spent: Mapping[str, Usage]) -> str:
    used = sum(solution.usage.values(), Usage())
    line = f"{_took(used)}, {solution.seconds:.1f} s"
    before = sum(spent.values(), Usage())
    if before.calls:
        line += f" (since the problem began: {_took(used + before)})"
    by = ", ".join(f"{named(name)} {one.calls}" for name, one in solution.usage.items() if one.calls)
    return f"Cost: {line}." + (f" Calls by agent: {by}." if by else "")


def _took(used: Usage) -> str:
    """Calls, tokens, and money where it is known that some was spent."""
    told = [plural(used.calls, "call"), f"{count(used.tokens)} tokens"]
    # Without the sign: of what stands between two of them, chat clients make a formula.
    return ", ".join([*told, f"{money(used.cost)[1:]} dollars"] if used.cost else told)


def tree_lines(solution: Solution, tree: Tree) -> str:
    """The path to the program and counts, as a Markdown list of a few lines."""
    stats = solution.tree
    lines: list[str] = []
    if solution.node and solution.node in tree:
        path = tree.path(solution.node)
        shown = path if len(path) <= PATH_SHOWN else (path[0], *path[-(PATH_SHOWN - 1) :])
        for number, node in enumerate(shown):
            mark = " **← the program**" if node.id == solution.node else ""
            lines.append(f"{'    ' * number}- {node_line(node)}{mark}")
            left_out = len(path) - len(shown)
            if left_out and number == 0:
                lines[-1] += f" … {plural(left_out, 'node')} between"
    counts = [plural(stats.nodes, "node"), plural(stats.programs, "program"), f"depth {stats.depth}"]
    counts += [f"{stats.pruned} pruned"] if stats.pruned else []
    return "\n".join(["Tree:", "", *lines, f"- in all: {', '.join(counts)}"])


def node_line(node: Node) -> str:
    """A node in a line: who thought what, how many programs there are, and how good the best is."""
    best = max((one.reward for one in node.attempts), default=None)
    worth = f"{plural(len(node.attempts), 'attempt')}, best {best:.0%}" if best is not None else "no attempt"
    if node.thought is None:
        return f"the problem: {worth}"
    who = "you" if node.thought.agent == PERSON else named(node.thought.agent)
    return f"{who}: {quoted(node.thought.text, _LINE)} ({worth})"


# --- texts of others ------------------------------------------------------------------------------------


def code(text: str) -> str:
    """A text in a code span that it cannot leave."""
    text = printable(text).replace("\n", " ").replace("`", "'")
    return f"`{text}`" if text.strip() else "nothing"


def fence(program: str) -> str:
    """A program in a fence that it cannot close."""
    longest = max(map(len, re.findall("`+", program)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}python\n{printable(program).strip()}\n{marks}"


_MARKS = re.compile(r"([\\`*_\[\]<>|#~!$@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""Marks of Markdown, of formulas, and what makes an address a link without any."""


def quoted(text: str, limit: int = 2 * _LINE) -> str:
    """Somebody's sentence in a line, told apart from ours."""
    return f"*{safe(text, limit)}*" if text.strip() else "nothing"


def named(agent: str) -> str:
    """An agent in a line: one that is named by its address by its model alone."""
    return safe(called(agent), 40)


def safe(text: str, limit: int = 2 * _LINE) -> str:
    """A text in a line, in which nothing is a mark of Markdown."""
    return unmarked(one_line(text, limit))


def unmarked(text: str) -> str:
    """A text in which nothing is a mark of Markdown."""
    return _MARKS.sub(r"\\\1", printable(text))


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    shown = [f"- {safe(note)}" for note in notes[:NOTES_SHOWN]]
    more = len(notes) - len(shown)
    return ["Note:\n" + "\n".join([*shown, f"- and {more} more"] if more else shown)]


def names(agents: Sequence[str]) -> str:
    """Agents in a sentence: a, b and c."""
    shown = [named(name) for name in agents]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "nobody"


def _budget(budget: Budget, rollouts: int | None) -> str:
    caps = budget.model_dump(exclude_none=True) | ({"rollouts": rollouts} if rollouts else {})
    return amounts(caps) or "no cap"
