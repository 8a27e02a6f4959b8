"""Customize: a router mixes the experts of a library into a solver for one problem."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily

if TYPE_CHECKING:
    from bdc_agents.experts.concatenate import Concatenated, concatenate, quantize
    from bdc_agents.experts.mixture import Mixture
    from bdc_agents.serve.backends.protocol import Backend, ChatReply, ChatRequest, ExpertWeights
    from bdc_agents.serve.chat_model import ChatBDC
    from bdc_agents.serve.http.api import create_app
    from bdc_agents.serve.http.guard import ServerLimits
    from bdc_agents.serve.routed_model import RoutedModel
    from bdc_agents.serve.solver.answers import SolverAnswer, SolverConfig
    from bdc_agents.serve.solver.events import SolverEvent
    from bdc_agents.serve.solver.graph import create_solver_graph
    from bdc_agents.serve.solver.runnable import BDCSolver
    from bdc_agents.serve.solver.tool import create_solver_tool

__all__ = [
    "BDCSolver",
    "Backend",
    "ChatBDC",
    "ChatReply",
    "ChatRequest",
    "Concatenated",
    "ExpertWeights",
    "Mixture",
    "RoutedModel",
    "ServerLimits",
    "SolverAnswer",
    "SolverConfig",
    "SolverEvent",
    "concatenate",
    "create_app",
    "create_solver_graph",
    "create_solver_tool",
    "quantize",
]

_HOMES = {
    "BDCSolver": "bdc_agents.serve.solver.runnable",
    "Backend": "bdc_agents.serve.backends.protocol",
    "ChatBDC": "bdc_agents.serve.chat_model",
    "ChatReply": "bdc_agents.serve.backends.protocol",
    "ChatRequest": "bdc_agents.serve.backends.protocol",
    "Concatenated": "bdc_agents.experts.concatenate",
    "ExpertWeights": "bdc_agents.serve.backends.protocol",
    "Mixture": "bdc_agents.experts.mixture",
    "RoutedModel": "bdc_agents.serve.routed_model",
    "ServerLimits": "bdc_agents.serve.http.guard",
    "SolverAnswer": "bdc_agents.serve.solver.answers",
    "SolverConfig": "bdc_agents.serve.solver.answers",
    "SolverEvent": "bdc_agents.serve.solver.events",
    "concatenate": "bdc_agents.experts.concatenate",
    "create_app": "bdc_agents.serve.http.api",
    "create_solver_graph": "bdc_agents.serve.solver.graph",
    "create_solver_tool": "bdc_agents.serve.solver.tool",
    "quantize": "bdc_agents.experts.concatenate",
}

_MOVED = {"Comparison": "evaluate.library.methods", "compare": "evaluate.library.methods"}

__getattr__ = lazily(__name__, _HOMES, _MOVED)
