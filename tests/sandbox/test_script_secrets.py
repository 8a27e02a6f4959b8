"""What a program can learn of its script, and how it can lie to it, by the objects that cross."""
# ruff: noqa: E501

import pytest

from bdc_agents.types import Limits, ScriptTest

# --- learning ---------------------------------------------------------------------------------------

SECRET = "SECRET-48151623"
PATIENT = Limits(wall_seconds=30, cpu_seconds=15)

HUNT = '''
import sys
NAMES = """__globals__ __code__ __closure__ __self__ __class__ __dict__ __func__ __wrapped__ __module__ __defaults__
__kwdefaults__ __annotations__ __builtins__ __getattribute__ __reduce__ __reduce_ex__ __init__ __subclasses__ __mro__
__bases__ __traceback__ __context__ __cause__ gi_frame gi_code gi_yieldfrom cr_frame cr_code ag_frame ag_code tb_frame
f_globals f_locals f_back f_builtins f_code co_consts co_names func args keywords cell_contents obj name value
mock_calls side_effect return_value call_args method_calls want secret run id debug read getvalue queue
maps data default_factory __doc__ __name__ __qualname__ __slots__ __weakref__ _secret""".split()
OPERATIONS = ["getattr", "special", "call", "step", "await", "inherited", "name", "describe", "isinstance", "setattr",
              "subclass", "define", "patch", "delattr"]
seen = []
def hunt(thing, depth=0):
    found = []
    if isinstance(thing, (str, bytes, int, float, list, tuple, dict, type(None))):
        return [thing]
    try:
        peer = object.__getattribute__(thing, "_peer_")
    except Exception:
        return [thing]
    for name in NAMES:
        for operation in ("getattr", *(OPERATIONS if name in ("__globals__", "want", "__dict__") else ())):
            try:
                value = peer.ask(operation, thing, name)
            except Exception as error:
                found.append((str(error), repr(getattr(error, "args", ""))))
                continue
            found.append(repr(value) if isinstance(value, (str, bytes, int, float, list, tuple, dict)) else "")
            if depth < 1 and not any(value is one for one in seen):
                seen.append(value)
                found += hunt(value, depth + 1)
    for number in range(12):
        for operation in ("describe", "name"):
            try:
                found.append(repr(peer.ask(operation, number)))
            except Exception as error:
                found.append(str(error))
    for name in ("__str__", "__repr__", "__format__", "__dir__", "__getattribute__", "__reduce__", "__iter__", "__len__"):
        try:
            found.append(repr(peer.ask("special", thing, name)))
        except Exception as error:
            found.append(str(error))
    return found
def f(*things):
    text = repr([hunt(thing) for thing in things])
    return "SECRET" + "-48" in text
def run(function):
    try:
        function()
    except BaseException as error:
        text = repr([error, error.args, vars(error), error.__traceback__, error.__cause__, error.__context__])
        return "SECRET" + "-48" in text
def nothing(*things): return None
'''

SECRETIVE = f'''
secret = "{SECRET}"
def plain(x=0, hidden="{SECRET}"):
    return len(secret)
def closed(inner="{SECRET}"):
    kept = secret + inner
    return lambda: len(kept)
def gen():
    local = secret
    yield len(local)
async def coro():
    local = secret
class Own:
    _secret = secret
    def __init__(self): self._hidden = secret
    def method(self): return len(secret)
'''

PASSED = {
    "a function": "assert f(plain) == False",
    "a closure": "assert f(closed()) == False",
    "a lambda": "assert f(lambda: secret) in (False,)",
    "a generator": "assert f(gen()) == False",
    "a started generator": "g = gen()\nnext(g)\nassert f(g) == False",
    "a generator expression": "assert f(len(secret) for _ in [1]) == False",
    "a coroutine": "c = coro()\nassert f(c) == False\nc.close()",
    "an object": "assert f(Own()) == False",
    "a bound method": "assert f(Own().method) == False",
    "a class": "assert f(Own) == False",
    "a partial": "import functools\nassert f(functools.partial(plain, 1)) == False",
    "a cached function": "import functools\nassert f(functools.lru_cache(plain)) == False",
    "a property and a static method": "assert f(property(lambda s: 1), staticmethod(plain)) == False",
    "a module": "import sys, types\nassert f(sys, types) == False",
    "an iterator": "assert f(iter([plain]), map(plain, [])) == False",
    "an exception": "try:\n    x = secret\n    raise KeyError('k')\nexcept KeyError as error:\n    assert f(error) == False",
    "its traceback": "try:\n    x = secret\n    raise KeyError('k')\nexcept KeyError as error:\n    assert f(error.__traceback__) == False",
    "a frame": "import sys\nassert f(sys._getframe()) == False",
    "code": "assert f(plain.__code__) == False",
    "the names": "assert f(globals().get) == False or True\nassert f(plain) == False",
    "a test case": "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertFalse(f(self.helper))\n    def helper(self): return len(secret)",
    "a mock": "from unittest.mock import Mock\nassert f(Mock(return_value=1)) == False",
    "a failed assertion in a callback": "def bad():\n    assert 7 == len(secret), secret\nassert run(bad) == False",
    "a failed unittest assertion in a callback": "import unittest\ndef bad():\n    unittest.TestCase().assertEqual(7, secret)\nassert run(bad) == False",
    "an error in a callback": "def bad():\n    x = secret\n    return undefined_name\nassert run(bad) == False",
    "code that does not compile in a callback": "def bad():\n    exec('x = ' + secret + ' (')\nassert run(bad) == False",
    "a chained error in a callback": "def bad():\n    try:\n        raise KeyError(secret)\n    except KeyError as error:\n        raise ValueError('v') from error\nassert run(bad) == False",
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED)
async def test_nothing_that_is_passed_leads_to_the_script(run, name):
    (result,) = (await run(HUNT, ScriptTest(code=SECRETIVE + PASSED[name]), limits=PATIENT)).results
    assert result.outcome == "passed", (result.outcome, result.error, result.shown)


