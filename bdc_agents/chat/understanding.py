"""What a message means in a conversation: a new problem, more about the one at hand, or an answer.

Everything here is pure: the same messages are understood in the same way. `reading` says what stands in one
message; the rules that tell a new problem from a remark are in `_is_another`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bdc_agents.chat.numbered import by_numbers
from bdc_agents.chat.reading import Said, read_message, starter_name
from bdc_agents.data.doubtful_tests import doubts
from bdc_agents.data.doubtful_values import Named
from bdc_agents.data.jsonl import read_problem, stated_checker
from bdc_agents.data.rows import given
from bdc_agents.data.statement import stated_error
from bdc_agents.errors import ProblemError
from bdc_agents.prompts import with_remark
from bdc_agents.types import Problem, TestCase
from bdc_agents.types.written.asserts import call_of, called_names
from bdc_agents.types.written.forms import read_test

UNNAMED = "solve"
"""The function to write where a message asks for a function and names none."""
YOURS, JSON_GIVEN, CONFIRMED = "in your message", "in your JSON", "proposed by agents, confirmed by you"

HELP = (
    "Tell me what a Python function or program should do, and how to see that it is right. For example:\n\n"
    "> Write `double(n)`, which returns twice n. `double(2)` should be `4`, `double(-3)` should be `-6`.\n\n"
    "Tests may stand in the text, in a code block (`assert`s or a `>>>` session), as `Input: ...` and "
    "`Output: ...`, or the problem may be JSON. Without tests, agents propose some."
)
GO_ON_HELP = (
    'Say what should change, such as "it fails for the empty list" or "without recursion", or give a test, '
    'such as `{call} should be ...`. "Go on" searches on with a fresh budget; another problem starts anew.'
)


@dataclass(frozen=True)
class Waiting:
    """A problem whose tests wait for a person's word.

    Args:
        problem: Without tests.
        tests: What agents proposed.
    """

    problem: Problem
    tests: tuple[TestCase, ...] = ()


@dataclass(frozen=True)
class Known:
    """What the conversation holds before a message.

    Args:
        problem: The one that is searched; None before the first.
        sources: Where each of its public tests is from.
        waiting: Tests to confirm, if any.
    """

    problem: Problem | None = None
    sources: tuple[str, ...] = ()
    waiting: Waiting | None = None


@dataclass(frozen=True)
class Heard:
    """What a message means.

    Args:
        does: `search` a problem, have agents `propose` tests for it, or `say` something alone.
        text: What is said.
        problem: The problem as it is now.
        begins: Whether it is another one than before.
        resumes: Whether it is the one that waited for tests.
        remark: A wish in words, which is part of the statement now.
        sources: Where each public test is from.
        notes: What was not understood, or is doubtful.
        waiting: Tests that are still to be confirmed, or to be written in a form that can be read.
        plain: Whether the text is no Markdown: an error that quotes the message.
    """

    does: Literal["search", "propose", "say"]
    text: str = ""
    problem: Problem | None = None
    begins: bool = False
    resumes: bool = False
    remark: str = ""
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    waiting: Waiting | None = None
    plain: bool = False


def hear(texts: Sequence[str], known: Known) -> Heard:
    """What some messages mean that came one after the other.

    Args:
        texts: Mostly one; all of a conversation where nothing was kept of it.
        known: What the conversation holds before them.
    """
    heard = Heard("say", HELP)
    for number, text in enumerate(texts):
        one = _hear(text, known)
        if one.does == "say":
            keeps = heard.begins or heard.does != "say"
            known = replace(known, waiting=one.waiting or known.waiting)
            heard = heard if number and keeps and not one.begins else one
            continue
        if heard.does == "say" and heard.begins:
            one = replace(one, begins=True, resumes=False)  # It waited for tests within these messages.
        if heard.does != "say" and not one.begins:
            remark = "\n".join(filter(None, (heard.remark, one.remark)))
            one = replace(one, begins=heard.begins, remark=remark)
        heard, known = one, Known(one.problem, one.sources)
    return heard


def _hear(text: str, known: Known) -> Heard:
    """What one message means; a sentence on what to write where it cannot be understood."""
    try:
        about = known.waiting.problem if known.waiting else known.problem
        said = read_message(text, about.entry_point if about else None)
        if known.waiting and (answer := _answer(said, known.waiting)):
            return replace(answer, resumes=answer.does != "say")
        if about and not _is_another(said, about):
            return _more(said, known, about)
        return _new(said)
    except ProblemError as error:
        return Heard("say", _sentence(error), waiting=known.waiting, plain=True)
    except (ValueError, RecursionError, MemoryError, OverflowError, TypeError) as error:
        told = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        text = f"I cannot use this message: {told:.600}.".replace("..", ".")
        return Heard("say", text, waiting=known.waiting, plain=True)


_PLACE = re.compile(r"^[\w .:-]{1,80}?: public_tests\[(\d+)\]:?", re.MULTILINE)


def _sentence(error: ProblemError) -> str:
    told = _PLACE.sub(lambda found: f"test {int(found[1]) + 1}:", str(error))
    told = re.sub(r"^problem: ", "", told, flags=re.MULTILINE)
    return f"I cannot use this yet: {told:.1500}"


# --- a new problem ---------------------------------------------------------------------------------------

_TASK = re.compile(
    r"\b(?:write|implement|create|code|develop|define|build|make|find|return|compute|calculate|print|sort|count|reverse|check"
    r"|given|function|program|class|method|algorithm|solve|determine|convert|parse|generate|need|want|output|read|reads)\w*\b",
    re.IGNORECASE,
)
_FUNCTION = re.compile(r"\b(?:function|method|returns?|lambda|def)\b", re.IGNORECASE)
_PROGRAM = re.compile(
    r"\b(?:stdin|standard input|prints?|reads?|program|script|input|stdout)\b", re.IGNORECASE
)
_FEWEST_WORDS = 4
"""Words below which a message without a name, code and tests is a greeting rather than a problem."""


def _new(said: Said) -> Heard:
    if not said.problem and not said.tests and not said.starter:
        long_enough = len(said.words.split()) >= _FEWEST_WORDS and _TASK.search(said.words)
        asks = _QUESTION.match(said.words) and said.words.endswith("?")
        if asks or not (long_enough or (said.name and _TASK.search(said.words))):
            if said.unread:
                return Heard("say", "I found no test that I can use.\n\n" + _listed(said.unread))
            return Heard("say", HELP)
    problem = problem_of(said)
    source = JSON_GIVEN if said.problem else YOURS
    notes = (*said.unread, *doubts_of(problem))
    if said.unread and not problem.public_tests:
        return Heard("say", _unread(said), problem, begins=True, waiting=Waiting(problem))
    does = "search" if problem.public_tests else "propose"
    sources = (source,) * len(problem.public_tests)
    return Heard(does, problem=problem, begins=True, sources=sources, notes=notes)


def _unread(said: Said) -> str:
    """Asks for tests that could not be read, before anything is spent on others."""
    asks = 'Write it so and I search, or say "go on without".'
    return f"I could not read a test in your message:\n\n{_listed(said.unread)}\n\n{asks}"


def problem_of(said: Said) -> Problem:
    """The problem that a message states; without tests where it gives none.

    Raises:
        ProblemError: If it cannot be used.
    """
    if said.problem:
        fields = dict(said.problem)
        if said.tests:
            key = "tests" if "tests" in fields else "public_tests"
            fields[key] = [*_as_list(fields.get(key)), *said.tests]
        fields.setdefault("statement", said.words)
        return read_problem({"id": "problem", **fields})
    fields: dict[str, Any] = {
        "id": said.name or "problem",
        "statement": said.text if said.words else _statement(said.name),
        "public_tests": list(said.tests),
        "starter_code": said.starter,
        **stated_checker(said.words),
    }
    if not said.tests:
        fields["entry_point"] = said.name or starter_name(said.starter) or _unnamed(said.words)
        return read_problem(fields)
    problem = _read_or_none(fields) if said.name else None
    if said.name and (problem is None or problem.entry_point is None):
        # Pairs of values call the function that the words name.
        fields["entry_point"] = said.name
    problem = read_problem(fields)
    name = problem.entry_point
    return problem.model_copy(update={"id": name}) if name and not said.name else problem


def _read_or_none(fields: Mapping[str, Any]) -> Problem | None:
    try:
        return read_problem(fields)
    except ProblemError:
        return None


def _as_list(tests: Any) -> list[Any]:
    return [] if tests is None else list(tests) if isinstance(tests, list | tuple) else [tests]


def _statement(name: str | None) -> str:
    return f"Write {name}; its tests show what it does." if name else "Write what the tests show."


def _unnamed(words: str) -> str | None:
    asks_for_program = _PROGRAM.search(words) and not re.search(r"\bfunction\b", words, re.IGNORECASE)
    return UNNAMED if _FUNCTION.search(words) and not asks_for_program else None


def doubts_of(problem: Problem) -> tuple[str, ...]:
    """What is doubtful of a problem's tests, where there are some."""
    named = [Named(f"test {number}", test) for number, test in enumerate(problem.public_tests, 1)]
    return doubts(named, problem, in_words=True) if named else ()


