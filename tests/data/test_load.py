import gzip
import json
import re
import sys
from types import ModuleType

import pytest
from pydantic import ValidationError

from bdc_agents.config import explain as of_settings
from bdc_agents.data import dataset_names, load_task, load_tasks, task_ids
from bdc_agents.data import hub as hub_module
from bdc_agents.data.rows import explain
from bdc_agents.errors import ProblemError
from bdc_agents.types import Problem
from bdc_agents.types.problem import Limits

MBPP = [
    {
        "task_id": n,
        "text": f"Add {n}.",
        "test_list": [f"assert add(1) == {n + 1}", f"assert add(2) == {n + 2}"],
    }
    for n in (2, 11, 12, 601)
]


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    monkeypatch.setattr("bdc_agents.data.load.hub_available", lambda: False)
    monkeypatch.delenv("BDC_DATA", raising=False)
    hub_module._downloaded.cache_clear()


@pytest.fixture
def folder(write):
    return write("mbpp/mbpp.jsonl", *MBPP).parents[1]


@pytest.mark.parametrize("layout", ["mbpp/mbpp.jsonl", "mbpp.jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_in_both_layouts_plain_and_packed(write, layout, packed):
    file = write(layout, *MBPP)
    root = file.parents[layout.count("/")]
    if packed:
        (file.parent / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert load_task("mbpp:601", data=root).problem.statement == "Add 601."


def test_the_environment_names_the_folder(folder, monkeypatch):
    monkeypatch.setenv("BDC_DATA", str(folder))
    assert load_task("mbpp:2").problem.id == "mbpp:2"
    monkeypatch.setenv("BDC_DATA", str(folder / "gone"))
    with pytest.raises(ProblemError, match="BDC_DATA names a folder that does not exist"):
        load_task("mbpp:2")


def test_problems_come_when_they_are_asked_for(write, caplog):
    broken = {"task_id": 12, "text": "x", "test_list": ["assert ("]}
    root = write("mbpp/mbpp.jsonl", MBPP[0], broken, MBPP[3]).parents[1]
    tasks = load_tasks("mbpp", data=root)
    assert next(tasks).problem.id == "mbpp:2"
    assert caplog.text == ""
    assert next(tasks).problem.id == "mbpp:601"
    assert list(task_ids("mbpp", data=root)) == ["2", "12", "601"]


BAD_LINES = {
    "cut": '{"task_id": 12, "text": "x", "test_l',
    "no object": "[1, 2]",
    "a number": "12",
    "wrong types": '{"task_id": 12, "text": 3, "test_list": "assert"}',
    "missing fields": '{"task_id": 12}',
    "a test that is no code": '{"task_id": 12, "text": "x", "test_list": ["assert ("]}',
    "no UTF-8": b'{"task_id": 12, "text": "\xff\xfe", "test_list": ["assert f(1) == 1"]}',
    "half a character": '{"task_id": 12, "text": "\\ud83d", "test_list": ["assert f(1) == 1"]}',
    "a number too long": f'{{"task_id": {"9" * 200_000}, "text": "x", "test_list": ["assert f(1) == 1"]}}',
    "deep": "[" * 100_000,
    "null": "null",
    "a zero byte": "\0\0\0",
}


@pytest.mark.parametrize("name", BAD_LINES)
@pytest.mark.parametrize("packed", [False, True])
def test_one_bad_row_is_named_and_left_out(tmp_path, caplog, name, packed):
    bad = BAD_LINES[name]
    lines = [
        json.dumps(MBPP[0]).encode(),
        bad if isinstance(bad, bytes) else bad.encode(),
        json.dumps(MBPP[3]).encode(),
    ]
    file = tmp_path / ("mbpp.jsonl.gz" if packed else "mbpp.jsonl")
    text = b"\n".join(lines)
    file.write_bytes(gzip.compress(text) if packed else text)
    assert [task.problem.id for task in load_tasks("mbpp", data=tmp_path)] == ["mbpp:2", "mbpp:601"]
    assert f"left out: {file}:2: " in caplog.text
    assert len(caplog.records) == 1
    assert len(caplog.text) < 1000
    assert load_task("mbpp:601", data=tmp_path).problem.id == "mbpp:601"
    with pytest.raises(ProblemError, match=r"mbpp\.jsonl(\.gz)?:2: "):
        load_task("mbpp:12", data=tmp_path)


def test_many_bad_rows_are_named_in_part_and_counted(tmp_path, caplog):
    (tmp_path / "mbpp.jsonl").write_text(f"{json.dumps(MBPP[0])}\n" + "{\n" * 40)
    assert len(list(load_tasks("mbpp", data=tmp_path))) == 1
    assert len(caplog.records) == 6
    assert "35 more rows are left out" in caplog.text


def test_a_file_of_bad_rows_alone_is_an_error(tmp_path):
    (tmp_path / "mbpp.jsonl").write_text("{\n{\n")
    with pytest.raises(ProblemError, match=r"mbpp\.jsonl:1, 2: not JSON"):
        list(load_tasks("mbpp", data=tmp_path))


def test_what_an_adapter_did_not_think_of_is_the_rows_fault(write, caplog):
    usual = {"description": "d", "public_tests": {"input": ["1"], "output": ["1"]}}
    odd = usual | {"name": "odd", "time_limit": {"seconds": 10**400}}
    root = write("codecontests/x.jsonl", odd, usual | {"name": "good"}).parents[1]
    assert "codecontests:good" in [task.problem.id for task in load_tasks("codecontests", data=root)]


def test_an_array_with_an_item_that_is_no_row(tmp_path, caplog):
    (tmp_path / "sanitized-mbpp.json").write_text(json.dumps([MBPP[0], 3, None, MBPP[1]]))
    assert [t.problem.id for t in load_tasks("mbpp-sanitized", data=tmp_path)] == [
        "mbpp-sanitized:2",
        "mbpp-sanitized:11",
    ]
    assert "sanitized-mbpp.json[1]: a problem is a JSON object, not a number" in caplog.text
    assert load_task("mbpp-sanitized:11", data=tmp_path)


def test_two_rows_of_one_id_are_an_error_that_names_both(write, caplog):
    rows = [{"id": "x", "statement": text} for text in ("One.", "Two.")]
    file = write("mine.jsonl", rows[0], {"id": "y", "statement": "y"}, rows[1])
    both = r"mine\.jsonl:1 and .*mine\.jsonl:3 have the same id"
    with pytest.raises(ProblemError, match=both):
        load_task(f"{file}:x")
    with pytest.raises(ProblemError, match=both):
        list(load_tasks(str(file)))
    assert load_task(f"{file}:y").problem.statement == "y"
    root = write("mbpp.jsonl", MBPP[0], MBPP[0]).parent
    assert len(list(load_tasks("mbpp", data=root))) == 1, "of a published set the first counts"
    assert "mbpp.jsonl:1 and" in caplog.text
    assert load_task("mbpp:2", data=root)


def test_splits_and_limits(folder):
    assert list(task_ids("mbpp", data=folder, split="test")) == ["11", "12"]
    assert [task.problem.id for task in load_tasks("mbpp", data=folder, split="train")] == ["mbpp:601"]
    assert len(list(load_tasks("mbpp", data=folder, limit=3))) == 3
    with pytest.raises(ProblemError, match="unknown split of mbpp 'tset'; did you mean test"):
        load_tasks("mbpp", data=folder, split="tset")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mbpp:13", ["'13'", "12", "11"]),
        ("mbpp:99999", ["'99999'", "from 2 to 601", "11, 12, 601"]),
        ("mbpp:" + "9" * 5000, ["unknown problem"]),
        ("mbbp:2", ["unknown data set 'mbbp'; did you mean mbpp", ".jsonl"]),
        ("xyz:2", ["unknown data set 'xyz'; the data sets are demo, ", "leetcode", ".jsonl"]),
        ("mine.txt", ["no file of problems", ".jsonl"]),
        ("/dev/fd/63", ["a pipe or a device", "write them to a file"]),
        ("mbpp", ["whole data set", "mbpp:ID"]),
        ("nothing", ["'nothing'", "NAME:ID"]),
        (
            "apps:1",
            ["apps/test.jsonl", "--data", "BDC_DATA", "codeparrot/apps", "pip install 'bdc-agents[hub]'"],
        ),
        ("gone.jsonl:1", ["gone.jsonl"]),
        ("demo:ticket", ["ticket-desk"]),
    ],
)
def test_what_is_not_there_is_explained(folder, address, words):
    with pytest.raises(ProblemError) as caught:
        load_task(address, data=folder)
    assert all(word in str(caught.value) for word in words)


def test_without_a_folder_the_message_says_how_to_get_the_data():
    with pytest.raises(ProblemError, match=r"no data folder is named.*--data DIR.*bdc-agents\[hub\]"):
        load_task("mbpp:2")
    with pytest.raises(ProblemError, match="no data folder"):
        next(load_tasks("mbpp", data="/does/not/exist"))


def test_ids_have_short_forms_and_other_names(write):
    prompt = 'def f(x):\n    """f(1) == 2"""\n'
    rows = [
        {"task_id": f"HumanEval/{n}", "prompt": prompt, "entry_point": "f", "test": "def check(f): pass"}
        for n in (1, 11)
    ]
    root = write("HumanEval.jsonl", *rows).parent
    write("public_tests.jsonl", {"task_id": "HumanEval/11", "public_tests": ["assert f(3) == 4"]})
    assert load_task("humaneval:1", data=root).problem.public_tests[0].call == "f(1)"
    task = load_task("humaneval:HumanEval/11", data=root)
    assert [test.call for test in task.problem.public_tests] == ["f(3)"]
    tests = {"input": ["1"], "output": ["1"]}
    contest = {"name": "1_A. Ünïq", "id": "1_a_x", "description": "d", "public_tests": tests}
    write("codecontests/some.jsonl", contest | {"private_tests": None})
    for address in ("codecontests:1_A. Ünïq", "codecontests:1_a_x"):
        assert load_task(address, data=root).problem.id == "codecontests:1_a_x"
    with pytest.raises(ProblemError, match=r"choose one of: 1_A\. Ünïq, 1_a_x"):
        load_task("codecontests:1", data=root)


def test_an_unknown_id_of_a_large_set_is_told_at_once(write):
    rows = [{"id": f"problem-{n}-of-many", "statement": "s"} for n in range(3000)]
    file = write("large.jsonl", *rows, {"id": "the-longest-path", "statement": "s"})
    with pytest.raises(ProblemError, match="did you mean the-longest-path"):
        load_task(f"{file}:the-longest-pathh")


def test_some_problems_by_their_ids(folder):
    tasks = load_tasks("mbpp", data=folder, ids=["601", "2", "601"])
    assert [task.problem.id for task in tasks] == ["mbpp:2", "mbpp:601"]
    assert list(load_tasks("mbpp", data=folder, split="train", ids=["2"])) == []
    with pytest.raises(ProblemError, match="unknown problem of mbpp '3'"):
        load_tasks("mbpp", data=folder, ids=["2", "3"])


def test_plain_files(write, tmp_path):
    rows = [{"id": name, "statement": f"Do {name}."} for name in ("one", "two:b")]
    file = write("my.jsonl", *rows)
    assert load_task(f"{file}:two:b").problem.id == f"{file}:two:b"
    assert [task.problem.statement for task in load_tasks(str(file))] == ["Do one.", "Do two:b."]
    with pytest.raises(ProblemError, match=r"several problems \(one, two:b\)"):
        load_task(str(file))
    assert load_task(f"{write('odd.jsonl', {'id': 'x.json', 'statement': 's'})}:x.json")
    single = tmp_path / "single.json"
    single.write_text(json.dumps(rows[0], indent=1))
    assert load_task(str(single)).problem.statement == "Do one."
    several = tmp_path / "several.json"
    several.write_text(json.dumps(rows))
    assert load_task(f"{several}:one").problem.statement == "Do one."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"id": "a", "statement": "s"}\n{"id": \n', ["x.jsonl:2: not JSON: Expecting value at column 7"]),
        (b"[1, 2]\n", ["x.jsonl:1", "JSON object"]),
        (b"\xff\xfe\n", ["x.jsonl", "UTF-8"]),
        (b"", ["no problem"]),
        (b'{"id": "a", "statement": "s", "testz": []}', ["x.jsonl:1", "tests"]),
    ],
)
def test_broken_files_are_explained(tmp_path, content, words):
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    with pytest.raises(ProblemError) as caught:
        load_task(str(file))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("cut", [slice(0, 40), slice(8, None)])
