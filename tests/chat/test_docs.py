"""What docs/chat.md shows runs, and is read as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bdc_agents.chat.understanding import Known, hear
from bdc_agents.testing import ScriptedEndpoint

from .messages import shown

PAGE = (Path(__file__).parents[2] / "docs/chat.md").read_text(encoding="utf-8")
(SNIPPET,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.slow
def test_the_snippet_runs(tmp_path: Path) -> None:
    right = "```python\ndef double(x):\n    return 2 * x\n```"
    with ScriptedEndpoint(lambda _: right) as endpoint:
        agent = f'[agents.one]\nmodel = "any"\nbase_url = "{endpoint.url}"\napi_key = "k"\n'
        (tmp_path / "bdc.toml").write_text(agent, encoding="utf-8")
        out = subprocess.run(
            [sys.executable, "-c", SNIPPET],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("**Solved**: `double` passes 1 of 1 test.")


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("`double(2) should be 4`", ["double(2) -> 4"]),
        ("`double(2) returns 3 but should return 4`", ["double(2) -> 4"]),
        ("`half(-1) should raise ValueError`", []),
        ("`for the empty list it should return 0`, total", ["total([]) -> 0"]),
    ],
)
def test_the_forms_of_tests_are_read(text: str, tests: list[str]) -> None:
    form = text.split("`")[1]
    assert f"| `{form}` |" in PAGE
    name = form.partition("(")[0] if "(" in form else "total"
    heard = hear([f"Write {name}(x). {form}"], Known())
    assert heard.problem
    found = [shown(test) for test in heard.problem.public_tests]
    assert found == tests or (not tests and "except ValueError" in found[0])
