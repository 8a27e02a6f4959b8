"""A teacher: a stronger model whose next-token probabilities the experts learn, not only its programs.

One token of a program says little; what else the teacher held likely there says much more (Hinton et al.,
arXiv 1503.02531). Only the likeliest tokens are kept, so that a teacher runs once and is then a file.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from bdc_agents.distill.training.loop import Say, silent
from bdc_agents.distill.training.loss import Targets
from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.errors import ModelError
from bdc_agents.experts.atomic_write import replacing
from bdc_agents.experts.base import Base
from bdc_agents.extras import need
from bdc_agents.types import Given, content_hash

log = logging.getLogger(__name__)

PART = 32
"""Rows in one file of probabilities: a kill loses some minutes of a model of 1.5 billion numbers on a CPU."""


class TeacherConfig(Given):
    """Whose probabilities the experts learn, and how much; the table `[teacher]` of a recipe.

    Args:
        model: As `load_base` takes it; its tokens must be the base's, as they are within a family of models.
        revision: Branch, tag or commit on the hub.
        top: Likeliest tokens that are kept for each place. 32 hold nearly all of the probability of code.
        weight: Share of the teacher in what is learnt; the rest is the program as it is written. Half and
            half is a start, not measured.
        temperature: Above 1 the teacher's less likely tokens count for more.
    """

    model: str
    revision: str | None = None
    top: int = Field(default=32, ge=1, le=1024)
    weight: float = Field(default=0.5, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, eq=False)
class Teacher:
    """Says what rows are to teach; made by `teacher_of`.

    Args:
        load: Loads the model, which is kept only while rows are new to it.
        work: A folder for its probabilities.
        student: The base that learns.
    """

    config: TeacherConfig
    load: Callable[[], Base]
    work: Path
    student: Base
    say: Say = field(default=silent)

    @property
    def mark(self) -> str:
        """A hash of all that its targets depend on, but for the rows."""
        return content_hash(self.config.model_dump_json())

    def targets(self, rows: Sequence[EncodedRow]) -> dict[str, Targets]:
        """What each row is to teach, by key.

        Raises:
            ModelError: If the model cannot be loaded, or its tokens are not the base's.
        """
        found = self._known()
        new = list({row.key: row for row in rows if row.key not in found}.values())
        if new:
            found |= self._ask(new)
        return {row.key: self._mixed(row, found[row.key]) for row in rows}

    @property
    def _folder(self) -> Path:
        asked = self.config.model_dump_json(include={"model", "revision", "top"})
        return self.work / f"teacher-{content_hash(asked)[:16]}"

    def _known(self) -> dict[str, Targets]:
        """The probabilities that earlier runs kept."""
        load, found = need("safetensors.torch").load_file, dict[str, Targets]()
        for file in sorted(self._folder.glob("*.safetensors")):
            try:
                tensors: Mapping[str, Tensor] = load(file)
            except Exception as error:  # Whatever a damaged file makes of reading it.
                log.warning("%s cannot be read (%s); the teacher is asked again", file, type(error).__name__)
                continue
            for name in tensors:
                key, _, what = name.rpartition(".")
                if what == "ids":
                    found[key] = Targets(tensors[name].long(), tensors[f"{key}.logs"].float())
        return found

    def _ask(self, rows: Sequence[EncodedRow]) -> dict[str, Targets]:
        self.say(f"the teacher {self.config.model} reads {len(rows)} rows")
        teacher = self.load()
        check_tokens(teacher, self.student)
        self._folder.mkdir(parents=True, exist_ok=True)
        found = dict[str, Targets]()
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            told = {row.key: likeliest(teacher, row, self.config.top) for row in part}
            self._keep(told)
            found |= told
            self.say(f"the teacher has read {start + len(part)} of {len(rows)} rows")
        return found

    def _keep(self, told: Mapping[str, Targets]) -> None:
        tensors = dict[str, Tensor]()
        for key, one in told.items():
            tensors[f"{key}.ids"], tensors[f"{key}.logs"] = one.ids.int(), one.shares.half()
        name = content_hash("\n".join(told))[:16]
        with replacing(self._folder / f"{name}.safetensors") as file:
            file.write_bytes(need("safetensors.torch").save(tensors))

    def _mixed(self, row: EncodedRow, likely: Targets) -> Targets:
        """The row's own tokens and the teacher's, each with its share."""
        weight = self.config.weight
        shares = (likely.shares / self.config.temperature).softmax(1) * weight
        own = torch.tensor(row.ids[row.start :])[:, None]
        return Targets(
            torch.cat([own, likely.ids], 1), torch.cat([torch.full(own.shape, 1 - weight), shares], 1)
        )


@torch.no_grad()
def likeliest(teacher: Base, row: EncodedRow, top: int) -> Targets:
    """The likeliest tokens for each place of a row's completion.

    Returns:
        Their logarithms of probability, as `shares`: among themselves only their differences count.
    """
    model = teacher.model.eval()
    ids = torch.tensor([row.ids], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, row.start - 1 : -1].float()
    # A model may have more logits than tokens, which nobody can say.
    logs, tokens = logits[:, : len(teacher.tokenizer)].log_softmax(1).topk(top, dim=1)
    return Targets(tokens.cpu(), logs.cpu())


def check_tokens(teacher: Base, student: Base) -> None:
    """Makes sure that both models read and write the same tokens.

    Raises:
        ModelError: If they do not.
    """
    theirs, ours = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    if theirs != ours:
        other = next((f"{token!r}" for token in ours if theirs.get(token) != ours[token]), "a further token")
        raise ModelError(
            f"the teacher {teacher.identity.name!r} has other tokens than the base "
            f"{student.identity.name!r} ({len(theirs):,} and {len(ours):,}, of which {other} differs); its "
            "probabilities are of other words: take a teacher of the base's family, or leave out [teacher]"
        )
