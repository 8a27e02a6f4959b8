"""DPO, an optional second phase: experts learn which of two replies is better.

A pair is two thoughts for the same state of a search, one that raised the value of its parent and a worse
sibling (step-DPO), or two programs for one problem, a right one and a wrong one. TRL trains. The expert
before this phase is the reference, and it stays if the new one does not tell the pairs of held-out problems
apart better.
"""

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bdc_agents.distill.save import write_experts
from bdc_agents.distill.training.experts import Trained, train_experts
from bdc_agents.distill.training.loop import Say, silent
from bdc_agents.distill.training.rows import MARKERS, position
from bdc_agents.errors import ProblemError
from bdc_agents.experts.atomic_write import replacing
from bdc_agents.experts.base import Base, restored
from bdc_agents.extras import need
from bdc_agents.search import extract_traces
from bdc_agents.search.traces import Row, program_pairs
from bdc_agents.types import Frozen, Given, Trace, content_hash

UNDECIDED = math.log(2)
"""DPO's loss, -log sigmoid(0), for a model that prefers nothing that its reference does not prefer."""


class PreferenceConfig(Given):
    """How experts learn from pairs; the table `[dpo]` of a recipe.

    Args:
        pairs: Of steps, of programs, or both.
        experts: The shared adapter, those of the clusters, or all; each is trained by itself.
        beta: How strongly the expert is held to its old weights; larger is stronger. 0.1 is TRL's default.
        learning_rate: The peak, of AdamW with a cosine. As a start: a twenty-fifth of the first phase's,
            because the phase is to refine; not measured.
        epochs: How often a pair is seen.
        max_steps: Most steps; None for no limit.
        batch: Pairs in a step.
        max_length: Most tokens of prompt and step together; as in `[train]`.
        min_pairs: Training pairs that an expert needs; with fewer it stays as it is. One batch; chosen, not
            measured.
    """

    pairs: Literal["steps", "programs", "all"] = "steps"
    experts: Literal["shared", "clusters", "all"] = "shared"
    beta: float = Field(default=0.1, gt=0)
    learning_rate: float = Field(default=2e-5, gt=0)
    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=8, ge=1)
    max_length: int = Field(default=1024, ge=16)
    min_pairs: int = Field(default=8, ge=1)


def preference_pairs(
    traces: Iterable[Trace], of: Literal["steps", "programs", "all"] = "steps"
) -> tuple[Row, ...]:
    """The pairs of the traces that may be trained on, each once; none with control tokens in its text."""
    kept = (trace for trace in traces if trace.decision is None or trace.decision.kept)
    rows = (row for trace in kept for row in _pairs(trace, of))
    return tuple({pair_key(row): row for row in rows if not _marked(row)}.values())


def _pairs(trace: Trace, of: Literal["steps", "programs", "all"]) -> Iterator[Row]:
    if of != "programs":
        yield from (row for row in extract_traces(trace) if row.kind == "dpo")
    if of != "steps":
        yield from program_pairs(trace)


def pair_key(row: Row) -> str:
    """A name for a pair that depends on its text alone."""
    return content_hash(json.dumps([row.prompt, row.completion, row.rejected], sort_keys=True))


def _marked(row: Row) -> bool:
    texts = [message["content"] for message in row.prompt] + [row.completion, row.rejected or ""]
    return any(marker in text for text in texts for marker in MARKERS)


class Preferred(Frozen):
    """The result of one expert's second phase.

    Args:
        pairs, held: How many pairs were trained on, and held out.
        loss: Loss of the held-out pairs afterwards; it starts at ln 2. None if none are held out.
        accuracy: Share of held-out pairs whose better reply gained more probability than the worse one.
        kept: Whether the new weights are kept.
    """

    pairs: int
    held: int
    steps: int
    loss: float | None = None
    accuracy: float | None = None
    kept: bool = True


def check_pairs(count: int, config: PreferenceConfig) -> None:
    """Makes sure, before anything is trained, that a second phase is possible.

    Args:
        count: Pairs that there are.

    Raises:
        ProblemError: If they are too few for any expert.
        ModelError: If TRL is not installed.
    """
    if count < config.min_pairs:
        raise ProblemError(
            f"the second phase needs dpo.min_pairs={config.min_pairs} pairs for an expert, and there are "
            f"{count} of {'both kinds' if config.pairs == 'all' else config.pairs}: pairs of steps come from "
            "searches that tried several thoughts, pairs of programs from those that wrote a wrong program "
            "too; try --set dpo.pairs=all, collect more, or leave the phase out"
        )
    need("trl", "dpo")


