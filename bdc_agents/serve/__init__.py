"""Customize: a router mixes the experts of a library into a solver for one problem."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bdc_agents.extras import missing

if TYPE_CHECKING:
    from bdc_agents.serve.answers import SolverAnswer, SolverConfig
    from bdc_agents.serve.api import create_app
    from bdc_agents.serve.backend import Backend, ChatReply, ChatRequest, ExpertWeights
    from bdc_agents.serve.chat_model import ChatBDC
    from bdc_agents.serve.comparison import Comparison, compare
    from bdc_agents.serve.concatenation import Concatenated, concatenate, quantize
    from bdc_agents.serve.graph import create_solver_graph
    from bdc_agents.serve.guard import ServerLimits
    from bdc_agents.serve.mix import Mixture
    from bdc_agents.serve.routed import RoutedModel
    from bdc_agents.serve.solver import BDCSolver

__all__ = [
    "BDCSolver",
    "Backend",
    "ChatBDC",
    "ChatReply",
    "ChatRequest",
    "Comparison",
    "Concatenated",
    "ExpertWeights",
    "Mixture",
    "RoutedModel",
    "ServerLimits",
    "SolverAnswer",
    "SolverConfig",
    "compare",
    "concatenate",
    "create_app",
    "create_solver_graph",
    "quantize",
]

# Each is imported when it is first used, so that one backend does not load the libraries of another.
_LAZY = {
    "BDCSolver": "solver",
    "Backend": "backend",
    "ChatBDC": "chat_model",
    "ChatReply": "backend",
    "ChatRequest": "backend",
    "Comparison": "comparison",
    "Concatenated": "concatenation",
    "ExpertWeights": "backend",
    "Mixture": "mix",
    "RoutedModel": "routed",
    "ServerLimits": "guard",
    "SolverAnswer": "answers",
    "SolverConfig": "answers",
    "compare": "comparison",
    "concatenate": "concatenation",
    "create_app": "api",
    "create_solver_graph": "graph",
    "quantize": "concatenation",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bdc_agents.serve' has no attribute {name!r}")
    try:
        return getattr(import_module(f"bdc_agents.serve.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        raise missing(error) or error from None
