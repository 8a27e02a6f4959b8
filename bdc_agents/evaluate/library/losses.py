"""The loss of held-out rows under every method; each method's result is kept as soon as it is there."""

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from bdc_agents.disk import replacing
from bdc_agents.distill.lessons import reference_rows
from bdc_agents.distill.training.loop import Watch, silent
from bdc_agents.distill.training.router import train_router
from bdc_agents.distill.training.rows import Encoded
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.evaluate.library.bench import Bench, need_traces
from bdc_agents.evaluate.library.config import COMBINED, FIXED, PEERS, ROUTERS
from bdc_agents.evaluate.library.held_out import known_solutions
from bdc_agents.evaluate.library.journal import Journal
from bdc_agents.evaluate.library.methods import MethodLoss
from bdc_agents.evaluate.library.methods import compare as compare_losses
from bdc_agents.experts.router import Router
from bdc_agents.types import Frozen, Task

LOSSES_FILE, ROWS_FILE = "losses.jsonl", "held-out.json"
WORK = "work"
REFERENCES, LIBRARY = "references", "library"


class HeldOutRows(Frozen):
    """The rows whose loss is measured.

    Args:
        source: `references`: the problems with their reference programs; `library`: the rows that
            were held out when the library was made; empty where there are neither.
        problems, tokens: Of each row: its problem, and how many tokens of it are predicted.
        dropped: Rows that are too long, or cannot be used.
        training: Hash of the rows that methods are trained on; empty without traces.
    """

    source: str = ""
    problems: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    dropped: int = 0
    training: str = ""


def method_names(bench: Bench) -> tuple[str, ...]:
    """The methods of the comparison as the table has them, one for each expert that is no copy.

    A method that has to be trained is left out where no traces were named.
    """
    names: list[str] = []
    for method in bench.config.methods:
        if method == "experts":
            names += bench.experts
        elif _can_have(bench, method):
            names.append(method)
    return tuple(names)


def left_out(bench: Bench) -> tuple[str, ...]:
    """The methods that would have to be trained, and of which no traces were named."""
    alone = unmixed(bench)
    return tuple(
        method for method in bench.config.methods if not (method in alone or _can_have(bench, method))
    )


def unmixed(bench: Bench) -> tuple[str, ...]:
    """The methods that mix experts, where the library has one alone."""
    mixing = (*FIXED, *COMBINED, *PEERS, *ROUTERS)
    return () if bench.mixes else tuple(method for method in bench.config.methods if method in mixing)


def _can_have(bench: Bench, method: str) -> bool:
    if method in unmixed(bench):
        return False
    own = bench.own_router
    trained = method in (*ROUTERS, "xlora") and not (own and own[0] == method)
    return not trained or bool(bench.config.traces)


