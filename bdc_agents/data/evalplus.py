"""Tests of EvalPlus: many inputs, compared with the oracle solution or the recorded results.

Both of its formats are read: the release files (`base_input`, `plus_input`, `atol` and the
canonical solution as the oracle) and the hub's data sets (one script in `test`).
"""

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any

from bdc_agents.syntax import parse
from bdc_agents.types import Limits, ScriptTest

INPUTS_PER_TEST = 100
"""Inputs of one test: few enough to stay within its limits, and enough that starting a process costs little.
Chosen, not measured."""
PLUS_LIMITS = Limits(cpu_seconds=12)
"""Twice the default: the oracle's time counts too, and some inputs are meant to be large."""

# Tasks of MBPP+ whose answers are compared in a way of their own, by function.
_AS_SETS = (
    "similar_elements",
    "find_char_long",
    "common_in_nested_lists",
    "extract_singly",
    "larg_nnum",
    "intersection_array",
    "find_dissimilar",
    "Diff",
)
# Answers that EvalPlus accepts beside the oracle's: tasks whose words can be read in two ways.
_ALSO_RIGHT = {
    "are_equivalent": "True",
    "sum_div": "out == 0",
    "surface_Area": "abs(out - round(given[0] ** 2"
    " + 2 * given[0] * ((given[0] / 2) ** 2 + given[1] ** 2) ** 0.5))"
    " <= 1e-6",
    "digit_distance_nums": "out == sum(abs(int(a) - int(b)) for a, b in zip(*(str(one).zfill("
    "max(len(str(other)) for other in given)) for one in given)))",
}
_FOUND_OR_NOT = ("check_str", "text_match_three", "text_starta_endb")

# numpy is not in the sandbox; the hub's scripts need only this much of it.
_NUMPY = """
class np:
    ndarray = ()
    float32 = float64 = None
    @staticmethod
    def allclose(out, exp, rtol=1e-7, atol=0):
        if isinstance(exp, (list, tuple)):
            pairs = zip(out, exp) if len(out) == len(exp) else [(None, 0)]
            return all(np.allclose(a, b, rtol, atol) for a, b in pairs)
        if out is None or out == exp or (out != out and exp != exp):
            return out is not None
        return abs(out - exp) <= atol + rtol * abs(exp)
    class testing:
        @staticmethod
        def assert_allclose(out, exp, rtol=1e-7, atol=0):
            assert np.allclose(out, exp, rtol, atol)
"""

_COMPARE = """
def _floats(value):
    return isinstance(value, float) or (
        isinstance(value, (list, tuple)) and all(isinstance(item, float) for item in value))

def _same(out, exp, atol):
    if out == exp:
        return True
    atol = 1e-6 if atol == 0 and _floats(exp) else atol
    return atol != 0 and type(out) is type(exp) and np.allclose(out, exp, atol=atol)
"""

_RUN = """
def _run():
    import copy
    oracle = {{}}
    exec({oracle!r}, oracle)
    inf, nan = float("inf"), float("nan")
    for given in {inputs}:
        exp = oracle[{name!r}](*copy.deepcopy(given))
        out = {name}(*copy.deepcopy(given))
        assert {passes}

_run()
"""