# --- more about the problem at hand ---------------------------------------------------------------------

_FRESH = re.compile(
    r"^\W*(?:(?:ok|okay|now|next|great|thanks|please|and)\W+)*"
    r"(?:(?:a|here is a|here's a|let us try a|try a)\W+)?"
    r"(?:new|another|next|different)\s+(?:problem|task|question|one)\b"
    r"|^\W*(?:start|begin)\s+(?:over|anew|again from)\b",
    re.IGNORECASE,
)
_WRITE = (
    r"^\W*(?:(?:ok|okay|now|next|great|thanks|please|and|then|also|can|could|would|you|i|we|need|want|like|to)\W+)*"
    r"(?:write|implement|create|build|code|develop|make|define)\s+(?:me\s+|us\s+)?"
)
_ANOTHER = re.compile(
    rf"{_WRITE}(?:an?|another|the)\s+(?:[\w-]+\s+){{0,3}}?(?:function|program|class|method|script)\b",
    re.IGNORECASE,
)
_WRITES = re.compile(
    rf"{_WRITE}[`*]*(?:(?:an?|the)\s+)?(?:function\s+|class\s+|method\s+)?[`*]*(?P<name>[A-Za-z_]\w*)[`*]*\s*(?:\(|`|,|that|which|to\b)",
    re.IGNORECASE,
)
_SAME = re.compile(r"\b(?:instead|version|same|variant)\b", re.IGNORECASE)


