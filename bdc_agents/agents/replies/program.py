"""Which blocks of a reply make the program.

A reply may hold a first try and a better one, pieces that belong together, an example of use, tests, a
harness and what it prints. The policy is the same for all models:

1. A block *answers* if it defines the function that is asked for, or, where none is, reads the input.
2. Of those that answer the last one is meant: later ones correct and improve what is before them.
3. It takes along what it needs: blocks that define names it reads and does not define.
4. A program that reads its input and does not print, or that only defines, goes on in later blocks that
   use its names.
5. A function whose block ends before its statement does, such as after `for x in xs:`, goes on in the next
   block if that begins indented, and only where no block defines the function as it stands.
6. Where none answers it is the last block that defines something other than tests: a function of
   another name, say, which the tests will tell. Without one it is the last block.

So examples, tests and harnesses are left out because they do not answer, however long they are.
"""

import ast
import builtins
import textwrap
from bisect import bisect
from collections.abc import Iterable, Sequence

from bdc_agents.agents.replies.snippets import Block, Parser

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_QUIET = (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
_CHECKS = {"unittest", "pytest", "doctest", "hypothesis"}


def answers(block: Block, entry_point: str | None) -> int:
    """How well a block fits what is asked for: 0 not at all, and more for a better fit."""
    if block.tree is None:
        return 0
    if entry_point is None:
        return int(_reads_input(block.tree))
    return max((_defines(statement, entry_point) for statement in block.tree.body), default=0)


def choose(blocks: Sequence[Block], entry_point: str | None, parse: Parser) -> Block | None:
    """The program that some blocks make; None if none of them is one.

    Args:
        blocks: In the order of the reply.
        entry_point: The function that is asked for; None for a program that reads stdin.
        parse: What parses pieces of this reply.
    """
    blocks = _with_halves_joined(blocks, entry_point, parse)
    pieces = _Pieces([block for block in blocks if block.is_program()], parse)
    if not pieces.blocks:
        return None
    ranks = [_rank(block, entry_point) for block in pieces.blocks]
    main = max(range(len(ranks)), key=lambda at: (ranks[at], at))
    parts = pieces.needed(main)
    block = pieces.joined(parts) or pieces.blocks[main]
    if entry_point is None and answers(block, None):
        return _continued(block, parts, pieces)
    return block


def _with_halves_joined(blocks: Sequence[Block], entry_point: str | None, parse: Parser) -> Sequence[Block]:
    """The blocks with two as one where a function begins in the first and goes on in the second.

    A half that parses by itself is left alone: what follows it may as well quote a part of it.
    """
    if entry_point is None or any(block.whole and answers(block, entry_point) for block in blocks):
        return blocks
    for at in range(len(blocks) - 1):
        first, second = blocks[at], blocks[at + 1]
        if not first.whole and first.raw and _begins_indented(second) and parse.left > 0:
            code = textwrap.dedent(f"{first.raw}\n{second.raw}")
            joined = Block(code.strip("\n"), parse(code)[0])
            if answers(joined, entry_point):
                return [*blocks[:at], joined, *blocks[at + 2 :]]
    return blocks


def _begins_indented(block: Block) -> bool:
    return block.python and block.raw.lstrip("\n")[:1] in (" ", "\t")


def _rank(block: Block, entry_point: str | None) -> tuple[int, bool, bool, int]:
    """The order among blocks; where all is equal, the last one is meant."""
    fit = answers(block, entry_point)
    return fit, block.python, block.whole, 0 if fit else _defines_something(_tree(block))


def _tree(block: Block) -> ast.Module:
    return block.tree or ast.Module([], [])


# --- what answers ---------------------------------------------------------------------------


def _defines(statement: ast.stmt, name: str) -> int:
    """Whether a statement binds the name: 3, as a method of a class: 2, by an import: 1.

    The other module of an import may be the reply's own program, in a test of it.
    """
    if isinstance(statement, _DEFINITIONS) and statement.name == name:
        return 0 if _is_stub(statement) else 3
    if isinstance(statement, ast.ClassDef):
        return 2 if any(_defines(inner, name) == 3 for inner in statement.body) else 0
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return int(name in _imported(statement.names))
    return 3 if any(name in _names(node) for node in ast.walk(statement)) else 0


def _is_stub(statement: ast.stmt) -> bool:
    """Whether a function has no body but words, as in a task's starter code."""
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and all(
        isinstance(inner, ast.Pass)
        or (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
        or (isinstance(inner, ast.Raise) and "NotImplemented" in ast.dump(inner))
        for inner in statement.body
    )


def _reads_input(tree: ast.Module) -> bool:
    return any(_is_input(node) for node in ast.walk(tree))


def _is_input(node: ast.AST) -> bool:
    """`input()`, `open(0)`, `sys.stdin`, `stdin` or `fileinput`."""
    match node:
        case ast.Call(func=ast.Name(id="input")):
            return True
        case ast.Call(func=ast.Name(id="open"), args=[ast.Constant(value=0 | "/dev/stdin"), *_]):
            return True
        case ast.Attribute(attr="stdin", ctx=ast.Load()) | ast.Name(id="stdin" | "fileinput", ctx=ast.Load()):
            return True
        case ast.Call(func=ast.Attribute(attr="read"), args=[ast.Constant(value=0), *_]):
            return True
    return False


def _prints(tree: ast.Module) -> bool:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(
        (isinstance(call, ast.Name) and call.id == "print")
        or (isinstance(call, ast.Attribute) and call.attr in ("write", "writelines", "print"))
        for call in calls
    )


def _is_complete(tree: ast.Module) -> bool:
    """Whether a program prints something when it is run."""
    return _prints(tree) and not all(isinstance(statement, _QUIET) for statement in tree.body)


def _defines_something(tree: ast.Module) -> int:
    """Whether the block defines functions or classes: 2, other than tests; 1 if it is not all tests."""
    modules = {name.split(".")[0] for node in tree.body for name in _modules(node)}
    names = [node.name.lower() for node in tree.body if isinstance(node, _DEFINITIONS)]
    solving = [name for name in names if not name.startswith(("test", "check"))]
    if modules & _CHECKS or (names and not solving):
        return 0
    return 2 if solving else 1


def _modules(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


# --- what belongs together ------------------------------------------------------------------


class _Pieces:
    """The programs of a reply, with the names that each binds and needs."""

    def __init__(self, blocks: Sequence[Block], parse: Parser) -> None:
        self.blocks = blocks
        self.parse = parse
        self.bound = [bound_names(_tree(block)) for block in blocks]
        # One piece alone is taken as it is, whatever it needs.
        self.free = [free_names(_tree(block)) if len(blocks) > 1 else set[str]() for block in blocks]
        self._owners: dict[str, list[int]] = {}
        for at, names in enumerate(self.bound):
            for name in names:
                self._owners.setdefault(name, []).append(at)

    def needed(self, main: int) -> list[int]:
        """A piece after those that define names it needs: the nearest before it, or the first after it."""
        taken, known, missing = set[int](), set(self.bound[main]), list(self.free[main])
        while missing:
            name = missing.pop()
            if name not in known and name in self._owners:
                owners = self._owners[name]
                before = bisect(owners, main)
                at = owners[before - 1 if before else 0]
                taken.add(at)
                known |= self.bound[at]
                missing += self.free[at]
        return [*sorted(taken), main]

    def joined(self, parts: Sequence[int]) -> Block | None:
        """Several pieces as one; None where they do not parse together."""
        if len(parts) == 1:
            return self.blocks[parts[0]]
        code = "\n\n".join(self.blocks[at].code for at in parts)
        tree, _ = self.parse(code)
        return Block(code, tree) if tree else None


def _continued(block: Block, parts: list[int], pieces: _Pieces) -> Block:
    """The program with the later pieces that use its names, until it prints something."""
    known = set[str]().union(*(pieces.bound[at] for at in parts))
    for later in range(parts[-1] + 1, len(pieces.blocks)):
        if pieces.parse.left < 0 or _is_complete(_tree(block)):
            break
        if pieces.free[later] & known:
            parts = [*parts, *(at for at in pieces.needed(later) if at not in parts)]
            known |= pieces.bound[later]
            block = pieces.joined(parts) or block
    return block


# --- names ----------------------------------------------------------------------------------


def bound_names(tree: ast.Module) -> set[str]:
    """Names that running the module defines at its top level."""
    return set().union(*map(_bound, tree.body))


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return _imported(statement.names)
    return {name for node in ast.walk(statement) for name in _names(node)}


def _names(node: ast.AST) -> tuple[str, ...]:
    """What a node within a statement binds."""
    if isinstance(node, ast.Name):
        return (node.id,) if isinstance(node.ctx, ast.Store) else ()
    if isinstance(node, _DEFINITIONS):
        return (node.name,)
    return tuple(_imported([node])) if isinstance(node, ast.alias) else ()


def free_names(tree: ast.Module) -> set[str]:
    """Names the module reads and binds nowhere: an estimate that knows no scopes."""
    read, bound = set[str](), set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler):
            bound |= {node.name} if node.name else set()
        else:
            bound.update(_names(node))
    return read - bound


def _imported(aliases: Iterable[ast.alias]) -> set[str]:
    return {(alias.asname or alias.name).split(".")[0] for alias in aliases}
