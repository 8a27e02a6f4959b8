"""The search for editors and agents that speak MCP: three tools, whose results are small texts."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import uuid4

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, ValidationError

from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.chat.replies import fence, named, node_line, safe, tree_lines
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import BDCError, UsageError, unknown
from bdc_agents.prompts import trim
from bdc_agents.sandbox import job_for
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.tool import (
    DESCRIPTION,
    ProblemArguments,
    Sandbox,
    Solve,
    Tests,
    doubtful,
    read_task,
    search_by,
    shown_failure,
    without_null,
    wrong_arguments,
)
from bdc_agents.serve.keeping import Keep, keep_trace
from bdc_agents.types import Trace, Tree
from bdc_agents.view.text import passes, plural

KEPT = 32
"""Traces in memory, of which `view_tree` shows one. A trace of 60 programs has some 0.6 MB."""
NODES_SHOWN = 40
"""Nodes of a tree in a result: each is a line of at most 200 characters."""
FAILURES_SHOWN = 5
CODE_MOST = 100_000
"""Characters of a program: more than any agent writes."""

_FIELDS = ProblemArguments.model_fields
Statement = Annotated[str, Field(description=_FIELDS["statement"].description)]
Cases = Annotated[Tests, Field(description=_FIELDS["tests"].description)]
Name = Annotated[str, Field(description=_FIELDS["entry_point"].description)]
Starter = Annotated[str, Field(description=_FIELDS["starter_code"].description)]
Code = Annotated[
    str, Field(description="The program: Python source code.", min_length=1, max_length=CODE_MOST)
]
Search = Annotated[
    str, Field(description="The search, as the result of `solve` names it.", coerce_numbers_to_str=True)
]
Place = Annotated[
    str,
    Field(
        description='A node such as "0.1", for its programs; leave it out for the tree.',
        coerce_numbers_to_str=True,
    ),
]


def create_mcp_server(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    keep: Keep | None = None,
) -> MCPServer[Any]:
    """The search as an MCP server; the caller runs it over stdio or HTTP.

    Its tools: `solve` searches for a program that passes some tests, and tells progress to a client that
    asks for it; `run_tests` runs a program of the client's in the sandbox; `view_tree` shows the tree of an
    earlier `solve`, or one node of it with its programs. A client that cancels `solve` ends the search.

    Args:
        agents: Agents of `load_agents`, or chat models by name.
        executor: Runs the programs; None creates the strongest sandbox of this machine for the first call.
        search: Settings of the search.
        budget: Caps on one search; without any, a search makes 16 rollouts.
        keep: Stores the trace of each search.

    Raises:
        ConfigError: If there is no agent, or two have one name.
    """
    sandbox = Sandbox(executor)
    tools = _Tools(search_by(agents, sandbox, search, budget), sandbox, keep)
    server = _Server(
        "bdc-agents",
        instructions="`solve` writes a Python program that passes your tests; `run_tests` checks one.",
        log_level="ERROR",
    )
    server.add_tool(tools.solve, description=DESCRIPTION)
    server.add_tool(tools.run_tests)
    server.add_tool(tools.view_tree)
    return server


class _Server(MCPServer[Any]):
    """A server that refuses a call which its tools cannot take in words that the calling model can act on."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any] | None = None
    ) -> Any:
        """Calls a tool.

        Raises:
            ToolError: If there is no such tool, an argument is missing, unknown or of another kind, or the
                tool cannot do what is asked.
        """
        tools = {tool.name: tool for tool in self._tool_manager.list_tools()}
        if name not in tools:
            raise ToolError(unknown("tool", name, tools))
        known = tools[name].parameters["properties"]
        given = without_null(arguments)
        unread = [key for key in given if key not in known]
        wrong: ValidationError | None = None
        try:
            tools[name].fn_metadata.validate_arguments(given)
        except ValidationError as error:
            wrong = error
        if wrong or unread:
            raise ToolError(f"{name} was not called: {trim(wrong_arguments(wrong, known, unread), 2000)}")
        return await super().call_tool(name, given, context)


