"""Tests in every form are run, those of pytest and unittest too; one that asserts nothing is told."""
# ruff: noqa: E501

import pytest

from bdc_agents.data import task_from_dict
from bdc_agents.errors import ProblemError
from bdc_agents.types import ScriptTest

RIGHT, WRONG = "def f(x):\n    return x\n", "def f(x):\n    return 0\n"

RUN = {
    "a function that nobody calls": "def test_f():\n    assert f(1) == 1\n",
    "one with a default": "def test_f(x=3):\n    assert f(x) == x\n",
    "a coroutine function": "async def test_f():\n    assert f(1) == 1\n",
    "the second of two": "def test_a():\n    assert f(0) == 0\ndef test_b():\n    assert f(1) == 1\ntest_a()\n",
    "a class as pytest has it": "class TestF:\n    def setup_method(self): self.x = 2\n"
    "    def test_f(self): assert f(self.x) == 2\n",
    "a case that nobody runs": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertEqual(f(1), 1)\n",
    "a case with an assert": "from unittest import TestCase\nclass T(TestCase):\n"
    "    def test_f(self):\n        assert f(1) == 1\n",
    "main without exit": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertEqual(f(1), 1)\nunittest.main(exit=False)\n",
    "main": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertEqual(f(1), 1)\nunittest.main()\n",
    "main under its guard": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertEqual(f(1), 1)\nif __name__ == '__main__':\n    unittest.main(verbosity=2)\n",
    "a runner whose result is dropped": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertEqual(f(1), 1)\n"
    "unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))\n",
    "parts of a case": "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n"
    "        for i in (0, 1):\n            with self.subTest(i=i):\n                self.assertEqual(f(i), i)\n",
    "a case of coroutines": "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n"
    "    async def test_f(self): self.assertEqual(f(1), 1)\n",
    "what is set up": "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.x = f(1)\n"
    "    def test_f(self): self.assertEqual(self.x, 1)\n",
    "the guard of a module": "if __name__ == '__main__':\n    assert f(1) == 1\n",
    "doctests": 'def example():\n    """\n    >>> f(1)\n    1\n    """\nimport doctest\ndoctest.testmod()\n',
    "an explicit raise": "if f(1) != 1:\n    raise ValueError('wrong')\n",
    "an explicit exit": "import sys\nif f(1) != 1:\n    sys.exit(1)\n",
    "a check that nobody calls": "def check(candidate):\n    assert candidate(1) == 1\n",
}


@pytest.mark.parametrize("form", RUN)
async def test_a_test_of_every_form_is_run(run, form):
    test = ScriptTest(code=RUN[form])
    right = await run(RIGHT, test, entry_point="f")
    assert right.passed, right.results
    (wrong,) = (await run(WRONG, test, entry_point="f")).results
    assert wrong.outcome in ("wrong", "error"), wrong
    assert "asserting" not in wrong.error


async def test_a_failed_assertion_of_unittest_is_a_wrong_answer(run):
    (result,) = (await run(WRONG, ScriptTest(code=RUN["main"]))).results
    assert (result.outcome, result.error) == ("wrong", "AssertionError: 0 != 1")


NOTHING = {
    "": "",
    "only a call": "f(1)\n",
    "only prints": "print(f(1))\n",
    "a constant": "f(1)\nassert True\n",
    "a tuple, which is always true": "assert (f(1) == 7, 'seven')\n",
    "under a condition that never holds": "if False:\n    assert f(1) == 7\n",
    "under another module's name": "if __name__ == 'test':\n    assert f(1) == 7\n",
    "a loop over nothing": "for x in []:\n    assert f(x) == 7\n",
    "a function of another name": "def verify():\n    assert f(1) == 7\n",
    "a case without a test": "import unittest\nclass T(unittest.TestCase):\n    def check(self): assert f(1) == 7\n"
    "unittest.main()\n",
    "a test that is skipped": "import unittest\n@unittest.skip('later')\nclass T(unittest.TestCase):\n"
    "    def test_f(self): self.assertEqual(f(1), 7)\n",
    "exit before all": "import sys\nsys.exit()\nassert f(1) == 7\n",
}


@pytest.mark.parametrize("form", NOTHING)
async def test_a_script_that_asserted_nothing_does_not_pass(run, form):
    (result,) = (await run(RIGHT, ScriptTest(code=NOTHING[form]))).results
    assert result.outcome == "error"
    assert "without asserting anything" in result.error


