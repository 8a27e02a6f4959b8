"""The Python names, from their docstrings, read by griffe without running anything."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

PACKAGES = {
    "": "What most programs need.",
    "search": "Boost: the search as a graph, a function, a tool.",
    "agents": "LLMs as agents, and how their replies are read.",
    "chat": "The search as a conversation.",
    "web": "The page of a search that goes on, for a web app.",
    "data": "Problems, from files and from data sets.",
    "sandbox": "Programs run in isolation, and judged.",
    "runs": "Many problems, and their traces on disk.",
    "distill": "Disentangle: clusters, experts, a router.",
    "serve": "Customize: a library as a solver, a chat model, a server.",
    "evaluate": "Solvers compared.",
    "evaluate.library": "The ways to use a library's experts compared.",
    "testing": "Scripted agents and endpoints, for tests of code that embeds the search.",
}
"""The public packages, in the order of the navigation, and a line on each."""
EXTRA = {
    "testing": ["ScriptedModel", "ScriptedAgent", "ScriptedExecutor", "ScriptedEndpoint", "run_simulated"]
}
"""Public names of modules without `__all__`."""
INHERITED = {"settings_customise_sources"}
"""Methods that a library calls, and nobody else."""
CODE = re.compile(r"(?<![\[`])`([A-Za-z_.]+)(\(\))?`(?![`\]])")
WIDE = 88
"""Characters of a signature on one line: more would scroll on the site."""

# What it says of docstrings that name the fields of pydantic models is no fault.
logging.getLogger("griffe").setLevel(logging.CRITICAL)


class Names:
    """The package as griffe reads it, and where each public name is documented.

    Args:
        root: Folder of the repository.
    """

    def __init__(self, root: Path) -> None:
        loader = griffe.GriffeLoader(search_paths=[root], docstring_parser="google")
        loader.load("bdc_agents")
        self._modules = loader.modules_collection
        self._homes: dict[str, tuple[str, str]] = {}  # by path in the package: page and anchor
        for package in PACKAGES:
            for name in self._public(package):
                self._homes.setdefault(
                    self.find(f"{_module(package)}.{name}").path, (_file(package), name.lower())
                )

    def find(self, path: str) -> Any:
        """What a dotted path means, through imports: `bdc_agents.solve` is a function of another module."""
        module, _, name = path.rpartition(".")
        holder = self._modules[module]
        imported = holder.imports.get(name) if holder.is_module else None
        return self.find(imported) if imported and imported != path else self._modules[path]

    def _public(self, package: str) -> list[str]:
        if package in EXTRA:
            return EXTRA[package]
        return sorted(str(name) for name in self._modules[_module(package)].exports or ())

    def pages(self) -> dict[str, str]:
        """A page for each package, and one that lists them, by the name of its file."""
        rows = [f"| [`{_module(p)}`]({Path(_file(p)).name}) | {line} |" for p, line in PACKAGES.items()]
        index = [
            "# Python names",
            "These names stay: a test holds each of them with its parameters.",
            "\n".join(["| import from | for |", "|---|---|", *rows]),
        ]
        return {"api/index.md": "\n\n".join(index) + "\n"} | {_file(p): self._page(p) for p in PACKAGES}

    def _page(self, package: str) -> str:
        module = self._modules[_module(package)]
        parts = [f"# `{module.path}`", self._linked(self._prose(module), package)]
        for name in self._public(package):
            found = self.find(f"{module.path}.{name}")
            page, anchor = self._homes[found.path]
            if page != _file(package):
                there = f"{Path(page).name}#{anchor}"
                parts += [_heading(name), f"The same as [`{_title(page)}.{name}`]({there})."]
            else:
                parts += [_heading(name), *self._described(name, found, package)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _described(self, name: str, found: Any, package: str) -> Iterator[str]:
        if found.is_function:
            yield _signature(name, found)
        elif found.is_class:
            yield _signature(name, found.members.get("__init__") or found, fields=_fields(found))
        elif found.value is not None:
            yield f"```python\n{name} = {found.value}\n```" if len(str(found.value)) < 400 else ""
        yield from (self._linked(part, package) for part in self.docstring(found))
        if found.is_class:
            yield from self._members(found, package)

    def _members(self, found: Any, package: str) -> Iterator[str]:
        for name, member in found.members.items():
            if name.startswith("_") or name in INHERITED or member.is_alias or not member.docstring:
                continue
            if member.is_function:
                yield f"#### `{found.name}.{name}` {{ #{found.name.lower()}-{name.lower()} }}"
                yield _signature(name, member)
            elif member.is_attribute:
                kind = f": `{_kind(member.annotation)}`" if member.annotation is not None else ""
                yield f"#### `{found.name}.{name}`{kind} {{ #{found.name.lower()}-{name.lower()} }}"
            yield from (self._linked(part, package) for part in self.docstring(member))

    def docstring(self, found: Any) -> Iterator[str]:
        """The parts of a docstring as Markdown: its text, and a list for each of its sections."""
        for section in found.docstring.parsed if found.docstring else ():
            kind = section.kind.value
            if kind == "text":
                yield section.value
            elif kind == "parameters":
                yield "**Parameters**\n\n" + "\n".join(
                    f"- `{one.name}`: {_item(one)}" for one in section.value
                )
            elif kind in ("returns", "yields"):
                yield f"**{kind.capitalize()}** " + " ".join(_flat(one.description) for one in section.value)
            elif kind == "raises":
                yield "**Raises**\n\n" + "\n".join(
                    f"- `{one.annotation}`: {_item(one)}" for one in section.value
                )

    def _prose(self, found: Any) -> str:
        return "\n\n".join(self.docstring(found))

    def fields(self, path: str) -> dict[str, str]:
        """What the docstring of a class says of each field, by its name.

        Args:
            path: The class, such as `bdc_agents.config.Budget`.
        """
        found = self.find(path)
        said = {name: _flat(one.docstring.value) for name, one in found.attributes.items() if one.docstring}
        for section in found.docstring.parsed if found.docstring else ():
            if section.kind.value == "parameters":
                said |= {name.strip(): _item(one) for one in section.value for name in one.name.split(",")}
        return said

    def errors_page(self) -> str:
        """What is raised on purpose, and the exit codes of the command line."""
        module = self._modules["bdc_agents.errors"]
        parts = ["# Errors", self._prose(module)]
        for name, found in module.classes.items():
            parts += [_heading(name), *self.docstring(found)]
        return "\n\n".join(parts) + f"\n\n{ENDS}"

    def events_page(self) -> str:
        """What a search tells, from the types of its events."""
        module = self._modules["bdc_agents.search.events"]
        parts = ["# Stream events", self._prose(module), EVENTS]
        for name, found in module.classes.items():
            if "type" not in found.attributes:
                continue
            told = re.search(r"'(\w+)'", str(found.attributes["type"].annotation))
            fields = {key: one for key, one in found.attributes.items() if key != "type"}
            said = self.fields(found.path)
            title = told[1] if told else name
            parts += [f"## `{title}` {{ #{title} }}", found.docstring.parsed[0].value]
            rows = [
                f"| `{key}` | `{_cell(_kind(one.annotation))}` | {said.get(key, '')} |"
                for key, one in fields.items()
            ]
            parts += ["\n".join(["| key | type | holds |", "|---|---|---|", *rows])]
        purposes = module.attributes["Purpose"]
        return "\n\n".join([*parts, "## `purpose` { #purpose }", purposes.docstring.value]) + "\n"

    def _linked(self, text: str, package: str) -> str:
        """Names in code that are documented become links to their places."""
        known = {path.rpartition(".")[2]: home for path, home in self._homes.items()}

        def link(match: re.Match[str]) -> str:
            page, anchor = known.get(match[1], ("", ""))
            if not page:
                return match[0]
            return f"[{match[0]}]({'' if page == _file(package) else Path(page).name}#{anchor})"

        return "\n".join(
            line if line.startswith("    ") else CODE.sub(link, line) for line in text.splitlines()
        )


ENDS = """## Exit codes