def prefer(
    trained: Trained,
    pairs: Sequence[Row],
    rows: Sequence[Row],
    labels: Mapping[str, int],
    base: Base,
    work: Path,
    config: PreferenceConfig | None = None,
    *,
    say: Say = silent,
) -> Trained:
    """Trains experts on pairs of steps, one after another.

    An expert that is done is kept in `work`, so that a second phase that was cut off goes on with
    the next one.

    Args:
        trained: The result of `train_experts`.
        pairs: The pairs of `preference_pairs`.
        rows: The supervised rows, whose held-out losses are measured again.
        labels: The cluster of each problem.
        base: The base that the experts were trained on; unchanged afterwards.
        work: A folder for finished experts.
        say: Takes messages about the progress.

    Returns:
        `trained` with the new weights, losses and a metric `dpo`.

    Raises:
        ProblemError: If no expert has enough pairs.
        ModelError: If TRL is not installed.
    """
    config = config or PreferenceConfig()
    pairs = _fitting(pairs, base.tokenizer, config.max_length, say)
    plan = _Plan.of(trained, pairs, labels, config)
    if not plan.members:
        check_pairs(max(plan.few.values(), default=0), config)
    place = work / "dpo" / plan.mark(base)
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "before").is_dir():
        write_experts(place / "before", trained)
    adapters, told = dict(trained.adapters), dict[str, Any]()
    for name in plan.members:
        state, facts = _done(place, name) or _train_one(plan, name, base, place, say)
        say(_in_words(name, facts))
        told[name] = facts.model_dump()
        adapters[name] = state if facts.kept else adapters[name]
    changed = replace(trained, adapters=adapters)
    metrics = trained.metrics | _measured(changed, rows, labels, base, place) | {"dpo": told}
    return replace(changed, metrics=metrics, lineage=trained.lineage | {"pairs": plan.pairs_hash})


def _fitting(pairs: Sequence[Row], tokenizer: Any, most: int, say: Say) -> list[Row]:
    """The pairs that are short enough; a prompt that is cut off asks for another step."""

    def tokens(row: Row) -> int:
        prompt = tokenizer.apply_chat_template(
            [dict(message) for message in row.prompt], add_generation_prompt=True, tokenize=False
        )
        steps = max(row.completion, row.rejected or "", key=len)
        # Templates end a turn with a token and a line break.
        return len(tokenizer(prompt + steps, add_special_tokens=False)["input_ids"]) + 2

    short = [row for row in pairs if tokens(row) <= most]
    if len(short) < len(pairs):
        say(
            f"{len(pairs) - len(short)} of {len(pairs)} pairs are longer than dpo.max_length={most}: left out"
        )
    return short


@dataclass(frozen=True)
class _Plan:
    """Who learns from which pairs.

    Args:
        members: The pairs of each expert that has enough: to train on, and held out.
        few: How many an expert has that has too few.
    """

    config: PreferenceConfig
    trained: Trained
    members: dict[str, tuple[list[Row], list[Row]]]
    few: dict[str, int]

    @classmethod
    def of(
        cls, trained: Trained, pairs: Sequence[Row], labels: Mapping[str, int], config: PreferenceConfig
    ) -> "_Plan":
        """Deals out the pairs as the supervised rows are: by cluster, and held out by problem."""
        share, seed = trained.config.validation, trained.config.seed
        members, few = dict[str, tuple[list[Row], list[Row]]](), dict[str, int]()
        for name, cluster in trained.clusters.items():
            if config.experts != "all" and (cluster < 0) != (config.experts == "shared"):
                continue
            mine = [row for row in pairs if cluster in (-1, labels.get(row.problem_id, -1))]
            held = [row for row in mine if position(row.problem_id, seed) < share]
            training = [row for row in mine if row not in held]
            if len(training) < config.min_pairs:
                few[name] = len(training)
            else:
                members[name] = training, held
        return cls(config, trained, members, few)

    @property
    def pairs_hash(self) -> str:
        """A hash of all pairs."""
        keys = {pair_key(row) for parts in self.members.values() for part in parts for row in part}
        return content_hash("\n".join(sorted(keys)))

    def mark(self, base: Base) -> str:
        """A short hash of everything that the result depends on."""
        before = {
            name: [float(tensor.double().sum()) for tensor in self.trained.adapters[name].values()]
            for name in self.members
        }
        parts = [self.config.model_dump(), self.trained.config.seed, base.identity.model_dump(), before]
        return content_hash(json.dumps([*parts, self.pairs_hash], sort_keys=True))[:16]


