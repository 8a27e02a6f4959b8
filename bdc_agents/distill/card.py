"""The model card of a library, in the format of the Hugging Face hub."""

from typing import Any

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.cross_losses import Losses, verdict
from bdc_agents.experts.manifest import Manifest


def model_card(name: str, manifest: Manifest, metrics: dict[str, Any], config: TrainConfig) -> str:
    """The README.md of a library.

    Args:
        name: Of the library.
        metrics: Of the training.
    """
    base = manifest.base
    parts = [
        _front_matter(base),
        f"# {name}",
        f"LoRA experts for `{base['name']}`{_revision(base)}, one for each cluster of the training problems"
        + (" and one trained on all of them" if any(e.cluster < 0 for e in manifest.experts) else "")
        + ". Made with bdc-agents (DisenLoRA, arXiv 2502.12492).",
        "## Use",
        _usage(manifest),
        "## Experts",
        _experts(manifest, metrics),
        "## Held-out loss",
        _losses(metrics, {e.name: e.tokens for e in manifest.experts}),
        "## Training",
        _training(config, metrics),
        "## Lineage",
        "\n".join(f"- {key}: `{value}`" for key, value in sorted(_lineage(manifest).items())),
    ]
    return "\n\n".join(parts) + "\n"


def _of_the_hub(base: dict[str, Any]) -> bool:
    """Whether the base is a repository of the hub, which `local:NAME` and folders are not."""
    return bool("/" in base["name"] and not base["name"].startswith((".", "/")) and base.get("revision"))


def _front_matter(base: dict[str, Any]) -> str:
    lines = [f"base_model: {base['name']}"] if _of_the_hub(base) else []
    lines += [
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags:",
        "- lora",
        "- code",
        "- bdc-agents",
    ]
    return "\n".join(["---", *lines, "---"])


def _revision(base: dict[str, Any]) -> str:
    return f" at revision `{base['revision']}`" if base.get("revision") else ""


def _usage(manifest: Manifest) -> str:
    first = manifest.experts[0].name
    whole = [
        "from bdc_agents.serve import BDCSolver",
        "",
        'solver = BDCSolver.from_library("ORG/NAME")  # the mixture',
    ]
    if _of_the_hub(manifest.base):  # An expert's configuration names it, so that peft finds it by itself.
        one = ["from peft import AutoPeftModelForCausalLM", ""]
        one += [f'model = AutoPeftModelForCausalLM.from_pretrained("experts/{first}")  # one expert']
    else:
        one = ["from peft import PeftModel", ""]
        one += [f'model = PeftModel.from_pretrained(base_model, "experts/{first}")  # one expert']
    return "\n".join(["```python", *whole, "```", "", "```python", *one, "```"])


def _experts(manifest: Manifest, metrics: dict[str, Any]) -> str:
    lines = [
        "| expert | cluster | rows | tokens | steps | best epoch | held-out loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for expert in manifest.experts:
        facts = metrics["experts"][expert.name]
        loss = "none held out" if expert.loss is None else f"{expert.loss:.3f}"
        cluster = "all" if expert.cluster < 0 else expert.cluster
        lines.append(
            f"| {expert.name} | {cluster} | {expert.rows} | {expert.tokens} | {facts['steps']} | "
            f"{facts['best_epoch']} | {loss} |"
        )
    return "\n".join(lines)


def _losses(metrics: dict[str, Any], tokens: dict[str, int]) -> str:
    losses: Losses = metrics.get("losses", {})
    if not losses:
        return "No problem was held out."
    clusters = list(next(iter(losses.values())))
    lines = [f"| | {' | '.join(clusters)} |", "|---" * (len(clusters) + 1) + "|"]
    for name, values in losses.items():
        lines.append(f"| {name} | {' | '.join(f'{values[cluster]:.3f}' for cluster in clusters)} |")
    said = "\n".join(
        f"- {sentence}" for sentence in verdict(losses, tokens, same=metrics.get("same_as_shared", ()))
    )
    return "\n".join(["Mean loss of a completion token.", "", *lines, "", said])


def _training(config: TrainConfig, metrics: dict[str, Any]) -> str:
    shown = config.model_dump(mode="json", exclude_none=True)
    listed = ", ".join(f"{key} {value}" for key, value in shown.items())
    left_out = sum(metrics.get("dropped", {}).values())
    return (
        f"{metrics['steps']} steps, {metrics['tokens']} tokens with those of the prompts, {left_out} rows "
        f"left out, {metrics.get('cut', 0)} prompts cut.\n\n{listed}."
    )


def _lineage(manifest: Manifest) -> dict[str, Any]:
    base = {f"base {key}": value for key, value in manifest.base.items() if value and key != "name"}
    return manifest.lineage | base | {"created": manifest.created}
