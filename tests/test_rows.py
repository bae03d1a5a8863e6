"""Rows leave for other tools."""

from __future__ import annotations

import csv
import json
import sys

import pytest
from attnproto.cli import app, guarded
from attnproto.commands.rows import RowsError, flat, write_rows
from support.rows import flash_tile_row

pytest.importorskip("duckdb")


@pytest.fixture
def folder(tmp_path):
    rows = [
        flash_tile_row(0, time_us=1.5),
        flash_tile_row(1, time_us=4.0, samples_us=[4.0, 5.0]),
        flash_tile_row(0, time_us=2.5),
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "points.jsonl").write_text(text + '{"key": "torn')
    return tmp_path


def test_nested_values_have_names_of_their_own():
    assert flat({"a": 1, "b": {"c": {"d": 2}, "e": [3]}}) == {"a": 1, "b_c_d": 2, "b_e": [3]}


def test_a_csv_file_has_the_latest_row_of_each_point(folder, tmp_path):
    assert write_rows(folder, csv=tmp_path / "rows.csv") == ""
    with open(tmp_path / "rows.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    read = {row["key"]: row for row in lines}
    assert len(lines) == 2
    assert {key: (row["point_Nkv"], row["result_time_us"]) for key, row in read.items()} == {
        "key000000": ("64", "2.5"),
        "key000001": ("128", "4.0"),
    }
    assert read["key000000"]["result_samples_us"] == ""
    assert read["key000001"]["result_samples_us"] == "[4.0, 5.0]"


def test_a_query_is_answered_and_a_parquet_file_is_read_back(folder, tmp_path, capsys):
    query = "select max(point_Nkv) as widest, sum(result_time_us) as total from rows"
    assert guarded(app, ["rows", str(folder), "--sql", query]) == 0
    assert capsys.readouterr().out == "widest,total\n128,6.5\n"
    file = tmp_path / "rows.parquet"
    write_rows(folder, parquet=file, sql="select point_Nkv from rows order by 1")
    assert file.read_bytes()[:4] == b"PAR1"
    again = f"select sum(point_Nkv) as s from read_parquet('{file}')"
    assert write_rows(folder, sql=again) == "s\n192\n"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select nothing from rows", "DuckDB refuses .*nothing"),
        ("install spatial", "begin it with select"),
        ("select 1; drop table rows", "begin it with select"),
        ("select * from st_read('x')", "DuckDB refuses .*st_read"),
    ],
)
def test_a_query_that_fails_or_wants_the_network_is_a_sentence(folder, sql, said):
    with pytest.raises(RowsError, match=said):
        write_rows(folder, sql=sql)


def test_without_duckdb_the_cure_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(RowsError, match=r"pip install 'attnproto\[query\]'"):
        write_rows(folder)
