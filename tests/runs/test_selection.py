import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.data.catalog import DATASETS
from bdc_agents.errors import BDCError, UsageError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.setup import choose_tasks
from bdc_agents.runs.collect.selection import Filter, select_jobs
from bdc_agents.sandbox.modules import missing_packages
from bdc_agents.types import Task


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a small MBPP and a file of problems of the user's own."""
    rows = [
        {
            "task_id": number,
            "text": f"Number {number}.",
            "code": "",
            "test_list": [f"assert f({number}) == 1"],
        }
        for number in (11, 12, 601, 602, 603, 700, 974)
    ]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine = [
        {"id": "a", "statement": "A.", "difficulty": "Easy", "tags": ["x"], "public_tests": ["f(1) -> 1"]},
        {
            "id": "b",
            "statement": "B.",
            "difficulty": "hard",
            "tags": ["x", "y"],
            "public_tests": ["f(1) -> 1"],
        },
        {"id": "c,d", "statement": "C.", "public_tests": ["f(1) -> 1"]},
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mine))
    return tmp_path


def ids(*datasets: str, data: Path, filters: tuple[str, ...] = (), **more: int) -> list[str]:
    chosen = select_jobs(
        datasets,
        data=data,
        filters=[Filter.parse(text) for text in filters],
        **more,  # type: ignore[arg-type]
    )
    return [job.id.rpartition("/")[2] for job in chosen.jobs]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("mbpp", ["11", "12", "601", "602", "603", "700", "974"]),
        ("mbpp:train", ["601", "602", "603", "700", "974"]),
        ("mbpp:601-603", ["601", "602", "603"]),
        ("mbpp:601", ["601"]),
        ("mbpp:974, 11-12,601", ["11", "12", "601", "974"]),
    ],
)
def test_a_part_of_a_data_set_is_a_split_a_range_or_ids(
    data: Path, address: str, expected: list[str]
) -> None:
    assert ids(address, data=data) == [f"mbpp:{number}" for number in expected]


