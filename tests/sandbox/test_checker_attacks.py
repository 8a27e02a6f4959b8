"""Ways into the checker of a script test, or around it, and the forms of scripts that these must not cost."""
# ruff: noqa: E501

import json
import struct

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.frames import keeps_state
from bdc_agents.sandbox.inside.wire import Ending
from bdc_agents.sandbox.judge import judge
from bdc_agents.types import CallTest, Checker, Limits, ScriptTest, StdinTest

PATIENT = Limits(wall_seconds=10, cpu_seconds=5, memory_mb=128)
WRONG = "def f(*_): return 7\n"
FORGED = repr(
    "import os, struct\nbody = b'{\"done\": true}'\nos.write(3, struct.pack('>I', len(body)) + body)\nos._exit(0)"
)
FILES = f"for name in ('test_it', 'helper', 'sitecustomize', 'fractions'):\n    try: open(f'{{name}}.py', 'w').write({FORGED})\n    except OSError: pass\n"

CHEATS = {
    # The checker imports what the program says a name of the script is.
    "its function is a module that looks for tests": (f"import types\n{FILES}f = types.ModuleType('unittest.__main__')", "assert f(1) == 42"),
    "another name is a module that ends the process": ("import types\ndef f(x): return 1\ng = types.ModuleType('unittest.__main__')", "assert f(1) == 1\nassert g(2) == 42"),
    "modules that the script looks for on its path": (FILES + WRONG, "import sys\nsys.path.insert(0, '')\nimport helper\nassert f(1) == 42"),
    # Names that Python has without an import.
    "an exit of its own": (f"exit = quit = lambda *_: None\n{WRONG}", "if f(1) != 42:\n    exit(1)"),
    "a quit of its own": (f"exit = quit = lambda *_: None\n{WRONG}", "assert f(1)\nif f(1) != 42:\n    quit('no')"),
    # Names of modules.
    "a math of its own": (f"class math:\n    isclose = staticmethod(lambda *_, **__: True)\n{WRONG}", "assert math.isclose(f(1), 42)"),
    # Mocks.
    "configures a mock": ("def f(m):\n    m(1)\n    m.configure_mock(assert_called_once_with=lambda *_: None)", "from unittest.mock import Mock\nm = Mock()\nf(m)\nm.assert_called_once_with(42)"),
    "resets a mock": ("def f(m):\n    m(1)\n    m.reset_mock()", "from unittest.mock import MagicMock\nm = MagicMock()\nf(m)\nm.assert_not_called()"),
    "resets a part of a mock": ("def f(m):\n    m.save(1)\n    m.save.reset_mock()", "from unittest.mock import MagicMock\nm = MagicMock()\nf(m)\nm.save.assert_not_called()"),
    "empties the calls of a mock": ("def f(m):\n    m(1)\n    m.mock_calls.clear()", "from unittest.mock import Mock\nm = Mock()\nf(m)\nassert m.mock_calls == []"),
    "attaches a mock": ("def f(m): m.attach_mock(m.x, 'assert_called_with')", "from unittest.mock import MagicMock\nm = MagicMock()\nf(m)\nm.assert_called_with(42)"),
    # Examples that no runner found.
    "examples of the script itself": (WRONG, "'''\n>>> f(1)\n42\n'''\nimport doctest\nassert doctest.testmod().failed == 0"),
}  # fmt: skip