def _train_one(plan: _Plan, name: str, base: Base, place: Path, say: Say) -> tuple[dict[str, Any], Preferred]:
    peft = need("peft")
    training, held = plan.members[name]
    say(f"second phase: {name} learns from {len(training)} pairs")
    with restored(base.model), _without_bars(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of TRL and peft about their own calls.
        before = str(place / "before" / "experts" / name)
        adapted = peft.PeftModel.from_pretrained(base.model, before, is_trainable=True)
        try:
            facts = _run(plan, adapted, training, held, base, place / "trainer")
            state = {
                key: tensor.detach().float().cpu().contiguous().clone()
                for key, tensor in peft.get_peft_model_state_dict(adapted, adapter_name="default").items()
            }
        finally:
            adapted.unload()
    with replacing(place / f"{name}.safetensors") as file:
        header = {"format": "pt", "facts": facts.model_dump_json()}
        file.write_bytes(need("safetensors.torch").save(state, metadata=header))
    return state, facts


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without the progress bars of `datasets`."""
    datasets = need("datasets", "dpo")
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _run(
    plan: _Plan, adapted: Any, training: Sequence[Row], held: Sequence[Row], base: Base, place: Path
) -> Preferred:
    """TRL's training; the adapter as it comes is the reference."""
    trl, dataset = need("trl", "dpo"), need("datasets", "dpo").Dataset
    config, device = plan.config, base.model.device
    arguments = trl.DPOConfig(
        output_dir=str(place),
        beta=config.beta,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch,
        per_device_eval_batch_size=config.batch,
        max_length=config.max_length,
        gradient_checkpointing=plan.trained.config.gradient_checkpointing,
        bf16=str(base.model.dtype) == "torch.bfloat16" and device.type != "cpu",
        use_cpu=device.type == "cpu",
        seed=plan.trained.config.seed,
        save_strategy="no",  # `_train_one` keeps a finished expert.
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = trl.DPOTrainer(
        model=adapted,
        args=arguments,
        train_dataset=dataset.from_list([_example(row) for row in training]),
        eval_dataset=dataset.from_list([_example(row) for row in held]) if held else None,
        processing_class=base.tokenizer,
    )
    trainer.train()
    found = trainer.evaluate() if held else {}
    loss = found.get("eval_loss")
    return Preferred(
        pairs=len(training),
        held=len(held),
        steps=trainer.state.global_step,
        loss=loss,
        accuracy=found.get("eval_rewards/accuracies"),
        kept=loss is None or loss < UNDECIDED,
    )


def _example(row: Row) -> dict[str, Any]:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return {
        "prompt": [dict(message) for message in row.prompt],
        "chosen": said(row.completion),
        "rejected": said(row.rejected or ""),
    }


def _done(place: Path, name: str) -> tuple[dict[str, Any], Preferred] | None:
    """The result of an earlier run for an expert; None if there is none."""
    file = place / f"{name}.safetensors"
    if not file.is_file():
        return None
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return need("safetensors.torch").load(data), Preferred.model_validate_json(
        header["__metadata__"]["facts"]
    )


def _measured(
    trained: Trained, rows: Sequence[Row], labels: Mapping[str, int], base: Base, place: Path
) -> dict[str, Any]:
    """The losses of all experts as they are now; nothing is trained."""
    found = train_experts(
        rows,
        labels,
        base,
        place / "losses",
        trained.config,
        experts=trained.clusters,
        start=trained.adapters,
        learn=(),
        resume=False,
    )
    return {key: found.metrics[key] for key in ("losses", "same_as_shared")}


def _in_words(name: str, facts: Preferred) -> str:
    if facts.loss is None:
        return f"{name}: {facts.steps} steps on {facts.pairs} pairs; none are held out to judge by"
    share = "" if facts.accuracy is None else f", {facts.accuracy:.0%} of {facts.held} pairs told apart"
    end = "" if facts.kept else "; its weights before this phase are kept"
    return f"{name}: loss of held-out pairs {facts.loss:.4f} from {UNDECIDED:.4f}{share}{end}"