def _is_another(said: Said, problem: Problem) -> bool:
    """Whether a message states another problem than the one at hand.

    It does where it is JSON with a problem, says so, has tests or code of another function, or asks for
    another function by name.
    """
    if said.problem is not None or _FRESH.search(said.words):
        return True
    called = names_called(said.tests)
    own = problem.defines
    if called:
        return own not in called
    if said.starter:
        return (
            own is not None
            and starter_name(said.starter) not in (own, None)
            and f"def {own}" not in said.starter
        )
    written = _WRITES.search(said.words)
    if said.name and own and written and said.name == written["name"]:
        return said.name not in (own, problem.entry_point)
    mentions_own = own and re.search(rf"\b{re.escape(own)}\b", said.words)
    return bool(_ANOTHER.search(said.words) and not mentions_own and not _SAME.search(said.words))


def names_called(tests: Sequence[Any]) -> set[str]:
    """The functions and classes that tests call by name, builtins apart."""
    import builtins

    found: set[str] = set()
    for test in tests:
        for one in _read(test):
            code = call_of(one) if hasattr(one, "kind") else ""
            setup = getattr(one, "setup", "")
            function = getattr(one, "function", None)
            found |= {name for name in called_names(f"{setup}\n{code}") if not hasattr(builtins, name)}
            found |= {function} if function else set()
    return found


def _read(test: Any) -> list[Any]:
    try:
        return read_test(test, own_checker=False)
    except ValueError:
        return []


_GO_ON = re.compile(
    r"\W*(?:please\W+)?(?:go\s+on|continue|keep\s+going|try\s+(?:again|more|harder)|search\s+(?:on|more|again)|more|again|retry)"
    r"(?:\W+please|\s+searching)?\W*",
    re.IGNORECASE,
)
_SMALL_TALK = re.compile(
    r"\W*(?:(?:hi|hello|hey|thanks?|thank|you|very|much|great|good|nice|cool|ok|okay|perfect|wow|bye|super|well|done|yes|no"
    r"|that|is|it|works|awesome|job|so|a|lot|approved?|accept(?:ed)?|reject(?:ed)?|all)\b\W*){1,8}",
    re.IGNORECASE,
)
_CONNECTING = frozenset(
    re.findall(
        r"\w+",
        """a actually add added additional again also and another answer are as assert at be but by
        case cases change changed check consider correct corrected correction expect expected
        failing fails fix fixed for from further get given gives have here hold i incorrect instead
        is it its like made mean meant mistake more must my new no not now of one oops output please
        replace result return returns right should sorry still such test tested tests that the then
        there these this to too try typo update use uses value was we were what when where with
        wrong you""",
    )
)
"""Words around tests that say nothing beside them."""


_QUESTION = re.compile(
    r"\W*(?:why|what|who|whose|which|when|where|explain|describe|tell\s+me|how\s+(?:does|do|did|is|are|much|many|long|come))\b",
    re.IGNORECASE,
)
_NO_COMMAND = re.compile(
    r"\W*(?:please\W+)?(?:help|stop|cancel|abort|quit|exit|undo|reset|clear|null|none"
    r"|(?:remove|drop|delete|forget|ignore)\s+(?:all|every|the|these|those)\b.{0,20}\btests?"
    r"|go\s+on\s+without.{0,20}|(?:the\s+)?budget\W.{0,30})\W*",
    re.IGNORECASE,
)
"""What people type who take the chat for a command line: no agent could do anything with it."""
NO_ANSWERS = "I search for programs, and answer no questions about them. "


