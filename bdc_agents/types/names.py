"""What people read for an agent whose name holds its address."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit


def called(name: str, among: Iterable[str] = ()) -> str:
    """What people read for an agent: of `MODEL@https://HOST/v1` the model, and its host where two are alike.

    Args:
        name: Its name, as settings, traces and skills have it.
        among: The names of all agents that are shown beside it.
    """
    model, url = _taken_apart(name)
    rivals = [other for other in among if other != name and _taken_apart(other)[0] == model]
    if not url or not rivals:
        return model
    host = urlsplit(url).netloc
    hosts = {urlsplit(_taken_apart(other)[1]).netloc for other in rivals}
    return name if host in hosts else f"{model}@{host}"


def _taken_apart(name: str) -> tuple[str, str]:
    """The model and the address of an agent that is named by them; else the name, and nothing."""
    found = _AT_ADDRESS.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def with_short_names(text: str, names: Iterable[str]) -> str:
    """A sentence with what people read for each agent in it."""
    known = [*names]
    for name in sorted(known, key=len, reverse=True):
        if "//" in name:
            text = text.replace(name, called(name, known))
    return text


_AT_ADDRESS = re.compile(r"([^\s@]{1,200})@(https?://\S{1,500})")