def test_a_damaged_archive_is_explained(tmp_path, cut):
    file = tmp_path / "x.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"id": "a", "statement": "s"}' * 50)[cut])
    with pytest.raises(ProblemError, match="cannot be read"):
        list(load_tasks(str(file)))


def test_the_hub_is_asked_where_no_file_is_found(monkeypatch, write):
    asked = []

    def load_dataset(repo, config, *, split, streaming):
        asked.append((repo, config, split, streaming))
        return iter(MBPP)

    def hf_hub_download(repo, name, *, repo_type, revision):
        asked.append((repo, name, repo_type))
        return str(write("test.jsonl", {"id": 7, "question": "Do.", "input_output": ""}))

    for module, function in (("datasets", load_dataset), ("huggingface_hub", hf_hub_download)):
        stand_in = ModuleType(module)
        setattr(stand_in, function.__name__, function)
        monkeypatch.setitem(sys.modules, module, stand_in)
    monkeypatch.setattr("bdc_agents.data.load.hub_available", lambda: True)
    assert load_task("mbpp:601").problem.statement == "Add 601."
    assert [task.problem.id for task in load_tasks("mbpp", ids=["601", "2"])] == ["mbpp:2", "mbpp:601"]
    assert load_task("apps:7").problem.id == "apps:7"
    assert asked == [
        ("google-research-datasets/mbpp", "full", "prompt+test+validation+train", False),
        ("codeparrot/apps", "test.jsonl", "dataset"),
    ]


