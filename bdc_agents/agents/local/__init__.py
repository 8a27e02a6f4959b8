"""Local models: run on this machine, downloaded and checked by hash, served by llama.cpp on loopback."""

from bdc_agents.agents.local.agent import LocalAgent, ModelStatus, describe_models, local_agent
from bdc_agents.agents.local.server import has_runtime
from bdc_agents.weights.catalog import CATALOGUE, LocalModel, find
from bdc_agents.weights.files import describe, fetch, locate, models_folder

__all__ = [
    "CATALOGUE",
    "LocalAgent",
    "LocalModel",
    "ModelStatus",
    "describe",
    "describe_models",
    "fetch",
    "find",
    "has_runtime",
    "local_agent",
    "locate",
    "models_folder",
]