POOL = "from concurrent.futures import ThreadPoolExecutor\n"
HONEST = {
    "threads of the script": ("def f(x): return x + 1", f"{POOL}with ThreadPoolExecutor(8) as pool:\n    assert list(pool.map(f, range(100))) == list(range(1, 101))"),
    "threads of the program": (f"{POOL}def f(g, n):\n    with ThreadPoolExecutor(8) as pool: return list(pool.map(g, range(n)))", "def double(x): return 2 * x\nassert f(double, 50) == [2 * x for x in range(50)]"),
    "threads of both": (f"{POOL}def f(g, n):\n    with ThreadPoolExecutor(3) as pool: return sum(pool.map(g, range(n)))", f"{POOL}def g(x): return x\nwith ThreadPoolExecutor(3) as pool:\n    assert list(pool.map(lambda n: f(g, n), [3, 4, 5, 6])) == [3, 6, 10, 15]"),
    "an object that threads share": ("class Count:\n    def __init__(self): self.n = 0\n    def up(self): self.n += 1", "import threading\nc = Count()\nthreads = [threading.Thread(target=lambda: [c.up() for _ in range(20)]) for _ in range(5)]\nfor t in threads: t.start()\nfor t in threads: t.join()\nassert c.n == 100"),
    "a callback that calls back": ("def f(g, n): return g(n)", "depth = lambda n: 0 if n == 0 else 1 + f(depth, n - 1)\nassert f(depth, 30) == 30"),
    "examples of the script itself": ("def f(x): return x + 1", "'''\n>>> f(1)\n2\n'''\nimport doctest\nassert doctest.testmod().failed == 0"),
    "a status that tells the result": ("def f(x): return x + 1", "import sys\nok = f(1) == 2\nsys.exit(0 if ok else 1)"),
    "a queue of its own": ("class Queue:\n    def put(self, x): self.last = x\nqueue = Queue()", "queue.put(5)\nassert queue.last == 5"),
    "an alias of a module": ("import os.path as p\nimport xml.etree.ElementTree as ET\ndef f(x): return x", "assert p.join('a', 'b') == 'a/b'\nassert ET.fromstring('<a/>').tag == f('a')"),
    "a mock": ("def f(m): return m.get(2)['x'] + m.user.name + str(len(m))", "from unittest.mock import MagicMock\nm = MagicMock()\nm.get.return_value = {'x': 'a'}\nm.user.name = 'b'\nm.__len__.return_value = 3\nassert f(m) == 'ab3'\nm.get.assert_called_once_with(2)"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
async def test_a_program_that_goes_around_its_script_fails(any_tier, name):
    code, script = CHEATS[name]
    verdict = await any_tier.run(Job(code=code, tests=(ScriptTest(code=script),), limits=PATIENT))
    assert verdict.results[0].outcome not in ("passed", "killed")


@pytest.mark.parametrize("name", HONEST)
async def test_a_right_program_passes(any_tier, name):
    code, script = HONEST[name]
    verdict = await any_tier.run(Job(code=code, tests=(ScriptTest(code=script),), limits=PATIENT))
    assert verdict.results[0].outcome == "passed", verdict.results[0]


TOO_DEEP = {
    "a long sum": f"x = {'+'.join(['1'] * 1500)}",
    "many signs": f"x = {'-' * 1500}1",
    "many branches": "if 1:\n    pass\n" + "elif 1:\n    pass\n" * 900,
}


@pytest.mark.parametrize("name", TOO_DEEP)
async def test_a_program_whose_tree_is_too_deep_to_walk_gets_a_verdict(run, name):
    code = f"{TOO_DEEP[name]}\ndef f(): return 1\n"
    assert keeps_state(code)
    verdict = await run(code, CallTest(call="f()", expected=("1",)), StdinTest(stdin="", expected=("",)))
    assert len(verdict.results) == 2


@pytest.mark.parametrize("line", [10**30, 2**64, -(10**30), -1, 0, True, 1.5, "9"])
def test_a_forged_line_is_none(line):
    """A number of any size would fit into no checkpoint, and end the search."""
    report = json.dumps({"error": "E", "message": "m", "line": line}).encode()
    ending = Ending("exit", 1, True, 0.1, b"", report)
    found = judge(CallTest(call="f()", expected=("1",)), ending, Checker())
    assert (found.outcome, found.error, found.line) == ("error", "E: m", None)


async def test_a_program_that_forges_the_line_of_its_error_is_judged(call):
    body = b'{"error": "E", "message": "m", "line": 1000000000000000000000000}'
    report = struct.pack(">I", len(body)) + body
    result = await call(f"import os, time\ndef f():\n    os.write(3, {report!r})\n    time.sleep(1)", "f()")
    assert (result.outcome, result.line) == ("error", None)
