"""The programs of `examples/`, each with what its docstring says."""

import ast
from pathlib import Path


def examples_page(root: Path) -> str:
    """Every example, whole.

    Args:
        root: Folder of the repository.
    """
    parts = ["# Examples", "Programs that run as they stand; a test runs each of them."]
    for file in sorted((root / "examples").glob("*.py")):
        code = file.read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(code)) or ""
        parts += [f"## `{file.name}` {{ #{file.name.replace('.', '').lower()} }}", said.split("\n\n")[0]]
        parts += [f"```python\n{code.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"