| code | means | do |
|---|---|---|
| 0 | solved, or done | |
| 1 | not solved, or not all is done | raise a cap, add an agent, or look at the tree: `bdc view RUN` |
| 2 | input or settings cannot be used | read the line: it names the value and what would be right |
| 3 | this machine cannot run it | `bdc doctor`, or `bdc agents --ping` where no agent answers |
| 70 | a fault of the program itself | run it again with `--debug` and report what it prints |
| 130, 143 | interrupted | give the same command again, or `--resume`: what was computed is kept |
"""


EVENTS = """`solve(..., on_event=...)` tells the same. Where the search is a node of your app, stream with
`subgraphs=True`. [Streaming](../streaming.md) says how to trace a search and what else streams,
[Chat](../chat.md) what a chat tells besides.

An event is plain JSON data. New types and keys may come: ignore what you do not know."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _module(package: str) -> str:
    return f"bdc_agents.{package}".rstrip(".")


def _file(package: str) -> str:
    return f"api/{package or 'bdc_agents'}.md"


def _title(page: str) -> str:
    stem = Path(page).name.removesuffix(".md")
    return stem if stem == "bdc_agents" else f"bdc_agents.{stem}"


def _heading(name: str) -> str:
    return f"## `{name}` {{ #{name.lower()} }}"


