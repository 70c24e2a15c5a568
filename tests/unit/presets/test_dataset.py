"""Datasets: the same rows in every shape become the same conversations; every broken one is named."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.dataset import inspect, parse_mapping, split, write_rows
from presets.duplicates import DuplicateCounter
from presets.errors import FinetuiError, InvalidInput

USER, ANSWER = "How many?\nCREATE TABLE t (a INT)", "[SQL] SELECT 1 [/SQL]"
SHAPES: dict[str, dict[str, Any]] = {
    "question/context/answer": {
        "question": "How many?",
        "context": "CREATE TABLE t (a INT)",
        "answer": ANSWER,
    },
    "prompt/completion": {"prompt": USER, "completion": ANSWER},
    "prompt/response": {"prompt": USER, "response": ANSWER},
    "alpaca": {"instruction": "How many?", "input": "CREATE TABLE t (a INT)", "output": ANSWER},
    "messages": {"messages": [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}]},
    "sharegpt": {"conversations": [{"from": "human", "value": USER}, {"from": "gpt", "value": ANSWER}]},
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def normalised(path: Path, tmp_path: Path, mapping: str = "") -> list[dict[str, Any]]:
    out = tmp_path / "out.jsonl"
    count = write_rows(path, parse_mapping(mapping), out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n") if line]
    assert len(rows) == count
    return rows


@pytest.mark.parametrize("layout", SHAPES)
def test_every_shape_is_recognised_and_becomes_the_same_conversation(tmp_path: Path, layout: str) -> None:
    path = jsonl(tmp_path / "rows.jsonl", SHAPES[layout])
    assert inspect(path).layout == layout
    assert normalised(path, tmp_path) == [
        {"messages": [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}]}
    ]


def test_jsonl_json_and_csv_give_the_same_rows(tmp_path: Path) -> None:
    rows = [
        {"question": "a, b", "context": 'x "y"\nz', "answer": "1"},
        {"question": "ü", "context": "", "answer": "2"},
    ]
    one = jsonl(tmp_path / "a.jsonl", *rows)
    two = tmp_path / "a.json"
    two.write_text(json.dumps(rows, indent=2))
    three = tmp_path / "a.csv"
    with three.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert normalised(one, tmp_path) == normalised(two, tmp_path) == normalised(three, tmp_path)
    assert inspect(two).format == "json"
    assert inspect(three).format == "csv"


def test_a_map_names_the_columns(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", {"q": "How many?", "schema": "S", "sql": "1", "hint": "be brief"})
    (row,) = normalised(path, tmp_path, "q=prompt,schema=input,sql=response,hint=system")
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
    assert row["messages"][1]["content"] == "How many?\nS"


def test_plain_text_stays_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", {"text": "once"})
    assert inspect(path).is_text
    assert normalised(path, tmp_path) == [{"text": "once"}]


def test_the_report_counts_what_a_person_would_count(tmp_path: Path) -> None:
    row = {"prompt": "a" * 392, "response": "", "id": 1}
    path = jsonl(tmp_path / "rows.jsonl", row, row, {"prompt": "b", "response": "c", "id": 2})
    report = inspect(path)
    assert (report.rows, report.duplicates, report.empties) == (3, 1, 2)
    assert report.ignored == ("id",)
    assert (report.lengths.max, report.lengths.median) == (106, 106)
    assert report.lengths.share_over(100) == pytest.approx(2 / 3)
    assert report.first[2][0].content == "b"
    assert report.lengths.buckets() == (
        (0, 15, 1),
        *((n, n + 15, 0) for n in range(16, 96, 16)),
        (96, 111, 2),
    )


@pytest.mark.parametrize(("share", "expected"), [(0.0, (100, 0)), (0.05, (95, 5)), (0.001, (99, 1))])
def test_the_rows_kept_back_are_rounded_up(share: float, expected: tuple[int, int]) -> None:
    assert split(100, share) == expected


def test_equal_rows_are_duplicates_however_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    one, two = '{"prompt": "\u00fc", "response": "b"}', '{"response":"b",  "prompt":"\\u00fc"}'
    path.write_text(f"{one}\n{two}\n\n{one}\n", encoding="utf-8")
    assert inspect(path).duplicates == 2


def test_duplicates_are_estimated_when_there_are_too_many_rows_to_keep_them_all() -> None:
    counter = DuplicateCounter(max_kept=1000)
    for number in range(20_000):
        counter.add([hash(f"row {number}")] * (2 if number % 10 == 0 else 1))
    assert not counter.is_exact
    assert counter.count() == pytest.approx(2000, rel=0.5)


OPTIONAL = st.none() | TEXT
ALL_ROWS = st.one_of(
    st.lists(
        st.fixed_dictionaries(
            {"instruction": TEXT, "input": OPTIONAL, "output": TEXT, "system": OPTIONAL, "id": st.integers()}
        ),
        min_size=1,
    ),
    st.lists(st.fixed_dictionaries({"text": TEXT}), min_size=1),
    st.lists(
        st.fixed_dictionaries(
            {
                "messages": st.lists(TEXT, min_size=1, max_size=3).map(
                    lambda texts: [
                        {"role": role, "content": text} for text in texts for role in ("user", "assistant")
                    ]
                )
            }
        ),
        min_size=1,
    ),
)


@given(ALL_ROWS, st.booleans())
def test_whole_blocks_are_counted_as_single_rows_are(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows * 2]
    quick, careful = folder / "quick.jsonl", folder / "careful.jsonl"
    quick.write_text("\n".join(lines), encoding="utf-8")
    # Blank lines are nothing unusual to a reader of single rows.
    careful.write_text("\n\n".join(lines), encoding="utf-8")
    seen, expected = inspect(quick), inspect(careful)
    assert replace(seen, path="") == replace(expected, path="")
    assert seen.duplicates >= len(rows)


MESSAGE = {"role": "user", "content": "x"}
BROKEN: list[tuple[str, bytes, str]] = [
    ("a.jsonl", b"", "has no rows"),
    ("a.jsonl", b"\n \n", "has no rows"),
    ("a.json", b"[]", "has no rows"),
    ("a.csv", b"question,answer\n", "has no rows"),
    ("a.jsonl", b'{"text": "a"}\n{"text": \xff"}\n', "line 2 is not UTF-8 at byte 23 of the file"),
    ("a.json", b'[{"text": "\xff"}]', "not UTF-8 at byte 11 of the file"),
    ("a.csv", b"text\na\n\xe9\n", "line 3 is not UTF-8 at byte 7 of the file"),
    ("a.jsonl", b'{"text": "a"}\n\n{"text" "b"}\n', "row 2, line 3, column 9: broken JSON"),
    ("a.json", b'[{"text": "a"},\n {"text" 1}]', "line 2, column 10: broken JSON"),
    ("a.json", b'{\n "text": 1\n}', "broken JSON"),
    ("a.jsonl", b"[" * 200_000, "broken JSON"),
    ("a.jsonl", b'{"text": NaN}', "broken JSON"),
    ("a.jsonl", b'{"text": "\\ud800"}', "broken JSON"),
    ("a.jsonl", b'"text"', "row 1 (line 1) is not an object"),
    ("a.json", b'[{"text": "a"}, 3]', "row 2 is not an object"),
    ("a.json", b'[{"text": "a"}', "line 1, column 15: broken JSON"),
    ("a.json", b'[{"text": "a"},]', "row 2, line 1, column 16: broken JSON"),
    ("a.json", b'[{"text": "a"}]\n{}', "line 2, column 1: broken JSON"),
    ("a.json", b'[{"text": NaN}]', "row 1, line 1, column 2: broken JSON"),
    ("a.json", b'[{"text": "a"}, {"text": "\\ud800"}]', "row 2, line 1, column 17: broken JSON"),
    ("a.json", b"[" * 200_000, "broken JSON"),
    ("a.json", b'[{"text": "' + b"\n" * 300_000 + b'\xc3"}]', "not UTF-8 at byte 300011 of the file"),
    ("a.jsonl", b't\0e', "NUL byte at byte 1"),
    ("a.jsonl", b'{"text": "a\\u0000"}', "NUL character"),
    (
        "a.jsonl",
        b'{"question": "a", "answer": "b"}\n{"question": "a"}',
        "row 2 (line 2) has no column 'answer'",
    ),
    (
        "a.jsonl",
        b'{"prompt": "a", "response": "b"}\n{"prompt": "a", "response": "b", "input": "c"}',
        "the first row lacks",
    ),
    ("a.jsonl", b'{"prompt": "a", "completion": 3}', "row 1 (line 1): completion is int, not text"),
    ("a.jsonl", b'{"prompt": null, "completion": "b"}', "prompt is null"),
    ("a.jsonl", b'{"foo": 1, "bar": 2}', "'foo', 'bar'"),
    ("a.jsonl", b'{"messages": "x"}', "not a list of messages"),
    ("a.jsonl", b'{"messages": []}', "messages is empty"),
    ("a.jsonl", b'{"messages": [7]}', "messages[0] has no role"),
    ("a.jsonl", json.dumps({"messages": [MESSAGE, MESSAGE]}).encode(), "messages[1] is from user"),
    ("a.jsonl", json.dumps({"messages": [MESSAGE]}).encode(), "does not end with an answer"),
    ("a.jsonl", b'{"messages": [{"role": "tool", "content": "x"}]}', "role 'tool'"),
    ("a.jsonl", b'{"messages": [{"role": [], "content": "x"}]}', "role []"),
    ("a.csv", b"question,answer\na,b\na,b,c\n", "row 2 (line 3) has 3 cells; the header has 2"),
    ("a.csv", b'question,answer\n"a,b\n', "broken CSV"),
    ("a.csv", b"text,text\na,b\n", "the column 'text' twice"),
    ("a.csv", b"question;answer\na;b\n", "'question;answer'"),
    ("a.jsonl", b'{"prompt": "a", "response": "b", "images": ["c.png"]}', "a column 'images', and only text"),
    ("a.parquet", b"PAR1", "the format .parquet is not read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "expected"), BROKEN)
def test_a_broken_dataset_says_where_and_what_to_do(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        inspect(path)
    assert str(path) in caught.value.message
    assert expected in str(caught.value)
    assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no file"):
        inspect(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInput, match="is a folder"):
        inspect(tmp_path)


def test_a_row_without_the_mapped_column_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", {"q": "a", "a": "b"}, {"q": "a"})
    with pytest.raises(InvalidInput, match=r"row 2 \(line 2\) has no column 'a'"):
        inspect(path, parse_mapping("q=prompt,a=response"))
    with pytest.raises(InvalidInput, match="no column 'z', which --map names"):
        inspect(path, parse_mapping("z=prompt,a=response"))


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a=",
        "=prompt",
        "a=promt",
        "a=prompt",
        "a=text,b=prompt",
        "a=prompt,a=response",
        "a=response,b=response,c=prompt",
        "a=messages,b=input",
    ],
)
def test_a_bad_map_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_mapping(text)
    assert caught.value.message.startswith(f"--map {text}")
    assert caught.value.remedy


@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".json", ".csv"]))
def test_any_bytes_are_read_or_refused_with_a_message(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"rows{suffix}"
    path.write_bytes(data)
    try:
        assert inspect(path).rows > 0
    except FinetuiError as error:
        assert error.message


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_text_survives_every_format_unchanged(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("same")
    rows = [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
    jsonl(folder / "a.jsonl", *rows)
    (folder / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    for name in ("a.jsonl", "a.json", "a.csv"):
        written = normalised(folder / name, folder)
        assert [tuple(turn["content"] for turn in row["messages"]) for row in written] == pairs


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_a_long_file_is_read_in_constant_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    text = "word " * 2000
    with path.open("w") as file:
        if suffix == ".csv":
            file.write("prompt,completion\n")
        for number in range(3000):
            row = (
                f'"{text}","{number}"'
                if suffix == ".csv"
                else json.dumps({"prompt": text, "completion": str(number)})
            )
            opening = "," if number else "["
            file.write(opening + row + "\n" if suffix == ".json" else row + "\n")
        file.write("]" if suffix == ".json" else "")
    tracemalloc.start()
    inspect(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 30_000_000
    assert peak < 4_000_000
