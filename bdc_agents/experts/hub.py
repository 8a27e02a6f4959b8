"""Libraries on the Hugging Face hub: brought here by their commit, checked like all that are from elsewhere.

A library of the hub is data that strangers may have written. So only what its `library.json` names is
downloaded, at the one commit that it was read from and at the sizes that it says; the folder appears when
every file has the hash that it says.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bdc_agents.disk import put_back, replacing_folder
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import LARGEST_MANIFEST, MANIFEST, Manifest, read_manifest
from bdc_agents.extras import need
from bdc_agents.weights.files import models_folder

log = logging.getLogger(__name__)

_HUB_NAME = re.compile(
    r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w.][\w./-]{0,199}))?", re.ASCII
)
"""`ORG/NAME`, as the hub allows it, and `@REVISION` behind it."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ELSEWHERE = (
    "no folder of this name is here, either. Check the path and the network; a commit that was downloaded "
    "before opens without one, by revision='<its 40 digits>'"
)
_WHOLE = ("experts/", "tokenizer/")
"""Folders that other libraries read as a whole: what an older upload has left there is taken away."""


def library_folder(library: Path | str, revision: str | None = None, folder: Path | None = None) -> Path:
    """The folder of a library; one of the hub is downloaded once for each commit.

    Args:
        library: A folder, or `ORG/NAME` of the hub, also with `@REVISION` behind it. A folder wins.
        revision: Branch, tag or commit of the hub; None for `main`. A commit that was downloaded before is
            opened without a network.
        folder: Where downloads are kept; None for the user's cache folder.

    Raises:
        ModelError: If the hub has no such library or cannot be reached, or the library is damaged.
        UsageError: If a revision is named for a folder, or two revisions are.
    """
    place = Path(library)
    named = _HUB_NAME.fullmatch(str(library))
    if place.exists() or put_back(place) or named is None:
        if revision is not None:
            raise UsageError(
                f"revision = {revision!r} is for libraries of the hub, such as 'org/name', and "
                f"{str(library)!r} is none: leave it out"
            )
        return place
    repo, own = named[1], named[2]
    if own and revision and own != revision:
        raise UsageError(f"two revisions of {repo}: {own!r} and {revision!r}; name one")
    return _downloaded(repo, own or revision, (folder or models_folder()) / "libraries")


def _downloaded(repo: str, revision: str | None, home: Path) -> Path:
    def kept(commit: str) -> Path:  # A library is shown by the name of its folder.
        return home / repo.replace("/", "--") / commit / repo.partition("/")[2]

    if revision and _COMMIT.fullmatch(revision) and kept(revision).is_dir():
        return kept(revision)
    hub = need("huggingface_hub")
    with _explained(repo, revision):
        info = hub.HfApi().model_info(repo, revision=revision, files_metadata=True)
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise ModelError(f"the hub names no commit of {repo!r}, but {commit!r:.60}; nothing is downloaded")
    if kept(commit).is_dir():
        return kept(commit)
    sizes = {one.rfilename: one.size for one in info.siblings or ()}
    kept(commit).parent.mkdir(parents=True, exist_ok=True)
    with _explained(repo, commit), replacing_folder(kept(commit)) as place:
        _fill(place, repo, commit, sizes)
    return kept(commit)


def _fill(place: Path, repo: str, commit: str, sizes: Mapping[str, int | None]) -> None:
    """Downloads a library to an empty folder.

    Raises:
        ModelError: If it is none, or damaged.
    """
    work = place / ".download"

    def fetch(path: str) -> None:
        found = need("huggingface_hub").HfApi().hf_hub_download(repo, path, revision=commit, local_dir=work)
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        Path(found).replace(place / path)

    if MANIFEST not in sizes:
        raise ModelError(f"{repo!r} of the hub is no library: it has no file {MANIFEST} at commit {commit}")
    if (sizes[MANIFEST] or 0) > LARGEST_MANIFEST:
        raise ModelError(f"{repo!r} of the hub: its {MANIFEST} is too large to be one")
    try:
        fetch(MANIFEST)
        manifest = read_manifest(place)
        _check_sizes(manifest, sizes, repo)
        total = sum(file.size for file in manifest.files.values())
        log.warning("downloading the library %s at commit %s: %.0f MB", repo, commit[:12], total / 1e6)
        for path in manifest.files:
            fetch(path)
        shutil.rmtree(work, ignore_errors=True)
        for damage in ExpertLibrary(place).check():
            raise ModelError(f"{damage}; nothing of it is used")
    except ModelError as error:
        told = str(error).replace(f"{place}{os.sep}", "").replace(str(place), repo)
        raise ModelError(f"the library {repo!r} of the hub, commit {commit[:12]}: {told}") from None


