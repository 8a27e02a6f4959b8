"""What people open first: the example, the graph for Studio, the command."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bdc_agents.runs import read_traces
from bdc_agents.serve import BDCSolver, SolverConfig
from bdc_agents.testing import ScriptedEndpoint

ROOT = Path(__file__).parents[3]
DOUBLE = "Write double(x), which returns twice x."
RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def with_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a bdc.toml, whose agent is right."""
    with ScriptedEndpoint(lambda _: RIGHT) as endpoint:
        agent = (
            f'[agents.big]\nmodel = "m"\nbase_url = "{endpoint.url}"\napi_key = "k"\n[store]\ncache = false\n'
        )
        (tmp_path / "bdc.toml").write_text(agent)
        monkeypatch.chdir(tmp_path)
        yield tmp_path


async def test_the_example(
    one_expert: Path,
    with_agent: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = load("examples/solver.py")
    # A random model would write on to the end: its replies are kept short.
    short = partial(BDCSolver.from_library, config=SolverConfig(max_tokens=16))
    monkeypatch.setattr(BDCSolver, "from_library", short)
    await example.main(str(one_expert), DOUBLE, "assert double(4) == 8")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "system 2, experts {'shared': 1.0}"
    assert "    return 2 * x" in lines
    (trace,) = read_traces(with_agent / "runs" / "solver")
    assert trace.decision
    assert trace.decision.kept


async def test_the_graph_that_langgraph_json_names(
    one_expert: Path, with_agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BDC_LIBRARY", str(one_expert))
    named = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["solve"]["path"]
    graph = load(named.removeprefix("./").partition(":")[0]).graph
    problem = {
        "statement": DOUBLE,
        "entry_point": "double",
        "public_tests": ["double(4) -> 8", {"args": [3], "expected": 6}],
    }
    state = await graph.ainvoke({"problem": problem}, context={"samples": 1, "max_tokens": 5})
    assert state["answer"]["system"] == 2
    assert state["answer"]["solved"]
    nodes = set(graph.get_graph().nodes)
    assert {"route", "answer", "check", "escalate"} <= nodes


def test_what_serves_is_light_until_a_library_is_opened() -> None:
    modules = ["solver.graph", "chat_model", "http.api", "solver.runnable"]
    heavy = "torch transformers numpy uvicorn"
    code = (
        f"import sys; from importlib import import_module as load; "
        f"[load('bdc_agents.serve.' + name) for name in {modules}]; "
        f"print([m for m in {heavy!r}.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "environment", "says", "code"),
    [
        (["x", "--host", "0.0.0.0", "--no-key"], {}, "--no-key lets everyone", 2),
        (["x"], {"BDC_API_KEY": "short"}, "the key in BDC_API_KEY has 5 characters", 2),
        (["x", "--allow-host", "http://a.example:80"], {}, "expected one without scheme and port", 2),
        (["x", "--port", "0"], {}, "no library at 'x'", 2),
        (["x", "--port", "0", "--backend", "vlm"], {}, "unknown backend 'vlm'", 2),
    ],
)
def test_the_command_says_what_is_wrong(
    words: list[str], environment: dict[str, str], says: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bdc_agents.cli.app import app

    monkeypatch.delenv("BDC_API_KEY", raising=False)
    monkeypatch.setattr(os, "environ", os.environ | environment)
    done = CliRunner().invoke(app, ["serve", *words])
    assert done.exit_code == code
    assert says in done.stderr


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_server_without_agents_downloads_none(command: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Editors start it in whatever folder they are in."""
    from bdc_agents.cli.app import app as entry

    pytest.importorskip("mcp" if command == "mcp" else "uvicorn")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(entry, [command, *(["--port", "0"] if command == "serve" else [])])
    assert done.exit_code == 2
    assert "no agents: name one" in done.stderr
