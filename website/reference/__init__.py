"""Pages that are made from the code: the Python names, the command line, the settings, files, examples."""

from pathlib import Path

from website.reference.commands import commands_page
from website.reference.examples import examples_page
from website.reference.files import library_page
from website.reference.names import Names
from website.reference.settings import settings_page


def write_reference(root: Path, folder: Path) -> None:
    """Writes every page.

    Args:
        root: Folder of the repository.
        folder: Where the pages go.
    """
    names = Names(root)
    pages = names.pages() | {
        "cli.md": commands_page(),
        "settings.md": settings_page(names),
        "events.md": names.events_page(),
        "errors.md": names.errors_page(),
        "library.md": library_page(names),
        "examples.md": examples_page(root),
    }
    for place, text in pages.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