def test_a_hub_that_fails_is_explained(monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    stand_in = ModuleType("datasets")
    stand_in.__dict__["load_dataset"] = fail
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    monkeypatch.setattr("bdc_agents.data.load.hub_available", lambda: True)
    with pytest.raises(
        ProblemError, match=r"openai/openai_humaneval.*ConnectionError: no route\).*--data DIR"
    ):
        load_task("humaneval:1")


def test_whether_the_hub_is_there_is_found_without_importing_it():
    assert hub_module.hub_available() in (True, False)
    assert "datasets" not in sys.modules


def test_all_data_sets_are_named():
    assert {"demo", "humaneval", "humaneval+", "mbpp", "mbpp+", "apps", "codecontests"} <= set(
        dataset_names()
    )


def test_what_is_wrong_with_a_whole_row_is_told_without_a_place():
    with pytest.raises(ValidationError) as caught:
        Problem.model_validate({"statement": "Write f.", "reference": "def f(): pass"})
    told = explain(caught.value, "file.json")
    assert told.startswith("file.json: reference: no search may see them")


@pytest.mark.parametrize("explained", [explain, lambda error, source: of_settings(error, source, Limits)])
def test_a_default_made_of_a_wrong_field_is_not_told(explained):
    with pytest.raises(ValidationError) as caught:
        Limits(cpu_seconds=-1)
    assert explained(caught.value, "x") == "x: cpu_seconds: more than 0 is needed (found -1)"


def test_a_file_that_is_not_there_names_what_may_be_meant(tmp_path):
    for name in ("mine.jsonl.gz", "other.json", "check.py"):
        (tmp_path / name).touch()
    for wanted, meant in (("mine.jsonl", "mine.jsonl.gz"), ("othr.json", "other.json")):
        for address in (f"{tmp_path}/{wanted}:1", f"{tmp_path}/{wanted}"):
            with pytest.raises(ProblemError, match=rf"did you mean {re.escape(meant)}\?"):
                load_task(address)
    with pytest.raises(ProblemError, match="there is no folder"):
        load_task(f"{tmp_path}/none/mine.jsonl:1")


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    file = tmp_path / "mine.jsonl"
    bad = [
        '{"id":"b","statement":"s","tests":["f(1) =="]}',
        '{"id":"c","statment":"s"}',
        '{"id":"d",',
        '{"id":1.5}',
    ]
    file.write_text("\n".join(bad))
    for load in (lambda: load_task(str(file)), lambda: [*load_tasks(str(file))]):
        with pytest.raises(ProblemError) as caught:
            load()
        assert [f"mine.jsonl:{line}: " in str(caught.value) for line in range(1, 6)] == [True] * 4 + [False]
    good = '{"id":"a","statement":"s","tests":["f(1) == 1"]}'
    file.write_text("\n".join([good, good, *bad, good]))
    seen = []
    with pytest.raises(ProblemError) as caught:
        seen.extend(load_tasks(str(file)))
    text = str(caught.value)
    assert len(seen) == 1, "what stands before the fault that no run goes on from"
    assert "mine.jsonl:1 and " in text
    assert text.count("have the same id 'a'") == 2
    assert "mine.jsonl:5: not JSON" in text
    file.write_text("\n".join(['{"id":'] * 30))
    with pytest.raises(ProblemError, match=r"mine.jsonl:1, 2, 3, 4, 5 and 25 more: not JSON") as caught:
        [*load_tasks(str(file))]
    assert "\n" not in str(caught.value), "what is the same is told once"
    file.write_text("\n".join(json.dumps({"id": f"a{n}", "statement": "s", f"x{n}": 1}) for n in range(30)))
    with pytest.raises(ProblemError, match="and 20 more rows that cannot be used") as caught:
        [*load_tasks(str(file))]
    assert str(caught.value).count("unknown field") == 10


def test_a_file_without_problems_says_that_it_is_empty(tmp_path):
    for name, text in {
        "a.json": "",
        "b.jsonl": "",
        "c.jsonl": "\n \n",
        "d.json": "[]",
        "e.json": " \n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ProblemError, match="it is empty") as caught:
            load_task(str(tmp_path / name))
        assert ":ID" not in str(caught.value)


@pytest.mark.parametrize(
    ("checker", "says"),
    [
        ("check.py:chekc", "unknown function of the checker 'chekc'; did you mean check?"),
        ("chekc.py:check", "no file 'chekc.py' beside the problem's; did you mean check.py?"),
        ("empty.py:check", "'empty.py' is empty; define check(stdin, printed, expected)"),
        (
            "two.py",
            "the checker's code defines no function 'check', but first, second; name that one, or write def",
        ),
    ],
)
def test_a_checker_that_is_not_there_names_what_may_be_meant(tmp_path, checker, says):
    (tmp_path / "check.py").write_text("def check(stdin, printed, expected):\n    return True\n")
    (tmp_path / "empty.py").write_text("\n")
    (tmp_path / "two.py").write_text("def first(a, b, c): return True\ndef second(a, b, c): return True\n")
    row = {"id": "a", "statement": "s", "public_tests": [{"stdin": "1"}], "checker": checker}
    (tmp_path / "p.json").write_text(json.dumps(row))
    with pytest.raises(ProblemError) as caught:
        load_task(str(tmp_path / "p.json"))
    assert f"checker: {says}" in str(caught.value)
