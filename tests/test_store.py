import errno
import json
import math
import os
from datetime import datetime, timezone

import numpy as np
import pytest
from attnproto.results.row import DeviceRecord, Task, make_row
from attnproto.results.store import (
    POINTS,
    Store,
    StoreError,
    content_key,
    latest_rows,
    plain,
    read_records,
    read_rows,
    write_atomically,
)
from support.rows import flash_tile_row


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


def test_a_file_has_one_writer_and_the_next_one_when_it_is_closed(tmp_path):
    path = tmp_path / "points.jsonl"
    with Store(path) as store:
        store.append({"n": 1})
        with pytest.raises(StoreError, match=r"another run that writes to .* pass another --out"):
            Store(path)
        store.append({"n": 2})
    Store(path).close()
    assert [record["n"] for record in read_records(path)] == [1, 2]


def test_a_file_that_its_writer_removed_is_not_written_to(tmp_path, monkeypatch):
    path = tmp_path / "points.jsonl"
    monkeypatch.setattr("fcntl.flock", lambda *_: path.unlink())
    with pytest.raises(StoreError, match="another run"):
        Store(path)


def test_a_file_system_without_locks_gets_a_sentence(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StoreError, match="cannot be locked \\(No locks available\\)"):
        Store(tmp_path / "points.jsonl")


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


def written(tmp_path, change):
    record = flash_tile_row(0)
    change(record)
    path = tmp_path / POINTS
    path.write_text(json.dumps(flash_tile_row(1)) + "\n" + json.dumps(record) + "\n")
    return path


def test_rows_are_read_as_they_were_written(tmp_path):
    path = written(tmp_path, lambda record: None)
    assert list(read_rows(path)) == [flash_tile_row(1), flash_tile_row(0)]
    assert latest_rows(tmp_path) == [flash_tile_row(1), flash_tile_row(0)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("result"), "result: Field required"),
        (lambda r: r.update(status="fine"), "status: Input should be 'ok'"),
        (lambda r: r["device"].pop("tier"), "device.tier: Field required"),
        (lambda r: r.update(result=[1]), "result: Input should be a valid dictionary"),
        (lambda r: r.update(elapsed_s=-1), "elapsed_s"),
        (lambda r: r.update(more=1), "more: Extra inputs"),
    ],
    ids=["missing", "status", "device", "result", "elapsed", "unknown"],
)
def test_a_line_that_is_no_row_is_named_with_what_is_wrong(tmp_path, change, said):
    written(tmp_path, change)
    with pytest.raises(StoreError, match=r"^\[store\] found line 2 of .* is no row") as caught:
        latest_rows(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "result",
    [{"of": {1, 2}}, {"array": np.zeros(2)}, [1], None],
    ids=["set", "array", "list", "none"],
)
def test_a_result_that_no_row_can_hold_becomes_an_error_with_its_reason(tmp_path, result):
    row = make_row(
        Task("mine:IT", {"n": 1}, 60), "quick", DeviceRecord("cpu", "host", "emulated"), {},
        ("ok", ("", result)), datetime(2026, 1, 1, tzinfo=timezone.utc), 0.1,
    )  # fmt: skip
    assert (row["status"], row["result"]) == ("error", {})
    assert row["reason"].startswith("[row] found a result that no row can hold (result")
    with Store(tmp_path / POINTS) as store:
        store.append(row)
    assert latest_rows(tmp_path) == [row]