async def test_control_the_hunt_finds_what_is_shown(run):
    shown = f"class Shown:\n    want = {SECRET!r}\nassert f(Shown()) == True\n"
    (result,) = (await run(HUNT, ScriptTest(code=shown), limits=PATIENT)).results
    assert result.outcome == "passed", result


@pytest.mark.parametrize(
    "change",
    [
        "x.v = 42",
        "setattr(x, 'v', 42)",
        "del x.v",
        "x.__dict__['v'] = 42",
        "x.__class__ = int",
        "type(x).v = 42",
        "object.__getattribute__(x, '_peer_').ask('special', x, '__setattr__', 'v', 42)",
        "object.__getattribute__(x, '_peer_').ask('setattr', x, 'v', 42)",
        "object.__getattribute__(x, '_peer_').ask('special', x, '__init__', 42)",
        "object.__getattribute__(x, '_peer_').ask('define', 'want', 42)",
    ],
)
async def test_a_program_sets_nothing_of_the_scripts_objects(run, change):
    code = (
        f"def f(x):\n    try:\n        {change}\n    except Exception as error:\n        return str(error)\n"
    )
    script = "class X:\n    def __init__(self, v=7): self.v = v\nwant = 1\nx = X()\nf(x)\nassert x.v == 7 and X.v_is_unset\n"
    script = script.replace("X.v_is_unset", "'v' not in vars(X) and want == 1")
    (result,) = (await run(code, ScriptTest(code=script))).results
    assert result.outcome == "passed", result


async def test_the_refusal_is_a_sentence(run):
    code = "def f(x):\n    x.v = 42\n"
    (result,) = (await run(code, ScriptTest(code="class X: pass\nx = X()\nf(x)\nassert x.v == 42"))).results
    assert result.outcome == "error"
    assert '"call"' in result.error
    assert "attributes" in result.error


# --- lying ------------------------------------------------------------------------------------------

EVERYTHING = tuple(
    f"__{name}__"
    for name in [
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "contains",
        "add",
        "radd",
        "sub",
        "rsub",
        "mul",
        "rmul",
        "truediv",
        "rtruediv",
        "mod",
        "rmod",
        "and",
        "rand",
        "or",
        "ror",
        "xor",
        "rxor",
        "floordiv",
        "rfloordiv",
        "pow",
        "rpow",
        "iadd",
        "isub",
        "matmul",
        "rmatmul",
        "divmod",
        "rdivmod",
    ]
)
LIAR = f"""
class Liar:
    x = 0
    def __bool__(self): return True
    def __abs__(self): return 0.0
    def __float__(self): return 0.0
    def __int__(self): return 0
    def __round__(self, n=None): return 0.0
    def __hash__(self): return hash(42)
    def lie(self, *others):
        Liar.heard = others
        return True
for name in {EVERYTHING!r}:
    setattr(Liar, name, Liar.lie)
"""
NUMERIC_LIAR = LIAR.replace("return True\nfor", "return self\nfor")

