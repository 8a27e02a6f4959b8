"""Disentangle: traces become clusters of problems, and each cluster a LoRA expert (DisenLoRA)."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily

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

_HOMES = {
    "Base": "bdc_agents.distill.base",
    "ClusterSettings": "bdc_agents.distill.clusters",
    "Clusters": "bdc_agents.distill.clusters",
    "Encoder": "bdc_agents.distill.embed",
    "EncoderConfig": "bdc_agents.distill.embed",
    "ExpertLibrary": "bdc_agents.distill.library",
    "Recipe": "bdc_agents.distill.recipe",
    "Router": "bdc_agents.distill.route",
    "RouterConfig": "bdc_agents.distill.routing",
    "RouterShape": "bdc_agents.distill.routing",
    "RouterTrained": "bdc_agents.distill.route_train",
    "TrainConfig": "bdc_agents.distill.recipe",
    "Trained": "bdc_agents.distill.train",
    "TrainingStopped": "bdc_agents.distill.train",
    "Validation": "bdc_agents.distill.validation",
    "cluster_items": "bdc_agents.distill.cluster",
    "cluster_rows": "bdc_agents.distill.cluster",
    "cluster_traces": "bdc_agents.distill.cluster",
    "embed_items": "bdc_agents.distill.items",
    "items_of_rows": "bdc_agents.distill.items",
    "items_of_traces": "bdc_agents.distill.items",
    "load_base": "bdc_agents.distill.base",
    "load_encoder": "bdc_agents.distill.embed",
    "load_recipe": "bdc_agents.distill.recipe",
    "problem_text": "bdc_agents.distill.items",
    "read_rows": "bdc_agents.distill.rows",
    "save_library": "bdc_agents.distill.save",
    "train_experts": "bdc_agents.distill.train",
    "train_router": "bdc_agents.distill.route_train",
    "training_rows": "bdc_agents.distill.rows",
    "validate": "bdc_agents.distill.validation",
    "write_cluster_report": "bdc_agents.distill.report",
}

__getattr__ = lazily(__name__, _HOMES)