class _Tools:
    """The tools' functions. Their docstrings are what the calling model reads.

    Args:
        search: Searches for a problem.
        sandbox: Runs programs.
        keep: Stores traces.
    """

    def __init__(self, search: Solve, sandbox: Sandbox, keep: Keep | None) -> None:
        self._search, self._sandbox, self._keep = search, sandbox, keep
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    async def solve(
        self,
        statement: Statement,
        tests: Cases,
        ctx: Context[Any],
        entry_point: Name = "",
        starter_code: Starter = "",
    ) -> str:
        """See `DESCRIPTION`."""
        given = {"statement": statement, "tests": tests, "entry_point": entry_point}
        try:
            task = await asyncio.to_thread(read_task, given | {"starter_code": starter_code})
            async with _Progress(ctx) as progress:
                text, artifact = await self._search(task.problem, progress.see)
        except BDCError as error:
            raise ToolError(trim(str(error), 2000)) from error
        trace = Trace.model_validate(artifact)
        name = uuid4().hex[:8]
        self._traces[name] = trace
        while len(self._traces) > KEPT:
            self._traces.popitem(last=False)
        _, why = await keep_trace(self._keep, trace, name) if self._keep is not None else (name, "")
        shown = f'Search "{name}": view_tree shows its tree{f"; {why}" if why else ""}.'
        return "\n".join([text, *doubtful(task), shown])

    async def run_tests(self, code: Code, tests: Cases, entry_point: Name = "") -> str:
        """Runs a Python program on tests in a sandbox without network and files, and tells which fail."""
        try:
            given = {"statement": "Run.", "tests": tests, "entry_point": entry_point}
            task = await asyncio.to_thread(read_task, given)
            problem = task.problem
            if not problem.public_tests:
                raise UsageError('tests: there is none; give lines such as "f(2) == 4"')
            executor = await self._sandbox.get()
            verdict = await executor.run(job_for(problem, code, problem.public_tests))
        except BDCError as error:
            raise ToolError(trim(str(error), 2000)) from error
        failures = verdict.failures
        passed, total = passes(verdict)
        lines = [f"The program passes {passed} of {plural(total, 'test')}."]
        lines += [f"Failing:\n{shown_failure(result)}" for result in failures[:FAILURES_SHOWN]]
        more = len(failures) - FAILURES_SHOWN
        return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)

    async def view_tree(self, search: Search, node: Place = "") -> str:
        """Shows what a search tried: its tree of thoughts, or a node with its programs and why they fail."""
        trace = self._traces.get(search)
        if trace is None:
            known = "; ".join(self._traces) or "none: call solve first"
            raise ToolError(f"there is no search {search!r:.80} here; known are {known}")
        return _node(trace, node) if node else _tree(trace)


def _tree(trace: Trace) -> str:
    """The path to the program, and all nodes in order."""
    tree = Tree({node.id: node.model_dump(mode="json") for node in trace.nodes})
    lines = [f"{'  ' * node.depth}- {node.id} {node_line(node)}" for node in trace.nodes[:NODES_SHOWN]]
    more = len(trace.nodes) - len(lines)
    listed = [*lines, f"- and {plural(more, 'node')} more"] if more > 0 else lines
    return "\n".join([tree_lines(trace.solution, tree), "", "Nodes:", *listed])


def _node(trace: Trace, name: str) -> str:
    """A node's thought, and its programs with the first failing test of each."""
    nodes = {node.id: node for node in trace.nodes}
    if name not in nodes:
        raise ToolError(unknown("node", name, nodes))
    node = nodes[name]
    parts = [f"{node.id} {node_line(node)}"]
    parts += [f"Thought: {safe(node.thought.text, 1000)}"] if node.thought else []
    for key in dict.fromkeys(attempt.program for attempt in node.attempts if attempt.program):
        program = trace.programs[key]
        verdict = program.verdict
        share = f"{verdict.reward:.0%} of the tests" if verdict else "not run"
        parts.append(f"By {named(program.agent)}, {share}:\n{fence(trim(program.code, 4000))}")
        if verdict and verdict.failures:
            parts.append(f"First failing test:\n{shown_failure(verdict.failures[0])}")
        if len(parts) > NODES_SHOWN:
            break
    return "\n\n".join(parts)


class _Progress:
    """Tells the client how far a search is, one line after each program that ran.

    A client that does not read must not hold up the search: lines wait in a queue, of which the last counts.
    """

    def __init__(self, ctx: Context[Any]) -> None:
        self._ctx = ctx
        self._programs, self._best = 0, 0.0
        self._news = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "_Progress":
        self._telling = asyncio.create_task(self._tell())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._telling is not None
        self._telling.cancel()
        await asyncio.gather(self._telling, return_exceptions=True)

    def see(self, event: Mapping[str, Any]) -> None:
        """Takes an event of the search."""
        if event.get("type") == "program":
            self._programs += 1
            verdict = event["program"].get("verdict") or {}
            results = verdict.get("results") or []
            passed = sum(result.get("outcome") == "passed" for result in results)
            self._best = max(self._best, passed / len(results) if results else 0.0)
            self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            line = f"{plural(self._programs, 'program')}; the best passes {self._best:.0%} of the tests"
            await self._ctx.report_progress(self._programs, None, line)