def input_tests(
    name: str, oracle: str, base: Sequence[Any], plus: Sequence[Any], atol: float
) -> tuple[ScriptTest, ...]:
    """Tests that compare a program with the oracle, at most `INPUTS_PER_TEST` inputs each.

    Args:
        name: The function under test, defined by the program and by the oracle.
        oracle: A program known to be right; it runs in a namespace of its own.
        base, plus: Argument lists.
        atol: Absolute tolerance of floats; 0 means the one EvalPlus uses for floats, 1e-6.
    """
    inputs = [*base, *plus]
    count = -(-len(inputs) // INPUTS_PER_TEST)
    # Large inputs stand next to each other: dealt out in turn, no test gets them all.
    chunks = [inputs[start::count] for start in range(count)]
    return tuple(ScriptTest(code=_script(name, oracle, chunk, atol)) for chunk in chunks)


def _script(name: str, oracle: str, inputs: Sequence[Any], atol: float) -> str:
    passes = f"_same(out, exp, {atol!r})"
    if name == "find_zero":  # any root will do
        passes = f'abs(oracle["poly"](*given, out)) <= {atol!r}'
    elif name in _AS_SETS:
        passes = "set(out) == set(exp)"
    elif name in _ALSO_RIGHT:
        passes = f"{passes} or {_ALSO_RIGHT[name]}"
    elif name in _FOUND_OR_NOT:  # a match object and True mean the same
        passes = "out == exp if isinstance(out, bool) else bool(exp) == (out is not None)"
    return _NUMPY + _COMPARE + _RUN.format(oracle=oracle, inputs=list(inputs), name=name, passes=passes)


def hub_test(test: str, name: str) -> ScriptTest:
    """The test of a row of the hub's data sets: its own script, without numpy.

    Args:
        test: The row's `test`.
        name: The function under test.
    """
    code = test.replace("\r\n", "\n")
    used = set(re.findall(r"\bnp\.((?:testing\.)?\w+)", code))
    if used <= {"ndarray", "float32", "float64", "allclose", "testing.assert_allclose"}:
        code = _NUMPY + re.sub(r"^import numpy as np$", "", code, flags=re.MULTILINE)
    if _defines_check(code):
        code += f"\n\ncheck({name})\n"
    return ScriptTest(code=code)


def _defines_check(code: str) -> bool:
    tree = parse(code)
    body = tree.body if tree else []
    called = any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "check"
        for node in body
    )
    return not called and any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in body)


# --- MBPP+ ----------------------------------------------------------------------------------
# JSON has no tuples, sets or complex numbers: which arguments were some, by task, as EvalPlus
# reads its own release.

_Convert = Callable[[Any], Any]


def _rows(value: Any) -> Any:
    return [tuple(item) for item in value]


def _row_tuple(value: Any) -> Any:
    return tuple(tuple(item) for item in value)


def _nested(value: Any) -> Any:
    return tuple(_nested(item) for item in value) if isinstance(value, list) else value


def _sets(value: Any) -> Any:
    return [set(item) if isinstance(item, list) and item else {} for item in value]


def _mixed(value: Any) -> Any:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _values(value: Any) -> Any:
    return {key: tuple(item) for key, item in value.items()}


# Tasks of MBPP+ by number: JSON made lists of the tuples among their arguments, as EvalPlus undoes it too.
_TUPLES = (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726)
_ROWS = (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780)

# Converters of the first arguments (None keeps one), whether the last converter goes on for all
# further arguments, and the tasks.
_CONVERSIONS: tuple[tuple[tuple[_Convert | None, ...], bool, tuple[int, ...]], ...] = (
    ((tuple,), True, (*_TUPLES, 740, 744, 809)),
    ((_rows,), True, _ROWS),
    ((_rows,), False, (75, 413, 444, 753)),
    ((None, tuple), False, (106, 750)),
    ((_sets,), False, (115,)),
    ((float, complex), False, (124,)),
    ((tuple,), False, (250, 307, 405, 446, 617, 720, 763, 808)),
    ((_row_tuple,), True, (259, 401, 445)),
    ((_mixed,), False, (278,)),
    ((_values,), False, (722,)),
    ((complex,), False, (252,)),
    ((_nested,), True, (580, 615, 791)),
)


def restore_inputs(task: int, inputs: Sequence[Any]) -> list[list[Any]]:
    """The argument lists of an MBPP+ task with the Python types that JSON lost.

    Args:
        task: Its number.
        inputs: Argument lists as JSON has them.

    Raises:
        TypeError, ValueError, AttributeError, OverflowError: If an argument has an unexpected shape.
    """
    for converters, repeat, tasks in _CONVERSIONS:
        if task in tasks:
            return [_convert(arguments, converters, repeat) for arguments in inputs]
    return [list(arguments) for arguments in inputs]


def _convert(arguments: Sequence[Any], converters: Sequence[_Convert | None], repeat: bool) -> list[Any]:
    last = converters[-1] if repeat else None
    padded = [*converters, *[last] * len(arguments)]
    return [convert(value) if convert else value for value, convert in zip(arguments, padded, strict=False)]
