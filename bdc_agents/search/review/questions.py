"""Review: what a person is asked in a search, how the answer is read, and what follows from it.

The requests are LangChain's `HITLRequest`, the answers its `HITLResponse`, as agent-chat-ui and the SDKs send
them. All of it is plain data and computed from the state, so a search can be asked about again, forked and
resumed at any step.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, cast, get_args

from langgraph.config import get_config
from langgraph.types import interrupt
from pydantic import PlainValidator, ValidationError
from typing_extensions import TypedDict

from bdc_agents.agents.replies.reading import MAX_CHARS
from bdc_agents.errors import ConfigError, UsageError, unknown
from bdc_agents.search.state import Json, SearchState
from bdc_agents.types import AskedFor, Node, Review, Solution, Thought, Tree

PERSON = Review.model_fields["by"].default
"""Who writes what a person sends."""
KINDS: tuple[AskedFor, ...] = get_args(AskedFor)
CAPS = ("calls", "tokens", "money", "seconds", "rollouts")
"""What ends a search that more of it could solve."""
LONGEST_TEXT = 2_000
"""Characters of a thought or remark, which stands in every prompt that follows: some three times what a
thought of an agent may have."""
_CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph's config has the checkpointer of a graph, or of the one around it."""
_MOST = 10**12
"""No cap is larger: it fits the 64 bits of a checkpoint however often it is doubled by hand."""

Type = Literal["approve", "edit", "reject", "respond"]


class Action(TypedDict):
    """What is asked about; LangChain's type of this name."""

    name: str
    args: dict[str, Any]


class ActionRequest(Action):
    """An action with words for a person."""

    description: str


class ReviewConfig(TypedDict):
    """Which decisions an action takes."""

    action_name: str
    allowed_decisions: list[Type]


class HITLRequest(TypedDict):
    """The value of an interrupt."""

    action_requests: list[ActionRequest]
    review_configs: list[ReviewConfig]


class HITLDecision(TypedDict):
    """One decision."""

    type: Type
    edited_action: NotRequired[Action]
    message: NotRequired[str]


class HITLResponse(TypedDict):
    """What a search is resumed with: a decision for each action, in their order."""

    decisions: list[HITLDecision]


class Ask(NamedTuple):
    """One question to a person.

    Args:
        kind: What it is about.
        request: As it is sent.
        allowed: Decisions that it takes.
        node, program: What it is about, in the tree.
        used: What there are caps on, where it is about the budget.
    """

    kind: AskedFor
    request: ActionRequest
    allowed: Sequence[Type]
    node: str = ""
    program: str = ""
    used: Mapping[str, float] = {}


class Decided(NamedTuple):
    """One decision, as it was read.

    Args:
        text: The thought, program, remark or reason.
        caps: What an edit of the budget sets.
    """

    ask: Ask
    type: Type
    text: str = ""
    caps: Mapping[str, float] = {}


def check_kinds(
    kinds: Sequence[str], agents: Sequence[str], *, steps_in: bool = False
) -> tuple[AskedFor, ...]:
    """What a graph interrupts for.

    Args:
        kinds: As `create_search_graph` takes them.
        agents: Names of the agents.
        steps_in: Whether a person may change the tree without being asked.

    Raises:
        ConfigError: If it is no list of names, one is unknown, or an agent has the person's name.
    """
    if isinstance(kinds, str):
        raise ConfigError(f"interrupt_for is a list of names, such as ({kinds!r},), not {kinds!r:.80}")
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(unknown("name in interrupt_for", str(kind), KINDS))
    if (kinds or steps_in) and PERSON in agents:
        raise ConfigError(f"an agent is called {PERSON!r}, as the person who steps in: rename it")
    return tuple(kind for kind in KINDS if kind in kinds)


def check_can_ask(kinds: Sequence[AskedFor]) -> None:
    """Refuses a search that could interrupt and not be resumed, before anything is spent.

    Raises:
        UsageError: If it runs without a checkpointer.
    """
    if kinds and not get_config().get("configurable", {}).get(_CHECKPOINTER):
        raise UsageError(
            "interrupt_for needs a checkpointer, which keeps the search until a person has decided: "
            "graph.compile(checkpointer=InMemorySaver()), or one of SQLite or Postgres"
        )


def unreviewed(state: SearchState) -> Json:
    """What a thread keeps of a search before, made empty; nothing where nobody was asked."""
    empty: Json = {"reviews": [], "caps": {}, "accepted": None}
    return {key: value for key, value in empty.items() if state.get(key) not in (value, None)}


# --- whether something is asked, from the state alone ------------------------------------------------------


