import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bdc_agents.cli import app
from bdc_agents.errors import ConfigError
from bdc_agents.evaluate.config import EvalConfig, as_record, difference, read_config

Bdc = Callable[..., subprocess.CompletedProcess[str]]
Configure = Callable[..., list[dict[str, Any]]]


def test_one_command_leaves_a_folder_with_everything(
    workplace: Path, problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    problems(6)
    requests = configure()
    done = bdc(
        "eval", "set.jsonl", "--solver", "single:one", "--solver", "best-of:2", "--solver", "search",
        "--filter", "difficulty=hard", "--limit", "2", "--temperature", "0", "--seed", "7", "--inspect",
        "--out", "out", "--json", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["solver"] for one in told["solvers"]] == ["single:one", "best-of:2", "search"]
    assert all(one["solved"]["value"] == 1.0 for one in told["solvers"])
    assert told["problems"] == 2
    assert {request["temperature"] for request in requests} == {0}
    assert sorted(path.name for path in (workplace / "out").iterdir()) == [
        "eval.json", "inspect", "report.html", "results.jsonl", "summary.json", "traces",
    ]  # fmt: skip
    shown = bdc("view", "out/traces/search")
    assert shown.returncode == 0, shown.stderr
    everything = "".join(path.read_text() for path in (workplace / "out").rglob("*") if path.is_file())
    assert "secret-key" not in everything


def test_the_configuration_alone_runs_it_again(
    workplace: Path, problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    problems(3)
    configure(extra='[eval]\ndatasets = ["set.jsonl"]\nsolvers = ["single:two"]\nlimit = 2\n')
    assert bdc("eval", "--config", "bdc.toml", "--out", "one").returncode == 0
    (workplace / "bdc.toml").rename(workplace / "moved.toml")
    again = bdc("eval", "--config", "one/eval.json", "--out", "two", "--json")
    assert again.returncode == 0, again.stderr
    first, second = (
        [json.loads(line) for line in (workplace / name / "results.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert {row["problem"]: row["code"] for row in first} == {row["problem"]: row["code"] for row in second}


def test_a_set_without_hidden_tests_says_what_it_cannot_claim(
    problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    problems(3, hidden=False)
    configure()
    done = bdc("eval", "set.jsonl", "--solver", "single:one", "--out", "out")
    assert done.returncode == 0
    assert "not how often its programs are right" in " ".join(done.stdout.split())


def test_another_configuration_in_the_same_folder_is_refused(
    problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    problems(3)
    requests = configure()
    assert bdc("eval", "set.jsonl", "--solver", "single:one", "--out", "out").returncode == 0
    asked = len(requests)
    refused = bdc("eval", "set.jsonl", "--solver", "single:two", "--temperature", "0.1", "--out", "out")
    assert refused.returncode == 2
    assert 'eval.solvers: was ["single:one"], is ["single:two"]' in refused.stderr
    assert "eval.temperature: was null, is 0.1" in refused.stderr
    assert len(requests) == asked


def test_changed_problems_are_another_configuration(
    problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    file = problems(3)
    configure()
    assert bdc("eval", "set.jsonl", "--solver", "single:one", "--out", "out").returncode == 0
    file.write_text(file.read_text().replace("please", "kindly"))
    refused = bdc("eval", "set.jsonl", "--solver", "single:one", "--out", "out")
    assert refused.returncode == 2
    assert "lineage.problems_hash" in refused.stderr


def test_agents_that_do_not_answer_end_it_with_the_reason(
    workplace: Path, problems: Callable[..., Path], bdc: Bdc
) -> None:
    problems(9)
    (workplace / "bdc.toml").write_text(
        '[agents.one]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n'
    )
    done = bdc("eval", "set.jsonl", "--solver", "single:one", "--out", "out", "--quiet")
    assert done.returncode == 3
    assert "no agent answered" in done.stderr
    assert (workplace / "out" / "results.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no solver"),
        (("--solver", "single:one"), "no data set"),
        (("demo", "--solver", "singel:one"), "did you mean single"),
        (("demo", "--solver", "single:three"), "unknown agent 'three'"),
        (("demo", "--solver", "single:three"), "or as NAME@http://HOST/v1 for an endpoint of yours"),
        (("demo", "--solver", "single:onee"), "did you mean one?"),
        (("dmeo", "--solver", "single:one"), "did you mean demo"),
        (("demo", "--solver", "single:one", "--filter", "level=2"), "unknown filter 'level'"),
        (("demo", "--solver", "single:one", "--filter", "difficulty=impossible"), "has difficulty"),
        (("demo", "--solver", "single:one", "--k", "0"), "k of pass@k is at least 1"),
        (("demo", "--solver", "single:one", "--samples", "0"), "at least 1 is needed"),
        (("demo", "--solver", "single:one", "--solver", "single:one"), "comes twice"),
        (("--config", "nowhere.toml"), "no configuration 'nowhere.toml'"),
    ],
)
def test_input_that_cannot_be_used(
    words: tuple[str, ...], message: str, configure: Configure, bdc: Bdc
) -> None:
    configure()
    done = CliRunner().invoke(app, ["eval", *words, "--json"])
    assert done.exit_code == 2
    assert message in json.loads(done.stderr)["error"]
    assert done.stdout == ""


def test_a_temperature_that_would_have_no_effect_is_refused(
    problems: Callable[..., Path], configure: Configure, workplace: Path, bdc: Bdc
) -> None:
    problems(3)
    configure()
    file = workplace / "bdc.toml"
    file.write_text(file.read_text().replace('model = "m"', 'model = "m"\ntemperature = 0.3', 1))
    done = bdc("eval", "set.jsonl", "--solver", "single:one", "--temperature", "0", "--out", "out")
    assert done.returncode == 2
    assert "agent 'one' has a temperature of its own (0.3)" in done.stderr


def test_a_file_that_is_neither_toml_nor_an_evaluation(workplace: Path) -> None:
    (workplace / "a.json").write_text("{}")
    (workplace / "b.toml").write_text("[eval\n")
    (workplace / "c.toml").write_text("[eval]\nsolver = ['x']\n")
    for name, message in (
        ("a.json", "not the eval.json"),
        ("b.toml", "not valid TOML"),
        ("c.toml", "solvers"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_config(workplace / name)


def test_the_record_can_be_read_again_and_shows_no_difference(workplace: Path) -> None:
    (workplace / "e.toml").write_text(
        '[eval]\ndatasets = ["demo"]\nsolvers = ["search:paper"]\nk = [1, 5]\n'
        '[agents.a]\nmodel = "m"\nbase_url = "http://me:pw@host/v1"\napi_key = "hush"\n'
        'options = { top_k = 3, token = "hush" }\n[search]\npreset = "paper"\n[budget]\ncalls = 9\n'
    )
    config, settings = read_config(workplace / "e.toml")
    record = as_record(config, settings, ["a"])
    text = json.dumps(record)
    assert "hush" not in text
    assert "pw" not in text
    (workplace / "eval.json").write_text(json.dumps({"config": record}))
    again, others = read_config(workplace / "eval.json")
    assert again == config == EvalConfig(datasets=("demo",), solvers=("search:paper",), k=(1, 5))
    assert (others.search, others.budget) == (settings.search, settings.budget)
    assert difference(record, as_record(again, others, ["a"])) == []


def test_tests_of_known_solutions_are_asked_for_and_named(
    workplace: Path, problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    """A program that is right for the set's own tests alone passes without them, and not with them."""
    file = problems(1)
    row = json.loads(file.read_text()) | {"reference": "def double(n):\n    return 2 * n\n"}
    file.write_text(json.dumps(row) + "\n")
    configure(lambda _: "```python\ndef double(n):\n    return 2 * n if 0 < n < 4 else 0\n```")
    asked = ("eval", "set.jsonl", "--solver", "single:one", "--json")
    solved = {}
    for name, more in (("plain", ()), ("strict", ("--reference-tests",))):
        done = bdc(*asked, *more, "--out", name)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        solved[name] = told["solvers"][0]["solved"]["value"]
        named = "known solutions made further hidden tests" in json.dumps(told["claims"])
        assert named == (name == "strict")
    assert solved == {"plain": 1.0, "strict": 0.0}
    assert (
        "reference_tests" not in json.loads((workplace / "plain" / "eval.json").read_text())["config"]["eval"]
    )
    done = bdc(*asked, "--reference-tests", "--engine", "ray", "--out", "ray")
    assert done.returncode == 2
    assert "works on this machine only" in done.stderr


def test_quiet_tells_the_result_alone(
    workplace: Path, problems: Callable[..., Path], configure: Callable[..., Any], bdc: Bdc
) -> None:
    problems(3)
    configure()
    done = bdc("eval", "set.jsonl", "--solver", "single:one", "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("solver")


def test_rows_of_an_own_file_that_cannot_be_used_are_told_by_the_exit_code(
    workplace: Path, problems: Callable[..., Path], configure: Configure, bdc: Bdc
) -> None:
    """As `bdc collect` tells them: all else is done, and what was asked for is not all done."""
    file = problems(1)
    configure()
    words = ("eval", "set.jsonl", "--solver", "single:one", "--temperature", "0", "--quiet")
    assert bdc(*words, "--out", "whole").returncode == 0
    file.write_text(f'{file.read_text()}{{"id": "bad", "statment": "x"}}\n')
    done = bdc(*words, "--out", "part")
    assert done.returncode == 1, done.stderr
    assert "set.jsonl:2" in done.stderr
    assert "1 row of your own cannot be used, as said at the beginning: mend or remove them" in done.stderr
    assert len((workplace / "part" / "results.jsonl").read_text().splitlines()) == 1
