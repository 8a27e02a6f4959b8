"""Customize: a router mixes the experts of a library into a solver for one problem."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily

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

_HOMES = {
    "BDCSolver": "bdc_agents.serve.solver",
    "Backend": "bdc_agents.serve.backend",
    "ChatBDC": "bdc_agents.serve.chat_model",
    "ChatReply": "bdc_agents.serve.backend",
    "ChatRequest": "bdc_agents.serve.backend",
    "Comparison": "bdc_agents.serve.comparison",
    "Concatenated": "bdc_agents.serve.concatenation",
    "ExpertWeights": "bdc_agents.serve.backend",
    "Mixture": "bdc_agents.serve.mix",
    "RoutedModel": "bdc_agents.serve.routed",
    "ServerLimits": "bdc_agents.serve.guard",
    "SolverAnswer": "bdc_agents.serve.answers",
    "SolverConfig": "bdc_agents.serve.answers",
    "compare": "bdc_agents.serve.comparison",
    "concatenate": "bdc_agents.serve.concatenation",
    "create_app": "bdc_agents.serve.api",
    "create_solver_graph": "bdc_agents.serve.graph",
    "quantize": "bdc_agents.serve.concatenation",
}

__getattr__ = lazily(__name__, _HOMES)
