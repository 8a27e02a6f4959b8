"""The tiers of isolation, and how each starts a process."""

import importlib.util
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdc_agents.errors import ConfigError, SandboxRefused

from .bootstrap import START

TIERS = ("namespaces", "bubblewrap", "gvisor", "landlock", "unsafe")
"""Tiers in the order that `auto` tries them: from the fastest of the strong ones to none."""

_WARM = ("namespaces", "landlock")
"""Tiers whose process serves many programs; the others start one for each."""

ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""The whole environment of a sandboxed process: the same hashes, texts and times everywhere."""

NOBODY = 65534
"""Id of the user `nobody` and the group `nogroup` on Linux."""
_CHANGE_USER = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID

WORK = "/tmp"  # noqa: S108 - inside the sandbox
WORK_MB, WORK_FILES = 16, 1024
"""Size of the folder that programs may write to, and its number of files. As a start: contest programs write
none, and it takes the machine's memory."""
_OPTIONS = ("-s", "-S", "-P", "-B", "-X", "utf8")
"""Python without user and site packages, without the script's folder, without .pyc files, in UTF-8."""
_SYSTEM_FOLDERS = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")


@dataclass(frozen=True)
class Tier:
    """How a tier starts processes.

    Args:
        name: One of `TIERS`.
        command: The command of a process; it serves one program or, in a warm tier, many.
        setup: Settings of the isolation for that process.
        user: The user and group to start it as; None for the caller's own.
    """

    name: str
    command: tuple[str, ...]
    setup: dict[str, Any] = field(default_factory=dict)
    user: int | None = None


def make_tier(name: str, python: str | None = None, packages: Sequence[str] = ()) -> Tier:
    """Makes the tier of this name.

    Args:
        name: One of `TIERS`.
        python: The system's interpreter for programs, of the same version; None for the present one.
        packages: Installed packages that programs may import.

    Raises:
        SandboxRefused: If a program that the tier needs is not installed.
        ConfigError: If a package is not installed.
    """
    interpreter = os.path.realpath(python or getattr(sys, "_base_executable", None) or sys.executable)
    extra = [folder for package in packages for folder in _package_folders(package)]
    setup: dict[str, Any] = {
        "namespaces": name == "namespaces",
        "bubblewrap": name == "bubblewrap",
        "landlock": name == "landlock",
        "isolated": name != "unsafe",
        "warm": name in _WARM,
        "packages": sorted({str(Path(folder).parent) for folder in extra}),
        "folders": [*_visible_folders(own=python is None), *extra],
        "files": [file for file in ("/etc/ld.so.cache",) if Path(file).is_file()],
        "links": {},
        "commands": False,
        "work": "/" if name == "landlock" else WORK,
        "work_mb": WORK_MB,
        "work_files": WORK_FILES,
    }
    if name == "gvisor":
        return Tier(name, _gvisor(interpreter, setup), setup)
    if name == "landlock":
        return Tier(name, (interpreter, *_OPTIONS, "-c", START), setup, _lesser_user())
    if name == "bubblewrap":
        # Bubblewrap maps one user only, and a program that is root outside could write to /proc/sys.
        return Tier(name, _bubblewrap(interpreter, setup), setup, _lesser_user())
    return Tier(name, (interpreter, *_OPTIONS, "-c", START), setup)


def _lesser_user() -> int | None:
    """Nobody, if this process is root and may change its user, which a container may forbid."""
    if os.geteuid() != 0:
        return None
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    rights = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return NOBODY if rights & _CHANGE_USER == _CHANGE_USER else None


