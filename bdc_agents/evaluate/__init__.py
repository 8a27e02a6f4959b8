"""Measures any solver on any problem set: pass@k with intervals, at matched compute, with diagnostics."""

from bdc_agents.evaluate.config import EvalConfig, read_config
from bdc_agents.evaluate.figures.diagnose import Finding, diagnose
from bdc_agents.evaluate.figures.metrics import Difference, Interval, paired, pass_at_k, wilson
from bdc_agents.evaluate.figures.summary import Summary, summarise, write_summary
from bdc_agents.evaluate.report.inspect_log import write_logs
from bdc_agents.evaluate.report.page import write_report
from bdc_agents.evaluate.results import Results, Row, read_rows
from bdc_agents.evaluate.run import evaluate
from bdc_agents.evaluate.setup import build_solvers, choose_tasks
from bdc_agents.evaluate.solvers.protocol import Answer, Candidate, Solver, Spent
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver, register_solver

__all__ = [
    "Answer",
    "Candidate",
    "Difference",
    "EvalConfig",
    "Finding",
    "Interval",
    "Results",
    "Row",
    "Solver",
    "Spec",
    "Spent",
    "Summary",
    "Tools",
    "build_solvers",
    "choose_tasks",
    "create_solver",
    "diagnose",
    "evaluate",
    "paired",
    "pass_at_k",
    "read_config",
    "read_rows",
    "register_solver",
    "summarise",
    "wilson",
    "write_logs",
    "write_report",
    "write_summary",
]