def test_only_what_is_selected_is_built(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    mbpp = DATASETS["mbpp"]

    def read(row: Any, source: str) -> Task:
        built.append(str(row["task_id"]))
        return mbpp.read(row, source)

    monkeypatch.setitem(DATASETS, "mbpp", replace(mbpp, read=read))
    assert ids("mbpp:601,974,11", data=data) == ["mbpp:11", "mbpp:601", "mbpp:974"]
    assert built == ["11", "601", "974"]
    assert ids("mbpp:602-700", data=data) == ["mbpp:602", "mbpp:603", "mbpp:700"]
    assert built[3:] == ["602", "603", "700"]


def test_a_row_that_cannot_be_used_is_left_out_and_named(data: Path) -> None:
    with (data / "mbpp.jsonl").open("a") as file:
        file.write('{"task_id": 975, "text": "x", "test_list": ["assert ("]}\n{"task_id": 976, "te\n')
    chosen = select_jobs(["mbpp:601-974"], data=data)
    assert [job.id for job in chosen.jobs] == [f"mbpp:{n}" for n in (601, 602, 603, 700, 974)]
    assert chosen.left_out == (), "it was not selected"
    chosen = select_jobs(["mbpp"], data=data)
    assert len(chosen.jobs) == 7
    (odd, broken) = chosen.left_out
    assert odd.where.endswith("mbpp.jsonl:8")
    assert odd.reason.startswith("test_list[0]: not a test")
    assert broken.where.endswith("mbpp.jsonl:9")
    assert broken.reason.startswith("not JSON")


def test_each_problem_is_taken_once_and_remembers_its_data_set(data: Path) -> None:
    jobs = select_jobs(["mbpp:602", "mbpp:601-603"], data=data).jobs
    assert [(job.id, job.dataset) for job in jobs] == [
        ("mbpp:602", "mbpp:602"),
        ("mbpp:601", "mbpp:601-603"),
        ("mbpp:603", "mbpp:601-603"),
    ]


def test_problems_of_a_file(data: Path) -> None:
    file = str(data / "mine.jsonl")
    assert ids(file, data=data) == ["mine.jsonl:a", "mine.jsonl:b", "mine.jsonl:c,d"]
    assert ids(f"{file}:b", data=data) == ["mine.jsonl:b"]
    assert ids(f"{file}:c,d", data=data) == ["mine.jsonl:c,d"], "an id is an id before it is a list"


def test_filters_take_problems_that_have_one_of_the_values(data: Path) -> None:
    file = str(data / "mine.jsonl")
    assert ids(file, data=data, filters=("difficulty=easy,HARD",)) == ["mine.jsonl:a", "mine.jsonl:b"]
    assert ids(file, data=data, filters=("tags=x", "difficulty=hard")) == ["mine.jsonl:b"]
    assert ids(file, data=data, filters=("difficulty=none",)) == ["mine.jsonl:c,d"]
    only = f"{file}:difficulty=hard"
    assert ids(file, "mbpp:601", data=data, filters=(only,)) == ["mine.jsonl:b", "mbpp:601"]


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (("difficulty=easyy",), "no problem has difficulty 'easyy'; did you mean easy"),
        (("difficulty=impossible",), "no problem has .* 'impossible'; choose one of: easy, hard, none"),
        (("tags=z",), "no problem has tag 'z'; choose one of: x, y"),
        (("difficulty=easy,hard", "tag=yy"), "no problem has tag 'yy'; did you mean y"),
        (("difficulty=easy", "tag=y"), "no problem passes the filters difficulty=easy and tag=y at once"),
        (("minne.jsonl:tag=x",), "unknown data set 'minne.jsonl'; did you mean .*mine.jsonl"),
        (("tga=x",), "unknown filter 'tga'; did you mean tag"),
    ],
)
def test_a_filter_that_nothing_passes_says_what_there_is(
    data: Path, monkeypatch: pytest.MonkeyPatch, filters: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(data)
    with pytest.raises(UsageError, match=told):
        ids("mine.jsonl", data=data, filters=filters)


def test_a_value_that_no_problem_has_is_told_beside_one_that_some_have(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = str(data / "mine.jsonl")
    filters = [Filter.parse("difficulty=easy,hrad")]
    assert select_jobs([file], filters=filters).unmatched == (
        "the filter 'difficulty=easy,hrad': no problem has difficulty 'hrad'; did you mean hard?",
    )
    choose_tasks(EvalConfig(datasets=(file,), filters=("difficulty=easy,hrad",)), data)
    assert "no problem has difficulty 'hrad'" in caplog.text


def test_a_set_whose_problems_have_no_tags_or_difficulty_says_so(data: Path) -> None:
    with pytest.raises(UsageError, match=r"mbpp: .* no problem has tag 'x'; none of them has a tag at all"):
        ids("mbpp", data=data, filters=("tag=x",))
    with pytest.raises(UsageError, match="no problem has difficulty 'hard'; none of them has a difficulty"):
        ids("mbpp", data=data, filters=("difficulty=hard",))


def test_a_shuffle_depends_on_its_seed_alone(data: Path) -> None:
    one, again, other = (ids("mbpp", data=data, shuffle_seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert sorted(one) == sorted(other)


def test_problems_without_a_public_test_are_left_out_and_counted(data: Path) -> None:
    file = data / "bare.jsonl"
    rows = [{"id": "a", "statement": "A."}, {"id": "b", "statement": "B.", "public_tests": ["f(1) -> 1"]}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = select_jobs([str(file)])
    assert [job.id for job in chosen.jobs] == [f"{file}:b"]
    assert chosen.without_tests == (f"{file}:a",)
    assert len(select_jobs([str(file)], untested=True).jobs) == 2
    file.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(UsageError, match="self_tests"):
        select_jobs([str(file)])


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("mbbp", "did you mean mbpp"),
        ("mbpp:trian", "did you mean train"),
        ("mbpp:601,99999", "unknown problem of mbpp '99999'.*nearest are 603, 700, 974"),
        ("mbpp:1-10", "no problem in it"),
        ("none.jsonl", "no file"),
    ],
)
def test_what_is_not_there_is_told(data: Path, address: str, told: str) -> None:
    with pytest.raises(BDCError, match=told):
        select_jobs([address], data=data)


def test_dialogues_are_left_out_and_named(data: Path) -> None:
    file = data / "talks.jsonl"
    row = {"id": "a", "statement": "A.", "public_tests": ["f(1) -> 1"], "tags": ["interactive"]}
    rows = [row, row | {"id": "b", "tags": ["any-answer"]}]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    chosen = select_jobs([str(file)])
    assert [job.id for job in chosen.jobs] == [f"{file}:b"]
    assert chosen.interactive == (f"{file}:a",)
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match="judge that is not there"):
        select_jobs([str(file)])


def test_packages_that_known_solutions_need_are_named_with_the_remedy(data: Path) -> None:
    rows = [
        {"task_id": n, "text": "t", "code": code, "test_list": ["assert f(1) == 1"]}
        for n, code in enumerate(
            (
                "import sortedcontainers as s\ntry:\n    import numba\nexcept ImportError:\n    numba = None",
                "from numpy.linalg import inv\nimport os",
                "",
            )
        )
    ]
    (data / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = select_jobs(["mbpp", "mbpp:0"], data=data)
    assert chosen.packages == {"sortedcontainers": 1, "numpy": 1}
    told = missing_packages(chosen.packages, ("numpy",))
    assert "sortedcontainers (1); to allow them, install what is missing" in told
    assert 'packages = ["numpy", "sortedcontainers"] under [sandbox]' in told
    assert missing_packages(chosen.packages, ("numpy", "sortedcontainers")) == ""


def test_an_id_of_more_digits_than_a_number_may_have_is_in_no_range(data: Path) -> None:
    with (data / "mbpp.jsonl").open("a") as file:
        file.write(json.dumps({"task_id": "9" * 5000, "text": "x", "test_list": ["assert f(1) == 1"]}) + "\n")
    assert ids("mbpp:601-603", data=data) == ["mbpp:601", "mbpp:602", "mbpp:603"]
