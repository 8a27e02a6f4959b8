"""On-policy rounds: a library learns from its own right answers, and a round that is done is kept."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bdc_agents.cli.app import app
from bdc_agents.distill.pipeline import distill
from bdc_agents.distill.recipe import Recipe
from bdc_agents.distill.rounds import improve
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.runs import read_traces
from bdc_agents.types import Trace

Make = Callable[..., Trace]


@pytest.fixture
def made(recipe: Recipe, trace: Make, tmp_path: Path) -> tuple[Path, list[Trace]]:
    """The library before the first round, and what it was made from."""
    traces = [trace(n) for n in range(10)]
    return distill(traces, tmp_path / "rounds" / "0", recipe).library.folder, traces


def test_a_round_learns_from_right_answers_and_leaves_the_library_before_it(
    made: tuple[Path, list[Trace]], recipe: Recipe, trace: Make, tmp_path: Path
) -> None:
    first, traces = made
    before = {name: ExpertLibrary(first).weights(name) for name in ExpertLibrary(first).names}
    asked: list[tuple[Path, int]] = []

    def answer(library: Path, number: int) -> Sequence[Trace]:
        asked.append((library, number))
        return [trace(10 * number + n) for n in range(8)] + [trace(10 * number + 9, kept=False)]

    said: list[str] = []
    done = improve(first, tmp_path / "library", traces, 2, answer, recipe, say=said.append)
    assert asked == [(first, 1), (first.with_name("1"), 2)]
    assert [(one.number, one.problems, one.right) for one in done] == [(1, 9, 8), (2, 9, 8)]
    assert "round 1 of 2: 8 of 9 problems answered right" in said
    ids = [set(ExpertLibrary(place).facts("clusters.json")["ids"]) for place in (first, tmp_path / "library")]
    assert ids[1] - ids[0] == {f"p{10 * number + n}" for number in (1, 2) for n in range(8)}
    assert not ExpertLibrary(tmp_path / "library").check()
    again = ExpertLibrary(first)
    assert all(
        (again.weights(name)[key] == own).all() for name in before for key, own in before[name].items()
    )


def test_a_round_that_is_done_is_not_trained_again(
    made: tuple[Path, list[Trace]],
    recipe: Recipe,
    trace: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, traces = made

    def answer(_: Path, number: int) -> Sequence[Trace]:
        if number == 2:
            raise KeyboardInterrupt
        return [trace(20 + n) for n in range(8)]

    with pytest.raises(KeyboardInterrupt):
        improve(first, tmp_path / "library", traces, 2, answer, recipe)
    assert not (tmp_path / "library").exists()
    with monkeypatch.context() as patched:
        patched.setattr("bdc_agents.distill.rounds.update", lambda *_, **__: pytest.fail("trained"))
        improve(first, tmp_path / "library", traces, 1, answer, recipe)
    ids = ExpertLibrary(tmp_path / "library").facts("clusters.json")["ids"]
    assert "p20" in ids


def test_a_round_without_a_right_answer_leaves_the_experts(
    made: tuple[Path, list[Trace]], recipe: Recipe, trace: Make, tmp_path: Path
) -> None:
    first, traces = made
    said: list[str] = []
    (done,) = improve(
        first, tmp_path / "library", traces, 1, lambda *_: [trace(30, kept=False)], recipe, say=said.append
    )
    assert done.right == 0
    assert done.changed == ()
    assert any("nothing is new" in line for line in said)


def problem(number: int) -> dict[str, object]:
    reverses = bool(number % 2)
    statement = "Reverse the string of letters" if reverses else "Add the integer numbers of the list up"
    call = f"f{number}('ab{number}')" if reverses else f"f{number}([1, {number}])"
    return {
        "id": f"q{number}",
        "statement": f"{statement}, variant {number}.",
        "entry_point": f"f{number}",
        "public_tests": [{"call": call, "expected": repr(f"ab{number}"[::-1] if reverses else 1 + number)}],
        "hidden_tests": [{"call": f"f{number}({'[]' if not reverses else repr('')})", "expected": "0"}],
        "reference": f"def f{number}(s):\n    return {'s[::-1]' if reverses else 'sum(s)'}",
    }


def test_the_command_makes_a_library_of_known_solutions_and_lets_it_answer(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a random model, whose answers teach nothing; they are asked for, run, and told."""
    monkeypatch.chdir(tmp_path)
    Path("problems.jsonl").write_text("\n".join(json.dumps(problem(n)) for n in range(10)))
    Path("some.jsonl").write_text("\n".join(json.dumps(problem(n)) for n in (0, 1)))
    Path("quick.toml").write_text(
        f"""[base]
model = {base!r}
[train]
rank = 2
epochs = 1
batch = 4
max_length = 512
min_rows = 2
small = "shared"
dtype = "float32"
[embed]
model = "base"
cache = false
[cluster]
method = "kmeans"
clusters = 2
min_tokens = 10
[route]
epochs = 1
hidden = 8
"""
    )
    Path("bdc.toml").write_text("[store]\ncache = false\n")
    given = ["distill", "--references", "problems.jsonl", "--recipe", "quick.toml", "--out", "library"]
    rounds = ["--rounds", "1", "--problems", "some.jsonl", "--calls", "2"]
    ended = CliRunner().invoke(app, [*given, *rounds])
    assert ended.exit_code == 0, ended.output
    assert "round 1 of 1: 0 of 2 problems answered right" in ended.output
    assert not ExpertLibrary("library").check()
    asked = {trace.problem.id.split(":")[-1]: trace for trace in read_traces("library.rounds/run-1")}
    assert {name: trace.solution.usage["student"].calls for name, trace in asked.items()} == {
        "q0": 2,
        "q1": 2,
    }
    unknown = CliRunner().invoke(app, [*given, *rounds, "--backend", "llamacpp"])
    assert unknown.exit_code == 2
    assert "did you mean llama.cpp" in unknown.output
    alone = CliRunner().invoke(app, [*given, "--rounds", "1"])
    assert alone.exit_code == 2
    assert "--rounds needs training problems" in alone.output
