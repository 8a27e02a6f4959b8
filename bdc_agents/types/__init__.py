"""The project's data types: problems, tests, programs, verdicts, trees, traces. All are frozen.

A `Problem` carries only what a search may see. The tests that score a solution afterwards live in
`HiddenTests`, which nothing can print, pickle or serialise by accident; a `Task` holds the two.
"""

from bdc_agents.types.base import Frozen, Given, Suggesting
from bdc_agents.types.problem import (
    UNJUDGED,
    CallTest,
    Checker,
    HiddenTests,
    Limits,
    Problem,
    ScriptTest,
    StdinTest,
    Task,
    TestCase,
)
from bdc_agents.types.program import Outcome, Program, ProgramOutcome, TestResult, Verdict, content_hash
from bdc_agents.types.result import (
    AskedFor,
    CallRecord,
    Decision,
    Hidden,
    Lineage,
    Review,
    Solution,
    Split,
    StoppedBy,
    Trace,
    TreeStats,
    Usage,
)
from bdc_agents.types.tree import Attempt, Kind, Move, Node, Thought, Tree

__all__ = [
    "UNJUDGED",
    "AskedFor",
    "Attempt",
    "CallRecord",
    "CallTest",
    "Checker",
    "Decision",
    "Frozen",
    "Given",
    "Hidden",
    "HiddenTests",
    "Kind",
    "Limits",
    "Lineage",
    "Move",
    "Node",
    "Outcome",
    "Problem",
    "Program",
    "ProgramOutcome",
    "Review",
    "ScriptTest",
    "Solution",
    "Split",
    "StdinTest",
    "StoppedBy",
    "Suggesting",
    "Task",
    "TestCase",
    "TestResult",
    "Thought",
    "Trace",
    "Tree",
    "TreeStats",
    "Usage",
    "Verdict",
    "content_hash",
]