@pytest.mark.parametrize(
    "script",
    [
        "def test_f(tmp_path):\n    assert f(1) == 1\n",
        "def test_f(x, want):\n    assert f(x) == want\n",
        "class TestF:\n    def test_f(self, capsys):\n        assert f(1) == 1\n",
    ],
)
async def test_what_needs_pytest_is_refused_in_a_sentence(run, script):
    (result,) = (await run(RIGHT, ScriptTest(code=script))).results
    assert result.outcome == "error"
    assert "fixtures and parameters of pytest are not supported" in result.error


@pytest.mark.parametrize(
    "code",
    [
        "f(1)",
        "print(f(1))",
        "assert True",
        "assert 1 == 1",
        "assert (f(1) == 2, 'two')",
        "x = f(1)\nif False:\n    assert x",
    ],
)
def test_code_that_asserts_nothing_is_refused_when_it_is_loaded(code):
    row = {"id": "a", "statement": "f returns x.", "public_tests": [{"code": code}]}
    with pytest.raises(ProblemError, match="would pass any program"):
        task_from_dict(row)


@pytest.mark.parametrize("code", [*dict.fromkeys(RUN.values()), "assert f", "x = f(1)\nassert x"])
def test_code_that_asserts_something_is_loaded(code):
    row = {"id": "a", "statement": "f returns x.", "public_tests": [{"code": code}]}
    assert task_from_dict(row).problem.public_tests


# --- exceptions of a program --------------------------------------------------------------------------

ENDS = ("StopIteration", "GeneratorExit", "StopAsyncIteration", "KeyboardInterrupt", "SystemExit(0)")
LOOPS = {
    "all and map": "assert all(map(lambda x: f(x) == x, [1, 2]))",
    "zip": "for got, want in zip(map(f, [1, 2]), [1, 2]):\n    assert got == want",
    "a generator": "def results():\n    for x in (1, 2):\n        yield f(x)\nassert all(r == 1 for r in results())",
    "any": "assert not any(map(f, [1, 2]))",
    "list": "assert list(map(f, [1, 2])) == []",
    "a default of next": "assert next(map(f, [1]), None) is None",
    "an assertion before": "assert 2 == len('ab' if f else '')\nfor x in map(f, [1]):\n    assert x == 1",
    "an object's attribute": "assert all(map(lambda x: f.x == x, [1]))",
    "a skipped test": "import unittest\nclass T(unittest.TestCase):\n    def test_f(self): self.assertEqual(f(1), 1)",
}


@pytest.mark.parametrize("raised", [*ENDS, "AssertionError", "Exception"])
@pytest.mark.parametrize("loop", LOOPS)
async def test_an_exception_of_the_program_ends_no_loop(run, loop, raised):
    code = f"def f(x):\n    raise {raised}\n"
    (result,) = (await run(code, ScriptTest(code=LOOPS[loop]))).results
    assert result.outcome == "error", result


@pytest.mark.parametrize(
    "program",
    [
        "class End(StopIteration): pass\ndef f(x):\n    raise End",
        "class End(StopIteration, KeyError): pass\ndef f(x):\n    raise End",
        "class End(GeneratorExit): pass\ndef f(x):\n    raise End",
        "import unittest\ndef f(x):\n    raise unittest.SkipTest('skipped')",
        "import unittest.case\ndef f(x):\n    raise unittest.case._ShouldStop",
        "import asyncio\ndef f(x):\n    raise asyncio.CancelledError",
        "def __next__(x):\n    raise StopIteration\nf = __next__",
        "class F:\n    def __call__(self, x): raise StopIteration\n    __next__ = __call__\nf = F()",
        "class F:\n    def __getattr__(self, name): raise StopIteration\n    def __call__(self, x): return self.y\nf = F()",
    ],
)
@pytest.mark.parametrize("loop", ["all and map", "zip", "an assertion before", "a skipped test"])
async def test_nor_does_one_that_is_dressed_up(run, loop, program):
    (result,) = (await run(program, ScriptTest(code=LOOPS[loop]))).results
    assert result.outcome == "error", result


async def test_an_iterator_still_ends(run):
    code = "def f(n):\n    yield from range(n)\nclass It:\n    def __iter__(self): return self\n"
    code += "    def __next__(self): raise StopIteration\n"
    verdict = await run(code, ScriptTest(code="assert list(f(2)) == [0, 1]\nassert list(It()) == []"))
    assert verdict.passed, verdict.results