def awaits(state: SearchState, kinds: Sequence[AskedFor]) -> AskedFor | None:
    """What a person is asked about next; None where the search goes on, or ends, by itself."""
    stopped = state.get("stopped_by")
    if not stopped:
        return "thoughts" if "thoughts" in kinds and new_thoughts(state) else None
    if state.get("accepted") is not None:
        return None
    if state.get("passing"):
        return "accept" if "accept" in kinds else None
    return "budget" if "budget" in kinds and stopped in CAPS and state.get("caps") else None


def new_thoughts(state: SearchState) -> list[str]:
    """The thoughts that have no program yet and that nobody was asked about, in the order of the tree."""
    asked = {row["node"] for row in state.get("reviews", []) if row["asked"] == "thoughts"}
    found = [key for key, node in state.get("tree", {}).items() if key not in asked and _is_new(node)]
    return sorted(found, key=lambda key: [int(step) for step in key.split(".")])


def _is_new(node: Json) -> bool:
    # The nodes of a large tree are not parsed: this is looked at in every round.
    thought = node.get("thought")
    done = node.get("attempts") or node.get("mends") or node.get("pruned") or node.get("closed")
    return bool(thought) and not done and node.get("value") is None and thought["agent"] != PERSON


def is_vetoed(state: SearchState, node_id: str) -> bool:
    """Whether a person has taken a node out of selection, or one above it."""
    return any(f"{node_id}.".startswith(f"{key}.") for key in vetoed(state))


def wished(state: SearchState) -> list[str]:
    """The thoughts of a person for which no program was asked for yet, the oldest first."""
    tree, found = state.get("tree", {}), list[str]()
    for row in state.get("reviews", []):
        if row["asked"] == "thoughts" and row["decision"] in ("edit", "respond"):
            found += (row["node"], *tree.get(row["node"], {}).get("children", ()))
    return [key for key in dict.fromkeys(found) if key in tree and _is_wished(key, tree)]


def _is_wished(key: str, tree: Mapping[str, Json]) -> bool:
    node, steps = tree[key], key.split(".")
    path = (tree[".".join(steps[: length + 1])] for length in range(len(steps)))
    thought: Json = node.get("thought") or {}
    by_person = thought.get("agent") == PERSON
    return by_person and not node.get("evaluations") and not any(one.get("pruned") for one in path)


def refused(state: SearchState) -> frozenset[str]:
    """Keys of programs that a person does not take as an answer."""
    return frozenset(key for row in state.get("reviews", []) for key in row.get("refuses", ()))


# --- the questions ----------------------------------------------------------------------------------------


def about_thoughts(state: SearchState) -> list[Ask]:
    """A question for each new thought."""
    tree = Tree(state.get("tree"))
    return [about_thought(tree[key]) for key in new_thoughts(state)]


def about_thought(node: Node) -> Ask:
    """The question on one thought."""
    thought = cast("Thought", node.thought)
    description = (
        f"New thought at node {node.id}. Approve: agents may write programs for it. Edit: another text in "
        "its place. Reject: the branch is pruned. Respond: your message continues it as a further thought."
    )
    args = {"text": thought.text, "node": node.id, "agent": thought.agent}  # Forms begin with what is edited.
    request = ActionRequest(name="thought", args=args, description=description)
    return Ask("thoughts", request, get_args(Type), node.id)


def about_program(key: str, solution: Solution) -> list[Ask]:
    """The question whether a program that passes is the answer."""
    results = solution.verdict.results if solution.verdict else ()
    passed = sum(result.outcome == "passed" for result in results)
    description = (
        f"This program passes {passed} of {len(results)} test{'s' * (len(results) != 1)}. Approve: it is the "
        "answer. Edit: yours runs on the tests and is the answer if it passes. Reject: it is no answer, and "
        "the search goes on. Respond: your message goes to the agents, who search on."
    )
    args = {"code": solution.code, "passed": passed, "tests": len(results), "agent": solution.agent or ""}
    request = ActionRequest(name="accept", args=args, description=description)
    return [Ask("accept", request, get_args(Type), solution.node or "0", key)]


def about_budget(state: SearchState, used: Mapping[str, float]) -> list[Ask]:
    """The question whether an unsolved search gets more budget.

    Args:
        state: Of the search, with the caps in force.
        used: By the names of the caps.
    """
    caps = state.get("caps", {})
    description = (
        f"The search has used its {state.get('stopped_by')} and is not solved. Approve: as much again, "
        f"{amounts(as_much_again(caps, used))} in all. Edit: the caps in args, in all. "
        "Reject: the search ends."
    )
    # In words: forms show what is no number or text as JSON.
    args = {**caps, "used": amounts({name: number for name, number in used.items() if number})}
    request = ActionRequest(name="budget", args=args, description=description)
    return [Ask("budget", request, ("approve", "edit", "reject"), used=used)]


