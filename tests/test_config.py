import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from bdc_agents.config import (
    PRESETS,
    AgentConfig,
    Budget,
    SandboxConfig,
    SearchConfig,
    Settings,
    load_settings,
)
from bdc_agents.errors import ConfigError
from bdc_agents.types import Checker, Limits


def write(folder: Path, text: str) -> Path:
    file = folder / "bdc.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_names_agents_and_settings(tmp_path: Path) -> None:
    text = '[agents.mini]\nmodel = "openai:gpt-4o-mini"\n[search]\nrollouts = 4\n[budget]\ncalls = 9\n'
    settings = load_settings(write(tmp_path, text))
    assert settings.agents["mini"].model == "openai:gpt-4o-mini"
    assert settings.search.rollouts == 4
    assert settings.budget.calls == 9


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BDC_SEARCH__ROLLOUTS", "3")
    monkeypatch.setenv("BDC_BUDGET__MONEY", "0.5")
    settings = load_settings(write(tmp_path, "[search]\nrollouts = 4\nwidth = 2\n"))
    assert (settings.search.rollouts, settings.search.width, settings.budget.money) == (3, 2, 0.5)


def test_a_preset_is_the_start_and_keys_change_it(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[search]\npreset = "paper"\nrollouts = 3\n'))
    assert settings.search == SearchConfig.preset("paper", rollouts=3)
    assert settings.search.programs_per_agent == 2


def test_the_paper_preset_has_the_published_constants() -> None:
    paper = SearchConfig.preset("paper")
    assert (paper.rollouts, paper.width, paper.programs_per_agent) == (16, 3, 2)
    assert (paper.c, paper.c_base, paper.gamma, paper.failures_shown) == (4, 10, 0.9, 6)
    assert not paper.stop_when_solved
    assert not paper.answer_first


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[search]\nrolouts = 3", r"search.rolouts.*did you mean search.rollouts"),
        ("[agents.x]\nmodle = 'y'", r"agents.x.modle.*did you mean agents.x.model"),
        ("[serch]\nrollouts = 3", r"serch.*did you mean search"),
        ("[search]\nrollouts = 0", r"search.rollouts: at least 1 is needed \(found 0\)"),
        ("[search]\npreset = 'papre'", r"search preset 'papre'.*paper"),
        ("[agents.x]\ntimeout = 3", r"agents.x.model: it is missing"),
        ("[search\n", r"not valid TOML.*line 1"),
        ("[budget]\nmoney = 'much'", r"budget.money: .*number.*\(found 'much'\)"),
    ],
)
def test_a_wrong_file_is_explained(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load_settings(write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "BDC_SEARCH__ROLOUTS",
            "3",
            r"^unknown environment variable 'BDC_SEARCH__ROLOUTS'; did you mean BDC_SEARCH__ROLLOUTS",
        ),
        (
            "BDC_SERCH__ROLLOUTS",
            "3",
            r"^unknown environment variable 'BDC_SERCH__ROLLOUTS'; did you mean BDC_SEARCH__R",
        ),
        (
            "BDC_SEARCH__ROLLOUTS",
            "0",
            r"^environment variable BDC_SEARCH__ROLLOUTS: search.rollouts: .*found '0'",
        ),
        (
            "BDC_SEARCH",
            '{"rolouts": 3}',
            r"^environment variable BDC_SEARCH: unknown key 'search.rolouts'; did you",
        ),
        (
            "BDC_SEARCH",
            "{rollouts: 3}",
            r"^environment variable BDC_SEARCH: a table is needed, written as JSON",
        ),
        ("BDC_AGENTS__X__TIMEOUT", "3", r"^environment: agents.x.model: it is missing"),
        (
            "bdc_budget__calls",
            "many",
            r"^environment variable bdc_budget__calls: budget.calls: a whole number",
        ),
    ],
)
@pytest.mark.parametrize("with_file", [False, True])
def test_the_environment_is_blamed_for_what_it_holds(
    name: str, value: str, says: str, with_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    if with_file:
        write(tmp_path, "[search]\nwidth = 2\n")
        says = says.replace("environment: agents", "bdc.toml: agents")
    with pytest.raises(ConfigError, match=says):
        load_settings()


def test_a_file_is_blamed_for_its_own_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BDC_SEARCH__WIDTH", "3")
    with pytest.raises(ConfigError, match=r"^\S+bdc.toml: unknown key 'search.rolouts'"):
        load_settings(write(tmp_path, "[search]\nrolouts = 2\n"))


def test_other_variables_of_that_prefix_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BDC_DATA", "/x")
    monkeypatch.setenv("BDC_MY_KEY", "/x")
    assert Settings() == Settings()


AGENT = '[agents.x]\nmodel = "m"\nbase_url = "http://h/v1"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("heders = {}", "unknown key 'agents.x.heders'; did you mean agents.x.headers"),
        ("reasoning_efort = 'low'", "did you mean agents.x.reasoning_effort"),
        ("reasoning_effort = 'lots'", "agents.x.reasoning_effort: one of 'none', 'minimal'"),
        ("ollama = { num_ctxx = 3 }", "did you mean agents.x.ollama.num_ctx"),
        ("[agents.ollama]\nmodel = 'm'\nmodle = 'm'", "did you mean agents.ollama.model"),
        ("headers = { 'X Y' = 'sk-secret' }", "'X Y' cannot be the name of a header"),
        ('headers = { X = "sk-secret\\nY: 1" }', "the value of X cannot be sent"),
        (
            "headers = 'Authorization: Bearer sk-secret'",
            "agents.x.headers: a table is needed, such as headers = {",
        ),
        ("api_key = ['sk-secret']", "agents.x.api_key: a text is needed"),
        ("proxy = ['http://u:sk-secret@h']", "agents.x.proxy: a text is needed"),
        ("options = 'sk-secret'", "agents.x.options: a table is needed, such as options = {"),
    ],
)
def test_a_wrong_agent_is_explained_and_no_secret_shown(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, AGENT + text + "\n"))
    assert says in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:8000/v1", "an address is needed, such as http://localhost:8000/v1"),
        ("ftp://h/v1", "an address is needed"),
        ("http://", "an address is needed"),
        ("https://u:sk-secret@h/v1/chat/completions", "leave /chat/completions out"),
    ],
)
def test_an_address_that_cannot_be_asked_is_explained(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, f'[agents.x]\nmodel = "m"\nbase_url = "{url}"\n'))
    assert says in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_an_agent_may_be_a_model_at_an_address() -> None:
    settings = Settings(agents={"small": AgentConfig(model="m")})
    assert settings.agent("small").model == "m"
    assert settings.agent("openai:m") == AgentConfig(model="openai:m")
    found = settings.agent("qwen:7b@http://h:1/v1")
    assert (found.model, found.base_url) == ("qwen:7b", "http://h:1/v1")


