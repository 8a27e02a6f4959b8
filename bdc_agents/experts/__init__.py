"""Experts: a library of LoRA adapters on disk, their base, the router that weighs them, and mixtures."""