def _more(said: Said, known: Known, about: Problem) -> Heard:
    """A test or a wish for the problem at hand, or both."""
    waiting = known.waiting
    said, gone = by_numbers(said, () if waiting else about.public_tests)
    if gone and not gone & {*range(1, len(about.public_tests) + 1)}:
        return Heard("say", f"There are tests 1 to {len(about.public_tests)}; which of them is wrong?")
    if _GO_ON.fullmatch(said.words) and not said.tests and not waiting:
        return Heard("search" if about.public_tests else "propose", problem=about, sources=known.sources)
    said, compared = _comparing(said)
    remark = _wish(said, gone)
    asks = _QUESTION.match(said.words)
    judges = said.tests or said.starter or gone or compared
    if not judges and _NO_COMMAND.fullmatch(said.words):
        remark = ""
    if not judges and (not remark or asks or _SMALL_TALK.fullmatch(remark)):
        call = f"{about.defines}(...)" if about.defines else "Input: ... Output: ..."
        told = _waits(waiting) if waiting else GO_ON_HELP.format(call=call)
        text = (NO_ANSWERS if asks else "") + told
        return Heard("say", "\n\n".join(filter(None, (_listed(said.unread), text))), waiting=waiting)
    if said.unread and not (said.tests or said.starter):
        return Heard("say", _unread(said), waiting=waiting)
    problem, sources = with_tests(about, said.tests, known.sources if not waiting else (), gone=gone)
    if gone and not problem.public_tests:
        return Heard("say", "Then there is no test left; give one that is right.")
    if remark:
        problem = problem.model_copy(update={"statement": with_remark(problem.statement, remark)})
    if said.starter:
        problem = problem.model_copy(update={"starter_code": said.starter})
    if compared:
        problem = problem.model_copy(update={"checker": problem.checker.model_copy(update=compared)})
    does = "search" if problem.public_tests else "propose"
    begins = known.problem is None or waiting is not None
    notes = (*said.unread, *doubts_of(problem))
    return Heard(does, "", problem, begins, waiting is not None, remark, sources, notes)


_BESIDE = re.compile(r",|;|\b(?:and|but|also|use|with(?:out)?)\b", re.IGNORECASE)
"""Signs that a sentence says more than which error is allowed."""


def _comparing(said: Said) -> tuple[Said, Mapping[str, Any]]:
    """A message without a sentence that only says which error is allowed, and the checker's fields for it.

    Tests judge by it, and so it is no wish.
    """
    fields = stated_checker(said.words).get("checker", {})
    allowed = stated_error(said.words)
    if allowed and not _BESIDE.search(allowed.sentence):
        said = replace(said, words=said.words.replace(allowed.sentence, "").strip())
    return said, fields


def _wish(said: Said, gone: Collection[int] = ()) -> str:
    """What a message says beside its tests; empty where that is only words such as "it should also be"."""
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", said.words)}
    if said.tests or gone:
        return said.text if words - _CONNECTING else ""
    return said.words if words - _CONNECTING or (words and re.search(r"[\d'\"`]", said.words)) else ""


def with_tests(
    problem: Problem,
    tests: Sequence[Any],
    sources: Sequence[str],
    source: str = YOURS,
    gone: Collection[int] = (),
) -> tuple[Problem, tuple[str, ...]]:
    """The problem with further tests, each in place of one with the same input, if there is one.

    Args:
        problem: With the tests up to now.
        tests: The further ones.
        sources, source: Where those up to now are from, and where the further ones are.
        gone: Numbers of tests, from 1, that are taken out where no further one replaces them.

    Returns:
        The problem, and where each of its tests is from.

    Raises:
        ProblemError: If a test cannot be read.
    """
    if not (tests or gone):
        return problem, tuple(sources)
    fields = problem.model_dump(mode="json", exclude={"public_tests"})
    read = read_problem({**fields, "public_tests": list(tests)}).public_tests if tests else ()
    further = {given(test): test for test in read}
    old: dict[Any, tuple[TestCase, str]] = {}
    for number, (test, own) in enumerate(zip(problem.public_tests, sources, strict=True), 1):
        if number not in gone or given(test) in further:
            old[given(test)] = (test, own)
    for key, test in further.items():
        if key not in old or old[key][0] != test:
            old[key] = (test, source)
    found = problem.model_copy(update={"public_tests": tuple(test for test, _ in old.values())})
    if found.entry_point is None and not problem.public_tests:
        found = read_problem(found.model_dump(mode="json"))  # The tests may name the function.
    return found, tuple(own for _, own in old.values())


