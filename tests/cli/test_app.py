"""The table of commands: true to the commands, and light."""

import inspect
import json
import subprocess
import sys
from importlib import import_module

import pytest

from bdc_agents.cli import exits
from bdc_agents.cli.app import COMMANDS, command
from bdc_agents.extras import EXTRAS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    module, line = COMMANDS[name]
    function = getattr(import_module(module), module.rpartition(".")[2])
    assert (inspect.getdoc(function) or "").partition("\n")[0] == line
    assert command(name).name == name


def test_the_list_and_the_version_import_no_command():
    probe = (
        "import sys\n"
        "from bdc_agents.cli import app\n"
        "for words in (['--help'], ['--version'], [], ['slove']):\n"
        "    try: app(words, prog_name='bdc')\n"
        "    except SystemExit: pass\n"
        "heavy = {'langgraph', 'langchain_core', 'openai', 'torch', 'rich'}\n"
        f"print(sorted((heavy | { ({module for module, _ in COMMANDS.values()})!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_imports_neither_langgraph_nor_chat_models_nor_torch():
    probe = (
        "import sys\n"
        "from bdc_agents.cli import app\n"
        "from bdc_agents.cli.app import COMMANDS\n"
        "for name in COMMANDS:\n"
        "    try: app([name, '--help'], prog_name='bdc')\n"
        "    except SystemExit: pass\n"
        "heavy = 'langgraph langchain langchain_core langsmith openai httpx torch transformers numpy ray'\n"
        "print(sorted(set(heavy.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_a_core_install_has_its_help():
    probe = (
        "import sys\n"
        f"for module in {[module for modules in EXTRAS.values() for module in modules]!r}:\n"
        "    sys.modules[module] = None\n"
        "from bdc_agents.cli.app import COMMANDS, app\n"
        "for name in COMMANDS:\n"
        "    try: app([name, '--help'], prog_name='bdc')\n"
        "    except SystemExit as ended: print(name, ended.code, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.split() == [word for name in COMMANDS for word in (name, "0")]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("raise ModuleNotFoundError(name='torch')", exits.ENVIRONMENT, "pip install 'bdc-agents[distill]'"),
        ("raise ImportError('half an installation')", exits.FAULT, "half an installation"),
        ("raise KeyboardInterrupt", exits.INTERRUPTED, "interrupted"),
    ],
)
def test_a_command_that_cannot_be_imported_ends_as_one_that_fails(
    call, workplace, monkeypatch, text, code, said
):
    (workplace / "broken_command.py").write_text(text)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.setitem(COMMANDS, "doctor", ("broken_command", "Say what this machine can do."))
    done = call("doctor")
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert json.loads(call("doctor", "--json").stderr)["exit_code"] == code