def amounts(caps: Mapping[str, float]) -> str:
    """Caps, or what was used of them, in words: 8 calls, 1,233 tokens, 0.5 dollars."""
    units = {"money": "dollar"}
    return ", ".join(
        f"{_number(cap)} {units.get(name, name[:-1])}{'s' * (cap != 1)}" for name, cap in caps.items()
    )


def _number(value: float) -> str:
    """In full: what `g` prints of a million is no word of a person."""
    return f"{int(value):,}" if value == int(value) else f"{round(value, 4):,}"


def as_much_again(caps: Mapping[str, float], used: Mapping[str, float]) -> dict[str, float]:
    """The caps after a person approves more: what was used may be above one, such as that on seconds."""
    return {name: cap + max(cap, used.get(name, 0)) for name, cap in caps.items()}


def ask(asks: Sequence[Ask]) -> list[Decided]:
    """Interrupts the search with the questions; once it is resumed, the decisions.

    Raises:
        UsageError: If it was resumed with something else; it can be resumed again.
    """

    def read(value: Any) -> list[Decided]:
        return read_decisions(value, asks)

    # LangGraph validates before it keeps the value, so a bad one does not stay with the thread.
    schema: Any = Annotated[Any, PlainValidator(read, json_schema_input_type=HITLResponse)]
    try:
        return interrupt(request_of(asks), response_schema=schema)
    except ValidationError as error:
        raise UsageError(str(error.errors()[0].get("ctx", {}).get("error", error))) from None


def request_of(asks: Sequence[Ask]) -> HITLRequest:
    """The questions as the value of one interrupt."""
    return HITLRequest(
        action_requests=[one.request for one in asks],
        review_configs=[
            ReviewConfig(action_name=one.request["name"], allowed_decisions=[*one.allowed]) for one in asks
        ],
    )


# --- the answers: everything in them may be wrong ----------------------------------------------------------


def read_decisions(value: Any, asks: Sequence[Ask]) -> list[Decided]:
    """The decisions of a resume value.

    Raises:
        UsageError: If it is none for these questions; it says what to send.
    """
    sent = cast("dict[str, Any]", value).get("decisions") if isinstance(value, dict) else None
    if not isinstance(sent, list):
        raise UsageError(
            f'resume with {{"decisions": [{{"type": "approve"}}]}}: {_one_for_each(asks)}; '
            f"{_near_key(value) or f'not with {_shown(value)}'}"
        )
    decisions = cast("list[Any]", sent)
    if len(decisions) != len(asks):
        raise UsageError(f"{len(decisions)} decisions came; send {_one_for_each(asks)}")
    return [_read(one, ask, number) for number, (one, ask) in enumerate(zip(decisions, asks, strict=True), 1)]


def _one_for_each(asks: Sequence[Ask]) -> str:
    where = f" at {', '.join(one.node for one in asks[:8])}" if asks and asks[0].kind == "thoughts" else ""
    return (
        f"a list of {len(asks)}, one for each action ({asks[0].request['name']}{where}) in their order, such "
        'as {"type": "approve"}'
    )


def _near_key(value: Any) -> str:
    """That a key is meant to be `decisions`, or that the list in it is missing; empty where neither is."""
    if not isinstance(value, dict):
        return ""
    keys = [key for key in cast("dict[Any, Any]", value) if isinstance(key, str)]
    if "decisions" in keys:
        return f'under "decisions" there is no list, but {_shown(value["decisions"])}'
    near = get_close_matches("decisions", keys, n=1)
    return f'it has "{near[0]}"; did you mean "decisions"?' if near else ""


def _read(sent: Any, ask: Ask, number: int) -> Decided:
    here = f"decision {number} of {ask.request['name']!r}"
    fields = cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}
    given: Any = fields.get("type")
    if given not in ask.allowed:
        what = unknown("type", given, ask.allowed) if isinstance(given, str) else _shown(cast("Any", sent))
        raise UsageError(f'{here}: send {{"type": ...}} with one of {", ".join(ask.allowed)}; {what}')
    if given == "edit":
        return _edit(fields.get("edited_action"), ask, here)
    if given == "respond":
        return Decided(ask, "respond", text_of(fields.get("message"), f"{here}: message"))
    if given == "reject" and fields.get("message"):
        return Decided(ask, "reject", text_of(fields["message"], f"{here}: message"))
    return Decided(ask, given)