# --- an answer to a question ----------------------------------------------------------------------------

_YES = re.compile(
    r"\W*(?:yes|yep|yeah|y|ok|okay|sure|correct|right|fine|good|agreed|confirm(?:ed)?|looks?\s+(?:good|right|fine)"
    r"|(?:they|these|those|all)\s+(?:all\s+)?are\s+(?:right|correct|fine|good)|take\s+(?:them|these))\b\W*"
    r"(?:please|go on|go ahead|thanks)?\W*|\U0001f44d",
    re.IGNORECASE,
)
_BEGINS_YES = re.compile(r"\W*(?:yes|yep|ok|okay|sure|right)\b", re.IGNORECASE)
_WITHOUT = re.compile(
    r"\W*(?:please\W+)?(?:(?:go|carry)\s+on\s+without.*|without(?:\s+(?:any\s+)?tests?)?|no\s+tests?|skip(?:\s+(?:the\s+|them|tests?).*)?)\W*",
    re.IGNORECASE,
)
_NO = re.compile(r"\W*(?:no|nope|wrong|they\s+are\s+wrong)\W*", re.IGNORECASE)
_PICKED = re.compile(
    r"\W*(?:yes\W+)?(?:only|just|keep|take)?\s*(?:tests?\s+)?\d{1,2}(?:\s*(?:,|and|&|\s)\s*\d{1,2})*\W*",
    re.IGNORECASE,
)


def _answer(said: Said, waiting: Waiting) -> Heard | None:
    """What a message says of proposed tests; None where it is about something else."""
    problem, proposed = waiting.problem, waiting.tests
    if said.tests and not _is_another(said, problem):
        kept = proposed if _BEGINS_YES.match(said.words) else ()
        base, sources = with_tests(problem, kept, (), CONFIRMED)
        found, sources = with_tests(base, said.tests, sources)
        return _confirmed(found, sources, said.unread)
    text = said.text
    if proposed and _YES.fullmatch(text):
        return _confirmed(*_chosen(problem, proposed))
    if proposed and _PICKED.fullmatch(text):
        numbers = {int(number) for number in re.findall(r"\d+", text)}
        picked = [test for number, test in enumerate(proposed, 1) if number in numbers]
        if picked:
            return _confirmed(*_chosen(problem, picked))
        return Heard(
            "say", f"There are tests 1 to {len(proposed)}; which of them are right?", waiting=waiting
        )
    if _WITHOUT.fullmatch(text):
        return _unchecked(problem, waiting)
    if _NO.fullmatch(text) or _YES.fullmatch(text):
        call = f"{problem.defines}(...) should be ..." if problem.defines else "Input: ... Output: ..."
        return Heard(
            "say", f'Then write the right ones, such as `{call}`, or "go on without".', waiting=waiting
        )
    return None


def _waits(waiting: Waiting) -> str:
    """What a problem without tests waits for."""
    if waiting.tests:
        return 'I wait for your word on the tests: "yes", the numbers of those that are right, or your own.'
    defines = waiting.problem.defines
    call = f"`{defines}(...) should be ...`" if defines else "`Input: ... Output: ...`"
    return f"I wait for a test, such as {call}" + (', or "go on without".' if defines else ".")


def _chosen(problem: Problem, tests: Sequence[TestCase]) -> tuple[Problem, tuple[str, ...]]:
    return problem.model_copy(update={"public_tests": tuple(tests)}), (CONFIRMED,) * len(tests)


def _confirmed(problem: Problem, sources: tuple[str, ...], unread: Sequence[str] = ()) -> Heard:
    notes = (*unread, *doubts_of(problem))
    return Heard("search", "", problem, begins=True, sources=sources, notes=notes)


UNTESTED = "none: a program only has to load and define the name"


def _unchecked(problem: Problem, waiting: Waiting) -> Heard:
    """A search without tests of what a function gives: it only has to be there."""
    if problem.defines is None:
        text = (
            "A whole program cannot be tried without an example of its input: give one, such as "
            "`Input: 2 3  Output: 5`."
        )
        return Heard("say", text, waiting=waiting)
    code = f"assert callable({problem.defines})"
    found = read_problem({**problem.model_dump(mode="json"), "public_tests": [{"code": code}]})
    return Heard("search", "", found, begins=True, sources=(UNTESTED,))


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
