import json
import math
import os

import numpy as np
import pytest
from attnproto.results.store import (
    Store,
    StoreError,
    content_key,
    plain,
    read_records,
    write_atomically,
)


def test_what_is_appended_is_read_back_in_order(tmp_path):
    with Store(tmp_path / "deep" / "points.jsonl") as store:
        store.append({"n": 1, "text": 'ä "quoted"\nline', "array": np.float32(0.5)})
        store.append({"n": 2, "bad": math.inf})
    records = list(read_records(tmp_path / "deep" / "points.jsonl"))
    assert records[0] == {"n": 1, "text": 'ä "quoted"\nline', "array": 0.5}
    assert float(records[1]["bad"]) == math.inf


def test_each_record_is_one_line_that_is_on_disk_at_once(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Store(tmp_path / "points.jsonl") as store:
        store.append({"text": "a\nb"})
        assert (tmp_path / "points.jsonl").read_text() == '{"text": "a\\nb"}\n'
    assert len(synced) == 1


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path):
    path = tmp_path / "points.jsonl"
    path.write_text('{"n": 1}\n{"n": 2, "te')
    assert [record["n"] for record in read_records(path)] == [1]
    with Store(path) as store:
        store.append({"n": 3})
    assert path.read_text() == '{"n": 1}\n{"n": 3}\n'


@pytest.mark.parametrize("length", [10, 65536, 200_000])
def test_a_torn_line_of_any_length_is_cut_off(tmp_path, length):
    path = tmp_path / "points.jsonl"
    path.write_text('{"n": 1}\n' + "x" * length)
    Store(path).close()
    assert path.read_text() == '{"n": 1}\n'


def test_a_file_that_is_only_a_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "points.jsonl"
    path.write_text('{"n"')
    Store(path).close()
    assert path.read_bytes() == b""


def test_a_broken_line_before_the_last_is_an_error_with_its_number(tmp_path):
    path = tmp_path / "points.jsonl"
    path.write_text('{"n": 1}\nbroken\n{"n": 2}\n')
    with pytest.raises(StoreError, match="line 2"):
        list(read_records(path))


def test_a_line_that_is_no_object_is_an_error(tmp_path):
    (tmp_path / "points.jsonl").write_text("[1]\n")
    with pytest.raises(StoreError, match="line 1"):
        list(read_records(tmp_path / "points.jsonl"))


def test_a_missing_file_has_no_records(tmp_path):
    assert list(read_records(tmp_path / "none.jsonl")) == []


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        Store(tmp_path / "file" / "points.jsonl")
    with pytest.raises(StoreError, match="--out"):
        write_atomically(tmp_path / "file" / "report.html", "text")


def test_a_file_is_replaced_in_one_step(tmp_path):
    write_atomically(tmp_path / "a.txt", "one")
    write_atomically(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_content_key_ignores_the_order_of_keys_and_nothing_else():
    assert content_key({"a": 1, "b": (1, 2)}) == content_key({"b": [1, 2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": "1"})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_plain_values_can_all_be_written_as_json():
    value = plain({"a": np.int64(3), "b": (np.bool_(True), math.nan), 4: None})
    assert json.loads(json.dumps(value, allow_nan=False)) == {
        "a": 3,
        "b": [True, "nan"],
        "4": None,
    }