def _edit(sent: Any, ask: Ask, here: str) -> Decided:
    action = cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}
    name, known = ask.request["name"], ask.request["args"]
    args = cast("Any", action.get("args"))
    if action.get("name") != name or not isinstance(args, dict):
        form = f'{{"type": "edit", "edited_action": {{"name": "{name}", "args": {{...}}}}}}'
        raise UsageError(f"{here}: send {form}, not {_shown(cast('Any', sent))}")
    args = cast("dict[str, Any]", args)
    for key in args:
        if key not in known and key not in (CAPS if ask.kind == "budget" else ()):
            raise UsageError(f"{here}: {unknown('argument', str(key), known)}")
    if ask.kind == "budget":
        return Decided(ask, "edit", caps=_caps(args, ask, here))
    if ask.kind == "accept":
        return Decided(ask, "edit", text_of(args.get("code"), f"{here}: code", MAX_CHARS, layout=True))
    if args.get("node", ask.node) != ask.node:
        raise UsageError(
            f"{here}: it is about node {ask.node}, not {_shown(args['node'])}; edit its text alone"
        )
    return Decided(ask, "edit", text_of(args.get("text"), f"{here}: text"))


def text_of(sent: Any, here: str, longest: int = LONGEST_TEXT, *, layout: bool = False) -> str:
    """A text of a person, on one line unless its layout matters.

    Raises:
        UsageError: If it is none, empty or too long; `here` says what it is.
    """
    if not isinstance(sent, str) or not sent.strip():
        raise UsageError(f"{here} is a text that is not empty, not {_shown(sent)}")
    if len(sent) > longest:
        raise UsageError(f"{here} has {len(sent):,} characters; up to {longest:,} are read")
    # Halves of characters, which JSON may name, cannot be stored.
    whole = sent.encode("utf-8", "replace").decode()
    return whole if layout else " ".join(whole.split())


def _caps(args: Mapping[str, Any], ask: Ask, here: str) -> dict[str, float]:
    """All caps after an edit; what is null has none any more."""
    known = ask.request["args"]
    caps: dict[str, float] = {name: known[name] for name in CAPS if name in known}
    for name in CAPS:
        if name in args:
            cap = _cap(args[name], name, here)
            caps.pop(name, None)
            caps |= {} if cap is None else {name: cap}
    if not caps:
        raise UsageError(f"{here}: leave one cap, such as {{'calls': 80}}; reject ends the search")
    for name, cap in caps.items():
        if cap <= ask.used[name]:
            used = _number(ask.used[name])
            raise UsageError(
                f"{here}: {name} is {_number(cap)} in all, and {used} are used; send more than that"
            )
    return caps


def _cap(sent: Any, name: str, here: str) -> float | None:
    whole = name not in ("money", "seconds")
    try:
        # Forms send numbers as text.
        number = float(sent) if isinstance(sent, str) and len(sent) < 40 else sent
    except ValueError:
        number = sent
    if sent is None or sent == "":
        return None
    good = isinstance(number, int | float) and not isinstance(number, bool) and 0 < number <= _MOST
    if not good or (whole and number != int(number)):
        what = "a whole number" if whole else "a number"
        raise UsageError(f"{here}: {name} is {what} above 0, or null for no cap, not {_shown(sent)}")
    return int(number) if whole else float(number)


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _MOST:
        return "a number that large"  # Python refuses to write some of them.
    if isinstance(value, str | int | float | None):
        return f"{value!r:.80}"
    if isinstance(value, dict):
        keys = ", ".join(f"{key!r:.20}" for key in [*cast("dict[Any, Any]", value)][:4])
        return f"an object with {keys}" if keys else "an empty object"
    return f"a {type(value).__name__}"


# --- what follows -----------------------------------------------------------------------------------------


def reviewed(tree: Tree, decided: Sequence[Decided]) -> Tree:
    """The tree after decisions on thoughts."""
    for one in decided:
        node = tree[one.ask.node]
        if one.type == "edit":
            tree = tree.change(node.id, thought=Thought(text=one.text, agent=PERSON))
        elif one.type == "reject":
            tree = tree.change(node.id, pruned=True)  # Whatever its siblings are: a person has said so.
        elif one.type == "respond":
            child = Node(
                id=f"{node.id}.{len(node.children)}",
                parent=node.id,
                thought=Thought(text=one.text, agent=PERSON),
            )
            tree = tree.with_nodes(child).change(node.id, children=(*node.children, child.id))
    return tree


def vetoed(state: SearchState) -> dict[str, str]:
    """The nodes that a person has taken out of selection, and why, where they said so."""
    rows = [row for row in state.get("reviews", []) if row["asked"] == "thoughts"]
    return {row["node"]: row.get("text", "") for row in rows if row["decision"] == "reject"}


def caps_after(one: Decided, used: Mapping[str, float]) -> dict[str, float]:
    """The caps in force after a decision on the budget."""
    caps = {name: one.ask.request["args"][name] for name in CAPS if name in one.ask.request["args"]}
    if one.type == "approve":
        return as_much_again(caps, used)
    return dict(one.caps) if one.type == "edit" else caps