def _visible_folders(own: bool) -> list[str]:
    """The folders that an interpreter needs: its standard library and the system's shared libraries."""
    base = {"installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}  # No virtual environment.
    library = [sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")]
    library.append(f"{sys.base_prefix}/lib")
    wanted = [*library, *map(os.path.realpath, library)] if own else []
    wanted += _SYSTEM_FOLDERS
    present = sorted({folder for folder in wanted if Path(folder).is_dir()})
    return [folder for folder in present if not any(_below(folder, other) for other in present)]


def _package_folders(name: str) -> list[str]:
    """The folders of an installed package and of its shared libraries."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            f"sandbox.packages: there is no installed package {name!r}; install it, or leave it out"
        )
    folder = os.path.realpath(found.submodule_search_locations[0])
    if folder.startswith(f"{WORK}/"):
        raise ConfigError(
            f"sandbox.packages: {name!r} is installed below {WORK}, where programs have an empty folder of "
            "their own; use an environment elsewhere"
        )
    return [path for path in (folder, f"{folder}.libs") if Path(path).is_dir()]


def _below(folder: str, other: str) -> bool:
    return folder.startswith(f"{other}/") and not Path(other).is_symlink()


def _bubblewrap(python: str, setup: dict[str, Any]) -> tuple[str, ...]:
    from .inside.isolation.namespaces import DEVICES  # which no other system can import

    program = shutil.which("bwrap")
    if program is None:
        raise SandboxRefused("bwrap is not installed (apt install bubblewrap)")
    binds = [*setup["folders"], *setup["files"], python]
    options = ["--unshare-all", "--unshare-user", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"]
    # Rights within its own namespaces, until it has made the mounts whose limits bubblewrap cannot set.
    options += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"]
    options += ["--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]
    for path in binds:
        link = Path(path).is_symlink()
        options += ["--symlink", str(Path(path).readlink()), path] if link else ["--ro-bind", path, path]
    for device in DEVICES:
        options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for name, target in (("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("fd", "fd")):
        options += ["--symlink", f"/proc/self/{target}", f"/dev/{name}"]
    shared = "/dev/shm"  # noqa: S108 - where the C library makes the locks of `multiprocessing`
    options += ["--symlink", WORK, shared, "--proc", "/proc", "--dir", WORK, "--remount-ro", "/"]
    return (program, *options, "--", python, *_OPTIONS, "-c", START)


def _gvisor(python: str, setup: dict[str, Any]) -> tuple[str, ...]:
    program = shutil.which("runsc")
    if program is None:
        raise SandboxRefused("runsc is not installed (gVisor; apt install runsc, or see gvisor.dev)")
    # A starter without a shell writes the bundle, so that each container has its own name and state.
    config = json.dumps(_container(python, setup))
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    options = (*rootless, "--network=none", "--ignore-cgroups")
    return (python, *_OPTIONS, "-c", _START_CONTAINER, program, config, *options)


_START_CONTAINER = """
import os, shutil, signal, subprocess, sys, tempfile
program, config, *options = sys.argv[1:]
options = [option for option in options if option.startswith("--")]
folder = tempfile.mkdtemp(prefix="bdc-gvisor-")
try:
    os.mkdir(folder + "/rootfs")
    with open(folder + "/config.json", "w") as file:
        file.write(config)
    name = os.path.basename(folder)
    root = ["--root", folder + "/state"]
    started = subprocess.Popen([program, *root, *options, "run", "--bundle", folder, name])
    def end(*_):
        subprocess.call([program, *root, "kill", name, "KILL"], stderr=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, end)
    os.close(0)
    sys.exit(started.wait())
finally:
    shutil.rmtree(folder, ignore_errors=True)
"""


def _container(python: str, setup: dict[str, Any]) -> dict[str, Any]:
    """The OCI description of a container that holds only an interpreter."""
    mounts: list[dict[str, Any]] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    mounts.append(
        {"destination": WORK, "type": "tmpfs", "source": "tmpfs", "options": [f"size={WORK_MB}m", "noexec"]}
    )
    for path in (*setup["folders"], *setup["files"], python):
        mounts.append({"destination": path, "type": "bind", "source": path, "options": ["ro", "rbind"]})
    capabilities = ("bounding", "effective", "inheritable", "permitted", "ambient")
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": NOBODY, "gid": NOBODY},
            "args": [python, *_OPTIONS, "-c", START],
            "env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "cwd": WORK,
            "capabilities": {kind: [] for kind in capabilities},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "sandbox",
        "mounts": mounts,
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }
