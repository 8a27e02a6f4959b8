"""The committed bundle is what the sources in `frontend/` give."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRONTEND = ROOT / "frontend"
BUILT = ("page.js", "page.css", "page.licenses.txt")
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FRONTEND / "node_modules" / "esbuild").exists(),
    reason="Node or the packages of frontend/ are not installed: make page",
)


@needs_node
def test_the_bundle_is_built_from_its_sources(tmp_path):
    subprocess.run(["node", "build.mjs", tmp_path], cwd=FRONTEND, check=True, timeout=120)
    for name in BUILT:
        assert (tmp_path / name).read_bytes() == (ROOT / "bdc_agents" / "view" / name).read_bytes(), (
            f"{name}: run make page"
        )


@needs_node
@pytest.mark.slow
def test_the_sources_have_no_error_of_types():
    told = subprocess.run(
        ["npx", "--no-install", "tsc", "--noEmit"],
        cwd=FRONTEND,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert told.stdout == ""


def test_the_bundle_is_plain_ascii_and_names_its_licences():
    folder = ROOT / "bdc_agents" / "view"
    assert (folder / "page.js").read_bytes().isascii()
    assert {"preact", "diff"} <= {
        *re.findall(r"^([\w-]+) \d+\.", (folder / "page.licenses.txt").read_text(), re.MULTILINE)
    }


def test_the_lock_file_names_no_host_that_packages_come_from():
    if not FRONTEND.exists():
        pytest.skip("the sources of the page are not here")
    assert '"resolved"' not in (FRONTEND / "package-lock.json").read_text()