def _check_sizes(manifest: Manifest, sizes: Mapping[str, int | None], repo: str) -> None:
    """Compares what the library says of its files with what the hub says, before it takes time and room.

    Raises:
        ModelError: If they differ.
    """
    for path, file in manifest.files.items():
        if path not in sizes:
            raise ModelError(f"{MANIFEST} names {path!r}, which the hub does not have; upload it again")
        if sizes[path] is not None and sizes[path] != file.size:
            raise ModelError(f"{path}: {sizes[path]} bytes on the hub, {file.size} in {MANIFEST} of {repo}")


def push_to_hub(
    library: ExpertLibrary | Path | str, name: str, *, private: bool = True, message: str = "Upload library"
) -> str:
    """Uploads a library to the Hugging Face hub, in one commit.

    The account is that of `hf auth login` or of the environment's HF_TOKEN.

    Args:
        library: The library, or its folder.
        name: `ORG/NAME` of the repository, which is made where it is not there.
        private: Whether a new repository is private.
        message: Of the commit.

    Returns:
        The commit's hash, by which `from_library(name, revision=...)` opens just this library.

    Raises:
        ModelError: If the library is damaged, or the hub refuses it or cannot be reached.
        UsageError: If the name is no name of a repository.
    """
    found = _HUB_NAME.fullmatch(name)
    if found is None or found[2]:
        raise UsageError(f"{name!r:.200} is no name of a repository on the hub; write it as 'org/name'")
    library = library if isinstance(library, ExpertLibrary) else ExpertLibrary(library)
    for damage in library.check():
        raise ModelError(f"{library.folder} is damaged, and is not uploaded: {damage}")
    base = str(library.manifest.base.get("name", ""))
    if base and not _HUB_NAME.fullmatch(base):
        log.warning("the base %r is not on the hub: whoever opens %s has to name it by base=...", base, name)
    hub, api = need("huggingface_hub"), need("huggingface_hub").HfApi()
    named = [MANIFEST, *library.manifest.files]
    again = "nothing is changed there; check the network and what your account may do"
    with _explained(name, None, again):
        api.create_repo(name, private=private, exist_ok=True)
        there = [one.rfilename for one in api.model_info(name).siblings or ()]
        old = [path for path in there if path.startswith(_WHOLE) and path not in named]
        done = api.create_commit(
            name,
            [
                *(hub.CommitOperationAdd(path, str(library.folder / path)) for path in named),
                *(hub.CommitOperationDelete(path) for path in old),
            ],
            commit_message=message,
        )
    return str(done.oid)


@contextmanager
def _explained(repo: str, revision: str | None, hint: str = _ELSEWHERE) -> Iterator[None]:
    """Whatever goes wrong at the hub is one thing to the caller.

    Args:
        repo: The repository.
        revision: Its revision.
        hint: What to do where the hub gave no clear answer.

    Raises:
        ModelError: If anything goes wrong.
    """
    errors: Any = need("huggingface_hub.errors")
    try:
        yield
    except ModelError:
        raise
    except errors.RevisionNotFoundError:
        told = f"{repo!r} of the hub has no revision {revision!r}; name a branch, tag or commit"
        raise ModelError(told) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{repo!r} is neither a folder here nor a repository of the hub that you may use; correct the "
            "path or the name, or log in: hf auth login"
        ) from None
    except Exception as error:  # Of the network, of the hub, and of what its client makes of either.
        reasons = [error, *([error.__cause__] if error.__cause__ else [])]
        reason = ": ".join(f"{type(one).__name__}: {one}".splitlines()[0][:200] for one in reasons)
        raise ModelError(f"{repo!r}: the hub did not answer as it should ({reason}); {hint}") from None
