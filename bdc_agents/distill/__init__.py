"""Disentangle: traces become clusters of problems, and each cluster a LoRA expert (DisenLoRA)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bdc_agents.extras import missing

if TYPE_CHECKING:
    from bdc_agents.distill.base import Base, load_base
    from bdc_agents.distill.cluster import cluster_items, cluster_rows, cluster_traces
    from bdc_agents.distill.clusters import Clusters, ClusterSettings
    from bdc_agents.distill.embed import Encoder, EncoderConfig, load_encoder
    from bdc_agents.distill.items import embed_items, items_of_rows, items_of_traces, problem_text
    from bdc_agents.distill.library import ExpertLibrary
    from bdc_agents.distill.recipe import Recipe, TrainConfig, load_recipe
    from bdc_agents.distill.report import write_cluster_report
    from bdc_agents.distill.route import Router
    from bdc_agents.distill.route_train import RouterTrained, train_router
    from bdc_agents.distill.routing import RouterConfig, RouterShape
    from bdc_agents.distill.rows import read_rows, training_rows
    from bdc_agents.distill.save import save_library
    from bdc_agents.distill.train import Trained, TrainingStopped, train_experts
    from bdc_agents.distill.validation import Validation, validate

__all__ = [
    "Base",
    "ClusterSettings",
    "Clusters",
    "Encoder",
    "EncoderConfig",
    "ExpertLibrary",
    "Recipe",
    "Router",
    "RouterConfig",
    "RouterShape",
    "RouterTrained",
    "TrainConfig",
    "Trained",
    "TrainingStopped",
    "Validation",
    "cluster_items",
    "cluster_rows",
    "cluster_traces",
    "embed_items",
    "items_of_rows",
    "items_of_traces",
    "load_base",
    "load_encoder",
    "load_recipe",
    "problem_text",
    "read_rows",
    "save_library",
    "train_experts",
    "train_router",
    "training_rows",
    "validate",
    "write_cluster_report",
]

# Each is imported when it is first used, so that one stage does not load the libraries of another.
_LAZY = {
    "Base": "base",
    "ClusterSettings": "clusters",
    "Clusters": "clusters",
    "Encoder": "embed",
    "EncoderConfig": "embed",
    "ExpertLibrary": "library",
    "Recipe": "recipe",
    "Router": "route",
    "RouterConfig": "routing",
    "RouterShape": "routing",
    "RouterTrained": "route_train",
    "TrainConfig": "recipe",
    "Trained": "train",
    "TrainingStopped": "train",
    "Validation": "validation",
    "cluster_items": "cluster",
    "cluster_rows": "cluster",
    "cluster_traces": "cluster",
    "embed_items": "items",
    "items_of_rows": "items",
    "items_of_traces": "items",
    "load_base": "base",
    "load_encoder": "embed",
    "load_recipe": "recipe",
    "problem_text": "items",
    "read_rows": "rows",
    "save_library": "save",
    "train_experts": "train",
    "train_router": "route_train",
    "training_rows": "rows",
    "validate": "validation",
    "write_cluster_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bdc_agents.distill' has no attribute {name!r}")
    try:
        return getattr(import_module(f"bdc_agents.distill.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        raise missing(error) or error from None
