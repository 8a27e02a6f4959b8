"""The program of a reply, under the name that was asked for.

A model that writes `cumulative_sum` where the tests call `cummulative_sum` has solved the problem. Where a
program defines one function and only its name is another, a line behind it gives it the name too. The line
is part of the program from then on: what is judged is what is handed over.
"""

import ast
from collections.abc import Iterator, Sequence

from bdc_agents.agents.replies.program import bound_names
from bdc_agents.agents.replies.reading import extract_code
from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, Problem, ScriptTest

_CANDIDATE = "candidate"
"""What a function is called by tests in the form of HumanEval, `check(candidate)`."""


def read_program(text: str, problem: Problem, *, truncated: bool = False) -> str:
    """The program in a reply; empty where there is none.

    Args:
        text: The reply.
        problem: Says what the program must define.
        truncated: As for `extract_code`.
    """
    code = extract_code(text, problem.defines, truncated=truncated) or ""
    return under_name(code, problem) if code else ""


def under_name(code: str, problem: Problem) -> str:
    """The program, with a line that gives its function the name that was asked for, where it lacks that.

    A program is left alone where more than one of its functions could be meant: where there are several, the
    number of arguments in the public tests may leave one.
    """
    tree = parse(code) if problem.defines else None
    line = _alias(tree, problem) if tree else ""
    return f"{code.rstrip()}\n\n\n{line}\n" if line else code


def _alias(tree: ast.Module, problem: Problem) -> str:
    name, method = problem.defines or "", _method(problem)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    own = next((node for node in classes if node.name == name), None)
    if own and method and not own.bases:
        has = method in bound_names(ast.Module(own.body, [])) or _is_set(tree, f"{name}.{method}")
        other = None if has else _meant(own.body, problem, bound=1)
        return f"{name}.{method} = {name}.{other.name}" if other else ""
    if own or problem.is_class or name in bound_names(tree):
        return ""
    if not method:
        found = _meant(tree.body, problem)
        return f"{name} = {found.name}" if found else ""
    takes_self = [_first_argument(node) == "self" for node in _functions(tree.body)]
    found = None if classes else _meant(tree.body, problem, bound=int(all(takes_self)))
    if found is None:
        return ""
    value = found.name if all(takes_self) else f"staticmethod({found.name})"
    return f"class {name}:\n    {method} = {value}"


def _method(problem: Problem) -> str:
    """The method that is asked for; empty where it is a function or a class."""
    return (problem.entry_point or "").rpartition(".")[2] if problem.entry_point != problem.defines else ""


def _is_set(tree: ast.Module, place: str) -> bool:
    """Whether a statement such as `Solution.total = f` sets an attribute."""
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Attribute) and ast.unparse(target) == place for target in targets)


def _meant(body: Sequence[ast.stmt], problem: Problem, bound: int = 0) -> ast.FunctionDef | None:
    """The one function that can be called as the tests call it; None where there is none, or several.

    Args:
        body: Of a module or class.
        problem: Its public tests say how many arguments there are.
        bound: Arguments before those of the tests: `self`.
    """
    found = {node.name: node for node in _functions(body)}  # of two with one name the last counts
    counts = {count + bound for count in _argument_counts(problem)}
    fitting = [node for node in found.values() if all(_takes(node.args, count) for count in counts)]
    return fitting[0] if len(fitting) == 1 else None


def _functions(body: Sequence[ast.stmt]) -> list[ast.FunctionDef]:
    """The functions of a body that may be meant: none that only Python itself or a test calls."""
    found = [node for node in body if isinstance(node, ast.FunctionDef)]
    return [node for node in found if not node.name.startswith(("_", "test", "check"))]


def _first_argument(node: ast.FunctionDef) -> str:
    listed = [*node.args.posonlyargs, *node.args.args]
    return listed[0].arg if listed else ""


def _takes(arguments: ast.arguments, count: int) -> bool:
    """Whether a function can be called with so many arguments, by place or by name."""
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    named = len(arguments.kwonlyargs)
    needed = sum(default is None for default in arguments.kw_defaults)
    enough = least + needed <= count
    return enough and (count <= most + named or bool(arguments.vararg or arguments.kwarg))


def _argument_counts(problem: Problem) -> Iterator[int]:
    """With how many arguments the public tests call what is asked for."""
    names = {(problem.entry_point or "").rpartition(".")[2], _CANDIDATE}
    for test in problem.public_tests:
        if isinstance(test, CallTest | ScriptTest):
            tree = parse(test.call if isinstance(test, CallTest) else test.code)
            yield from _calls(tree, names) if tree else ()


def _calls(tree: ast.Module, names: set[str]) -> Iterator[int]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(isinstance(one, ast.Starred) for one in node.args):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in names and all(keyword.arg for keyword in node.keywords):
            yield len(node.args) + len(node.keywords)
