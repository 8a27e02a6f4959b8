"""Disentangle: traces become clusters of problems, and each cluster a LoRA expert (DisenLoRA)."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily

if TYPE_CHECKING:
    from bdc_agents.distill.clustering.cluster import cluster_items, cluster_rows, cluster_traces
    from bdc_agents.distill.clustering.report import write_cluster_report
    from bdc_agents.distill.clustering.validation import Validation, validate
    from bdc_agents.distill.items import embed_items, items_of_rows, items_of_traces, problem_text
    from bdc_agents.distill.recipe import Recipe, TrainConfig, load_recipe
    from bdc_agents.distill.save import save_library
    from bdc_agents.distill.training.experts import Trained, train_experts
    from bdc_agents.distill.training.loop import TrainingStopped
    from bdc_agents.distill.training.router import RouterConfig, RouterTrained, train_router
    from bdc_agents.distill.training.rows import read_rows, training_rows
    from bdc_agents.embed.encoder import Encoder, EncoderConfig
    from bdc_agents.embed.load import load_encoder
    from bdc_agents.experts.base import Base, load_base
    from bdc_agents.experts.clusters import Clusters, ClusterSettings
    from bdc_agents.experts.hub import push_to_hub
    from bdc_agents.experts.library import ExpertLibrary
    from bdc_agents.experts.router import Router, RouterShape

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
    "push_to_hub",
    "read_rows",
    "save_library",
    "train_experts",
    "train_router",
    "training_rows",
    "validate",
    "write_cluster_report",
]

_HOMES = {
    "Base": "bdc_agents.experts.base",
    "ClusterSettings": "bdc_agents.experts.clusters",
    "Clusters": "bdc_agents.experts.clusters",
    "Encoder": "bdc_agents.embed.encoder",
    "EncoderConfig": "bdc_agents.embed.encoder",
    "ExpertLibrary": "bdc_agents.experts.library",
    "Recipe": "bdc_agents.distill.recipe",
    "Router": "bdc_agents.experts.router",
    "RouterConfig": "bdc_agents.distill.training.router",
    "RouterShape": "bdc_agents.experts.router",
    "RouterTrained": "bdc_agents.distill.training.router",
    "TrainConfig": "bdc_agents.distill.recipe",
    "Trained": "bdc_agents.distill.training.experts",
    "TrainingStopped": "bdc_agents.distill.training.loop",
    "Validation": "bdc_agents.distill.clustering.validation",
    "cluster_items": "bdc_agents.distill.clustering.cluster",
    "cluster_rows": "bdc_agents.distill.clustering.cluster",
    "cluster_traces": "bdc_agents.distill.clustering.cluster",
    "embed_items": "bdc_agents.distill.items",
    "items_of_rows": "bdc_agents.distill.items",
    "items_of_traces": "bdc_agents.distill.items",
    "load_base": "bdc_agents.experts.base",
    "load_encoder": "bdc_agents.embed.load",
    "load_recipe": "bdc_agents.distill.recipe",
    "problem_text": "bdc_agents.distill.items",
    "push_to_hub": "bdc_agents.experts.hub",
    "read_rows": "bdc_agents.distill.training.rows",
    "save_library": "bdc_agents.distill.save",
    "train_experts": "bdc_agents.distill.training.experts",
    "train_router": "bdc_agents.distill.training.router",
    "training_rows": "bdc_agents.distill.training.rows",
    "validate": "bdc_agents.distill.clustering.validation",
    "write_cluster_report": "bdc_agents.distill.clustering.report",
}

__getattr__ = lazily(__name__, _HOMES)