class Losses:
    """The loss part of a comparison.

    Args:
        out: Its folder.
        tasks: The held-out problems.
        watch: Told about every step of a router's training.
    """

    def __init__(self, bench: Bench, out: Path, tasks: Sequence[Task], watch: Watch = silent) -> None:
        self._bench, self._out, self._tasks, self._watch = bench, out, tasks, watch
        self._journal = Journal(out / LOSSES_FILE, MethodLoss, "name")
        self.routers: dict[str, Router] = {}

    @property
    def done(self) -> dict[str, MethodLoss]:
        """The methods that were scored, by name."""
        return {str(key): line for key, line in self._journal.lines.items()}

    def missing(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those that are still to be scored."""
        facts = read_rows(self._out)
        if facts is not None and not facts.source and (facts.training or not self._bench.config.traces):
            return ()  # There was nothing to score, and there is not now.
        return tuple(name for name in names if name not in self.done)

    def run(self, names: Sequence[str]) -> None:
        """Scores every method that was not scored before.

        Raises:
            UsageError: If the folder's methods were trained on other traces.
            ModelError: If a method has to be trained and there are no traces, or it cannot be had.
        """
        held, training = self._held_out()
        if held is None:
            return
        encoded, vectors = held
        self.load_routers(names)
        bench = self._bench
        groups = [name for name in (*FIXED, *COMBINED, *PEERS, "base") if name in names]
        groups += ["experts"] if any(name in bench.experts for name in names) else []
        groups += ["routers"] if self.routers else []
        compare_losses(
            bench.library,
            bench.base,
            encoded,
            vectors,
            self.routers,
            methods=groups,
            # X-LoRA is trained as the router is that has the default scaling.
            config=bench.router_config("router-default"),
            density=bench.config.density,
            training=training,
            known=self.done,
            keep=self._journal.add,
            work=self._out / WORK / "xlora",
            say=bench.say,
        )

    def load_routers(self, names: Sequence[str]) -> None:
        """Brings in the routers: the library's own, and the other one, which is trained in the folder.

        The library is never changed: what is compared stays what is served.
        """
        own = self._bench.own_router
        for name in ROUTERS:
            if name in names and name not in self.routers:
                self.routers[name] = own[1] if own and own[0] == name else self._trained(name)

    def _trained(self, name: str) -> Router:
        bench, file = self._bench, self._out / f"{name}.safetensors"
        if file.is_file():
            return Router.from_bytes(file.read_bytes(), bench.library, str(file))
        if not bench.rows:
            raise need_traces(name)
        bench.say(f"training {name}")
        trained = train_router(
            bench.library,
            bench.rows,
            bench.base,
            bench.encoder,
            bench.router_config(name),
            problems=bench.problems(),
            work=self._out / WORK / name,
            watch=self._watch,
        )
        with replacing(file) as temporary:
            temporary.write_bytes(trained.router.to_bytes())
        return trained.router

    def _held_out(self) -> tuple[tuple[Encoded, torch.Tensor] | None, Encoded | None]:
        """The rows that are scored with their vectors, and the rows to train on; None without any."""
        bench = self._bench
        training = bench.encode(bench.rows) if bench.rows else None
        mark = bench.rows_hash if training else ""
        if rows := reference_rows(known_solutions(self._tasks)):
            encoded, source = bench.encode_all(rows), REFERENCES
            place = {task.problem.id: n for n, task in enumerate(self._tasks)}
            found = bench.embed([task.problem for task in self._tasks])
            vectors = found[[place[row.problem_id] for row in encoded.validation]]
        elif training is not None and training.validation:
            encoded, source = training, LIBRARY
            vectors = bench.vectors_of(bench.rows, training)
        else:
            self._keep(HeldOutRows(training=mark))
            return None, training
        self._keep(
            HeldOutRows(
                source=source,
                problems=tuple(row.problem_id for row in encoded.validation),
                tokens=tuple(row.target_tokens for row in encoded.validation),
                dropped=sum(encoded.dropped.values()),
                training=mark,
            )
        )
        return (encoded, vectors), training

    def _keep(self, facts: HeldOutRows) -> None:
        """Writes what the rows are; results of other rows or other training are not mixed with these."""
        old = read_rows(self._out)
        if old is not None and old.training and facts.training and old.training != facts.training:
            raise UsageError(
                f"the methods in {str(self._out)!r} were trained on other traces than those named now; name "
                "the same ones, or another --out"
            )
        if old is not None and self.done and (old.problems, old.tokens) != (facts.problems, facts.tokens):
            raise UsageError(f"the losses in {str(self._out)!r} are of other rows; name another --out")
        if old is not None and not facts.training:
            facts = facts.model_copy(update={"training": old.training})
        with replacing(self._out / ROWS_FILE) as temporary:
            temporary.write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_rows(out: Path) -> HeldOutRows | None:
    """What the rows of a comparison are; None where none were scored yet.

    Raises:
        ModelError: If the file is damaged.
    """
    file = out / ROWS_FILE
    if not file.is_file():
        return None
    try:
        return HeldOutRows.model_validate_json(file.read_bytes())
    except ValidationError:
        raise ModelError(f"{file} is damaged; take it and {LOSSES_FILE} away, and compare again") from None