@pytest.mark.parametrize("url", ["http://me:sk-secret@h/v1", "http://h/v1?key=sk-secret"])
def test_an_agents_name_holds_no_key(url: str) -> None:
    with pytest.raises(ConfigError, match="a name holds no key") as caught:
        Settings().agent(f"m@{url}")
    assert "sk-secret" not in str(caught.value)


def test_headers_and_proxy_are_in_no_dump() -> None:
    config = AgentConfig(
        model="m",
        headers={"X": SecretStr("sk-secret")},
        proxy=SecretStr("http://u:sk-secret@h"),
    )
    assert "sk-secret" not in f"{config!r} {config.model_dump()} {config.model_dump_json()} {config.shaping}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml")


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    text = '[agents.mini]\nmodel = "m"\nbase_url = "http://localhost:1/v1"\napi_key = "sk-secret"\n'
    settings = load_settings(write(tmp_path, text))
    assert "sk-secret" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_holds(name: str) -> None:
    assert SearchConfig.preset(name, rollouts=2).rollouts == 2
    with pytest.raises(ConfigError, match="did you mean rollouts"):
        SearchConfig.preset(name, rolouts=2)


def test_the_representation_of_an_agent_shows_nothing_that_may_be_a_key():
    options = {"extra_headers": {"X-Key": "hunter2"}}
    for url in ("http://me:hunter2@host:8000/v1", "http://host:8000/v1?key=hunter2"):
        shown = repr(AgentConfig(model="m", base_url=url, options=options))
        assert "hunter2" not in shown
        assert "host:8000/v1" in shown


def test_a_key_in_the_place_of_its_variables_name_is_refused_and_not_shown(tmp_path):
    text = "[agents.a]\nmodel = 'm'\napi_key_env = 'sk-very-secret'\n"
    with pytest.raises(ConfigError, match="api_key_env") as told:
        load_settings(write(tmp_path, text))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("variable", "right"),
    [
        ("BDC_BUGDET__CALLS", "BDC_BUDGET__CALLS"),
        ("BDC_SERCH__ROLOUTS", "BDC_SEARCH__ROLOUTS"),
        ("BDC_AGENT__X__MODEL", "BDC_AGENTS__X__MODEL"),
    ],
)
def test_a_misspelled_table_suggests_variables_that_exist(monkeypatch, variable, right):
    monkeypatch.setenv(variable, "3")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == f"unknown environment variable {variable!r}; did you mean {right}?"


@pytest.mark.parametrize("name", ["x@host", "x@localhost:8000", "x@localhost:8000/v1", "qwen:7b@host:80/v1"])
def test_an_address_without_a_scheme_is_told_where_it_is_read(name):
    model, _, host = name.partition("@")
    with pytest.raises(ConfigError, match=re.escape(f"write {model}@http://{host}")):
        Settings().agent(name)


def test_a_version_behind_an_at_is_no_address():
    assert Settings().agent("google_vertexai:claude@20240229").base_url is None


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        (lambda: Budget(call=3), "did you mean calls?"),
        (lambda: SearchConfig(rollout=3), "did you mean rollouts?"),
        (lambda: SearchConfig.preset("paper", rollout=3), "did you mean rollouts?"),
        (lambda: AgentConfig(model="m", temprature=0), "did you mean temperature"),
        (lambda: SandboxConfig(packges=[]), "did you mean packages?"),
        (lambda: Settings(budget={"call": 3}), "unknown field of budget 'call'; did you mean calls?"),
        (lambda: Limits(second=1), "did you mean cpu_seconds, wall_seconds?"),
        (lambda: Checker(tolerence=1), "did you mean tolerance?"),
    ],
)
def test_a_setting_that_is_not_known_is_answered_by_the_nearest_in_python_too(made, meant):
    with pytest.raises(ValueError, match=re.escape(meant)):
        made()
