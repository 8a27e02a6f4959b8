"""A teacher's probabilities: read once, kept, and learnt as the gradient of cross-entropy says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.batches import Item
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.distill.training.loss import RowLoss, Targets
from bdc_agents.distill.training.rows import EncodedRow, Row, encode_rows
from bdc_agents.distill.training.teacher import Teacher, TeacherConfig, likeliest
from bdc_agents.errors import ModelError
from bdc_agents.experts.base import Base
from bdc_agents.experts.lora import StackedAdapters
from bdc_agents.experts.manifest import AdapterConfig

Rows = list[EncodedRow]


def asked_of(base: Base, work: Path, loads: list[int] | None = None, **config: Any) -> Teacher:
    def load() -> Base:
        if loads is not None:
            loads.append(1)
        return base

    return Teacher(TeacherConfig(model="tiny/teacher", **config), load, work, base)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain head", "scaled logits"])
def test_a_mix_of_tokens_is_learnt_as_cross_entropy_with_it(
    scaled: bool, llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    rows, model = encoded(3), llama()
    if scaled:
        head = model.lm_head
        model.lm_head = torch.nn.Sequential(head)
        model.set_output_embeddings(model.lm_head)
    soft = {
        row.key: Targets(
            torch.randint(0, 300, (row.target_tokens, 5)), torch.rand(row.target_tokens, 5).softmax(1)
        )
        for row in rows[:2]  # The third learns its own tokens.
    }
    adapters = StackedAdapters(model, ["one"], AdapterConfig(rank=4), seed=0)
    adapters.weights += torch.randn_like(adapters.weights) * 0.05
    items = [Item(row=n, expert=0, weight=0.5) for n in range(3)]
    RowLoss(adapters, rows, soft)(items, learn=True)
    found = adapters.grads.clone()

    adapters.grads.zero_()
    total = torch.zeros(())
    for row in rows:
        with adapters.route(rows=torch.tensor([0])):
            logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 : -1]
        one = soft.get(row.key)
        whole = functional.one_hot(torch.tensor(row.ids[row.start :]), 300).float()
        if one is not None:
            whole = torch.zeros_like(logits).scatter_add_(1, one.ids, one.shares)
        total = total + 0.5 * functional.cross_entropy(logits, whole, reduction="sum")
    total.backward()
    assert torch.allclose(found, adapters.grads, atol=1e-5)


def test_what_is_measured_does_not_depend_on_the_teacher(
    llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    rows = encoded(2)
    adapters = StackedAdapters(llama(), ["one"], AdapterConfig(rank=4), seed=0)
    soft = {
        row.key: Targets(torch.zeros(row.target_tokens, 2).long(), torch.full((row.target_tokens, 2), 0.5))
        for row in rows
    }
    items = [Item(row=n, expert=0, weight=1.0) for n in range(2)]
    assert torch.equal(RowLoss(adapters, rows, soft)(items), RowLoss(adapters, rows)(items))


def test_the_likeliest_tokens_are_those_of_the_model(base: Base, encoded: Callable[..., Rows]) -> None:
    row = encoded(1)[0]
    found = likeliest(base, row, 7)
    logits = base.model(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 : -1]
    expected = logits[:, : len(base.tokenizer)].log_softmax(1).sort(dim=1, descending=True)
    assert found.ids.shape == (row.target_tokens, 7)
    assert torch.allclose(found.shares, expected.values[:, :7], atol=1e-5)
    assert int(found.ids.max()) < len(base.tokenizer)  # The model has logits that no token stands for.


def test_targets_are_the_rows_own_tokens_and_the_teachers(
    base: Base, tmp_path: Path, encoded: Callable[..., Rows]
) -> None:
    row = encoded(1)[0]
    one = asked_of(base, tmp_path, top=4, weight=0.25).targets([row])[row.key]
    assert one.ids[:, 0].tolist() == list(row.ids[row.start :])
    assert one.shares[:, 0].tolist() == pytest.approx([0.75] * row.target_tokens)
    assert one.shares.sum(1).tolist() == pytest.approx([1.0] * row.target_tokens)
    flat = asked_of(base, tmp_path, top=4, weight=1.0, temperature=1e6).targets([row])[row.key]
    assert flat.shares[:, 1:].flatten().tolist() == pytest.approx([0.25] * 4 * row.target_tokens, rel=1e-3)


def test_a_teacher_reads_a_row_once_and_a_kill_loses_one_part(
    base: Base, tmp_path: Path, encoded: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bdc_agents.distill.training import teacher as module

    monkeypatch.setattr(module, "PART", 2)
    read: list[str] = []
    real = likeliest

    def counted(teacher: Base, row: EncodedRow, top: int) -> Targets:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(row.key)
        return real(teacher, row, top)

    monkeypatch.setattr(module, "likeliest", counted)
    rows = encoded(5)
    with pytest.raises(KeyboardInterrupt):
        asked_of(base, tmp_path, top=4).targets(rows)
    read.clear()
    monkeypatch.setattr(module, "likeliest", lambda *given: read.append(given[1].key) or real(*given))
    loads: list[int] = []
    found = asked_of(base, tmp_path, loads, top=4).targets(rows)
    assert read == ["row2", "row3", "row4"]
    again = asked_of(base, tmp_path, loads, top=4, weight=0.9).targets(rows)  # Another mix, the same answers.
    assert loads == [1]
    assert found.keys() == again.keys() == {row.key for row in rows}


def test_a_damaged_file_of_answers_is_asked_for_again(
    base: Base, tmp_path: Path, encoded: Callable[..., Rows]
) -> None:
    rows = encoded(2)
    before = asked_of(base, tmp_path, top=4).targets(rows)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:40])
    after = asked_of(base, tmp_path, top=4).targets(rows)
    assert all(torch.equal(after[key].ids, one.ids) for key, one in before.items())


def test_a_teacher_with_other_tokens_is_refused(
    base: Base, tmp_path: Path, encoded: Callable[..., Rows]
) -> None:
    class Other:
        def get_vocab(self) -> dict[str, int]:
            return {"a": 0}

    other = replace(base, tokenizer=Other())
    teacher = Teacher(TeacherConfig(model="other"), lambda: other, tmp_path, base)
    with pytest.raises(ModelError, match="of the base's family"):
        teacher.targets(encoded(1))


def test_a_student_comes_nearer_to_its_teacher(
    base: Base, llama: Callable[..., Any], rows: list[Row], quick: TrainConfig, tmp_path: Path
) -> None:
    """Measured by the teacher's own probabilities of rows that it was not asked about."""
    teacher = Base(llama(7), base.tokenizer, base.identity)
    with torch.no_grad():
        for parameter in teacher.model.parameters():
            parameter.mul_(3)  # A random Llama finds all tokens alike; this one has opinions.
    config = quick.model_copy(update={"learning_rate": 2e-2, "epochs": 4, "patience": None})
    kept = encode_rows(rows, [-1] * len(rows), base.tokenizer, max_length=128, validation=0.2, seed=42)
    aim = asked_of(teacher, tmp_path / "aim", top=200, weight=1.0).targets(kept.validation)

    def distance(name: str, teacher: Teacher | None) -> float:
        trained = train_experts(rows, [-1] * len(rows), base, tmp_path / name, config, teacher=teacher)
        adapters = StackedAdapters(base.model, ["one"], config)
        adapters.load(0, trained.adapters["shared"])
        loss, total = RowLoss(adapters, kept.validation, aim), 0.0
        for n in range(len(kept.validation)):
            total += float(loss([Item(row=n, expert=0, weight=1.0)], learn=True))
        adapters.detach()
        return total

    assert distance("taught", asked_of(teacher, tmp_path / "t", top=50, weight=1.0)) < distance("alone", None)


def test_another_teacher_is_another_training(
    base: Base, rows: list[Row], quick: TrainConfig, tmp_path: Path
) -> None:
    """A checkpoint without a teacher is not gone on from with one."""
    plain = train_experts(rows, [-1] * len(rows), base, tmp_path, quick)
    taught = train_experts(
        rows, [-1] * len(rows), base, tmp_path, quick, teacher=asked_of(base, tmp_path, top=4)
    )
    one, other = plain.adapters["shared"], taught.adapters["shared"]
    assert any(not torch.equal(one[key], other[key]) for key in one)