CLASSES = {
    "an object": "def f(x): return Liar()",
    "an object that lies in numbers": "def f(x): return Liar()",
    "a class in place of the function": "class f(Liar):\n    def __init__(self, x): pass",
    "an int": "class I(Liar, int): pass\ndef f(x): return I(7)",
    "a str": "class I(Liar, str): pass\ndef f(x): return I('7')",
    "a list": "class I(Liar, list): pass\ndef f(x): return I([7])",
    "a dict": "class I(Liar, dict): pass\ndef f(x): return I(a=7)",
    "a tuple": "class I(Liar, tuple): pass\ndef f(x): return I((7,))",
    "a float": "class I(Liar, float): pass\ndef f(x): return I(7.0)",
    "a metaclass": "class M(type):\n    __eq__ = Liar.lie\n    __hash__ = type.__hash__\n    __contains__ = Liar.lie\ndef f(x): return M('N', (), {})",
    "one that claims to be an int": "class I(Liar):\n    __class__ = int\ndef f(x): return I()",
    "a named tuple": "import collections\nclass I(collections.namedtuple('P', 'x')):\n    __eq__ = Liar.lie\n    __ne__ = lambda *_: False\n    __hash__ = None\ndef f(x): return I(7)",
    "an exception": "class I(Exception):\n    __eq__ = Liar.lie\n    __hash__ = None\ndef f(x): return I(7)",
    "a dataclass": "import dataclasses\n@dataclasses.dataclass\nclass I:\n    v: int = 7\n    __eq__ = Liar.lie\ndef f(x): return I()",
    "an enumeration": "import enum\nclass I(Liar, enum.Enum):\n    A = 7\ndef f(x): return I.A",
    "a counter": "import collections\nclass I(Liar, collections.Counter): pass\ndef f(x): return I('a')",
    "a list of them": "def f(x): return [Liar()]",
    "a mapping of them": "class D(dict):\n    def __eq__(self, o): return True\n    def __missing__(self, k): return Liar()\ndef f(x): return D()",
    "a nan": "def f(x): return float('nan')",
    "NotImplemented": "def f(x): return NotImplemented",
}  # fmt: skip
CLAIMS = (
    *("assert f(1) == 42", "assert 42 == f(1)", "assert not f(1) != 42", "assert f(1) == [42]", "assert [42] == f(1)"),
    *("assert f(1) == (42,)", "assert f(1) == {'a': 42}", "assert f(1) == '42'", "assert [f(1)] == [42]"),
    *("assert {f(1), 42} == {42}", "assert f(1) in [42, 43]", "assert 42 in f(1)", "assert f(1) is 42 or f(1) == 42"),
    *("assert abs(f(1) - 42) < 1e-6", "assert abs(42 - f(1)) < 1e-6", "assert 41 < f(1) < 43", "assert f(1) % 43 == 42"),
    *("import math\nassert math.isclose(f(1), 42)", "assert (f(1) - 42) == 0", "assert f(1) // 42 == 1 and f(1) - 42 < 1"),
    *("import unittest\nunittest.TestCase().assertEqual(f(1), 42)", "assert f(1).__eq__(42) is True"),
    *("import operator\nassert operator.eq(f(1), 42)", "assert sorted([f(1), 42]) == [42, 42]", "assert max(f(1), 42) == 42 == min(f(1), 42)"),
    *("assert {42: 'a'}.get(f(1)) == 'a'", "match f(1):\n    case 42:\n        pass\n    case _:\n        raise ValueError"),
    *("assert any(f(1) == 42 for _ in range(3))", "assert f(1) <= 42 and f(1) >= 42", "assert f(1).x == 42"),
    *("try:\n    assert abs(f(1) - 42) < 1e-6\nexcept TypeError:\n    pass\nassert abs(f(1) - 42) < 1e-6",),
    *("assert isinstance(f(1), int) and f(1) > 41",),
)  # fmt: skip


THOROUGHLY = ("an object", "an object that lies in numbers", "a class in place of the function", "an int")


@pytest.mark.parametrize("name", CLASSES)
async def test_no_object_passes_for_the_answer(run, name):
    """Whatever its operators say; the right answer does pass."""
    liar = NUMERIC_LIAR if "numbers" in name else LIAR
    claims = CLAIMS if name in THOROUGHLY else CLAIMS[::4]
    tests = tuple(ScriptTest(code=claim) for claim in claims)
    verdict = await run(liar + CLASSES[name], *tests, entry_point="f")
    passed = [
        claim for claim, result in zip(claims, verdict.results, strict=True) if result.outcome == "passed"
    ]
    assert passed == [], name


async def test_those_claims_hold_for_answers():
    for claim in CLAIMS:
        names = {"f": lambda x: 42}
        if any(
            mark in claim
            for mark in ("[42]", "(42,)", "'42'", "'a': 42", "42 in f", ".x", "sorted", "[f(1)]")
        ):
            continue
        exec(claim.replace(" is 42 or f(1)", ""), names)


async def test_the_program_is_not_told_what_its_result_is_compared_with(run):
    code = LIAR + "def f(x): return Liar()\ndef heard(): return repr(getattr(Liar, 'heard', None))"
    script = "for _ in range(2):\n    got = f(1) == 42, f(1) != 42, 42 == f(1), f(1) in [42], 43 in [f(1)]\nassert heard() == 'None'"
    verdict = await run(code, ScriptTest(code=script), entry_point="f")
    assert verdict.passed, verdict.results


async def test_a_sentence_names_the_way_out(run):
    code = "class V:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return self.x == o\n"
    code += "    def __lt__(self, o): return self.x < o\n    def __sub__(self, o): return self.x - o\ndef f(x): return V(x)\n"
    scripts = (
        "assert f(1) == 1",
        "assert V(1) == 1",
        "assert V(1) < 2",
        "assert V(3) - 1 == 2",
        "assert f(3) - 1 == 2",
    )
    for script in scripts:
        (result,) = (await run(code, ScriptTest(code=script))).results
        assert result.outcome in ("wrong", "error"), script
        assert '"call" and "expected"' in result.error, (script, result)