def _kind(annotation: Any) -> str:
    """A type as a reader knows it: without what pydantic is told beside it."""
    text = str(annotation)
    while match := re.search(r"Annotated\[", text):
        depth, at = 1, match.end()
        comma = 0
        while depth and at < len(text):
            depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(text[at], 0)
            comma = comma or (at if text[at] == "," and depth == 1 else 0)
            at += 1
        text = text[: match.start()] + text[match.end() : comma or at - 1] + text[at:]
    return text


def _fields(found: Any) -> list[str]:
    """The fields of a model or dataclass as its call takes them."""
    if "__init__" in found.members or not found.attributes:
        return []
    made = []
    for name, one in found.attributes.items():
        if (
            name.startswith("_")
            or name.isupper()
            or one.annotation is None
            or "ClassVar" in str(one.annotation)
        ):
            continue
        if "property" in one.labels:
            continue
        made.append(
            f"{name}: {_kind(one.annotation)}" + (f" = {_default(str(one.value))}" if one.value else "")
        )
    return made


def _default(value: str) -> str:
    """A default as a caller would write it: what `Field(...)` holds."""
    if match := re.match(r"Field\(default=((?:[^(),]|\([^()]*\))+)", value):
        return match[1]
    return "..." if value.startswith("Field(") or len(value) > 40 else value


def _signature(name: str, found: Any, fields: list[str] | None = None) -> str:
    parameters = fields or []
    if not parameters and found.is_function:
        parameters = list(_parameters(found))
    gives = f" -> {found.returns}" if found.is_function and found.returns and found.name != "__init__" else ""
    if found.is_class and not parameters:
        return ""
    line = f"{name}({', '.join(parameters)}){gives}"
    if len(line) > WIDE and parameters:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in parameters) + f"){gives}"
    return f"```python\n{'async ' if 'async' in found.labels else ''}{line}\n```"


def _parameters(found: Any) -> Iterator[str]:
    starred = False
    for one in found.parameters:
        if one.name in ("self", "cls"):
            continue
        kind = one.kind.value if one.kind else ""
        if kind == "keyword-only" and not starred:
            starred = True
            yield "*"
        mark = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        starred = starred or mark == "*"
        typed = f": {one.annotation}" if one.annotation is not None else ""
        given = "" if one.default is None or mark else f" = {one.default}"
        yield f"{mark}{one.name}{typed}{given}"


def _item(one: Any) -> str:
    return _flat(one.description)


def _flat(text: str) -> str:
    return " ".join(text.split())
