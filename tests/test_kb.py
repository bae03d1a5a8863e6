import json
import shutil
import sqlite3
import stat
import sys

import pytest
from attnproto.errors import AttnprotoError
from attnproto.results import kb
from attnproto.results.findings import SKILLS, write_findings
from support.findings import sample_finding

NASTY = 'It\'s "quoted"; DROP TABLE findings; --\nnew line\ttab, Ünïcode ✓ 漢字 \\ %s'


def several():
    return [
        sample_finding(),
        sample_finding(title="Nasty", content=NASTY, tags=["it's", 'q"uote', "ünï"]),
        sample_finding(title="Third", domain="gpu-perf"),
    ]


def rows_of(database, query="SELECT * FROM findings ORDER BY id"):
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def test_findings_come_back_from_a_new_database_as_they_went_in(tmp_path):
    database = tmp_path / "kb.db"
    assert kb.import_into_database(several(), database) == kb.Imported(3, 0)
    assert kb.export_from_database(database) == several()


def test_the_columns_hold_what_the_knowledge_base_expects(tmp_path):
    kb.import_into_database(several(), tmp_path / "kb.db")
    row = rows_of(tmp_path / "kb.db")[1]
    assert row["claim"].startswith("Nasty. " + NASTY)
    assert row["topic"] == "flash/t"
    assert row["confidence"] == "verified"
    assert row["source_type"] == "empirical_test"
    assert row["tags"].split(",")[:3] == ["it's", 'q"uote', "ünï"]
    skill = rows_of(tmp_path / "kb.db", f"SELECT name FROM skills WHERE id = {row['skill_id']}")
    assert skill[0]["name"] == "msl-kernels"


def test_importing_twice_adds_nothing(tmp_path):
    kb.import_into_database(several(), tmp_path / "kb.db")
    assert kb.import_into_database(several(), tmp_path / "kb.db") == kb.Imported(0, 3)
    assert len(rows_of(tmp_path / "kb.db")) == 3


def test_full_text_search_finds_a_claim_and_an_id(tmp_path):
    kb.import_into_database(several(), tmp_path / "kb.db")
    for words in ("quoted", several()[1].id, "漢字"):
        query = f"SELECT rowid FROM findings_fts WHERE findings_fts MATCH '\"{words}\"'"
        assert [row["rowid"] for row in rows_of(tmp_path / "kb.db", query)] == [2]


def test_a_new_database_has_the_eleven_skills(tmp_path):
    kb.import_into_database([], tmp_path / "kb.db")
    assert [
        row["name"] for row in rows_of(tmp_path / "kb.db", "SELECT name FROM skills ORDER BY id")
    ] == list(SKILLS)


def test_a_database_that_lacks_a_skill_takes_nothing(tmp_path):
    database = tmp_path / "kb.db"
    kb.import_into_database([], database)
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM skills WHERE name = 'gpu-perf'")
    connection.commit()
    connection.close()
    with pytest.raises(kb.KbError, match="gpu-perf"):
        kb.import_into_database(several(), database)
    assert rows_of(database) == []


def test_a_short_write_is_an_error_and_leaves_nothing(tmp_path):
    database = tmp_path / "kb.db"
    kb.import_into_database([], database)
    connection = sqlite3.connect(database)
    # A trigger that swallows one row without an error, as a filter in the base might.
    connection.execute(
        "CREATE TRIGGER swallow BEFORE INSERT ON findings WHEN NEW.claim LIKE 'Third%' "
        "BEGIN SELECT RAISE(IGNORE); END"
    )
    connection.commit()
    connection.close()
    with pytest.raises(kb.KbError, match="2 rows written for 3"):
        kb.import_into_database(several(), database)
    assert rows_of(database) == []


def test_an_informal_source_is_never_verified(tmp_path):
    kb.import_into_database([sample_finding(tier="modelled")], tmp_path / "kb.db")
    assert rows_of(tmp_path / "kb.db")[0]["confidence"] == "low"
    connection = sqlite3.connect(tmp_path / "kb.db")
    with pytest.raises(sqlite3.IntegrityError, match="informal"):
        connection.execute("UPDATE findings SET confidence = 'verified'")
    connection.close()


def test_a_later_databases_generation_column_is_filled_only_for_m4(tmp_path):
    database = tmp_path / "kb.db"
    kb.import_into_database([], database)
    connection = sqlite3.connect(database)
    connection.execute("ALTER TABLE findings ADD COLUMN gpu_generation TEXT")
    connection.commit()
    connection.close()
    from attnproto.results.findings import Device

    m4 = sample_finding(title="On M4", device=Device(kind="metal", name="Apple M4"))
    kb.import_into_database([sample_finding(), m4], database)
    assert [row["gpu_generation"] for row in rows_of(database)] == [None, "m4"]


def test_a_file_that_is_no_database_is_left_as_it_was(tmp_path):
    (tmp_path / "kb.db").write_text("not a database, but somebody's notes" * 10)
    with pytest.raises(kb.KbError, match="refuses"):
        kb.import_into_database(several(), tmp_path / "kb.db")
    assert "somebody's notes" in (tmp_path / "kb.db").read_text()


def test_a_failed_import_leaves_no_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr(kb, "_insert", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kb.import_into_database(several(), tmp_path / "kb.db")
    assert not (tmp_path / "kb.db").exists()


@pytest.mark.parametrize("bad", ["torn", "domain", "confidence", "missing", "empty"])
def test_a_bad_findings_file_is_refused_as_a_whole(tmp_path, bad):
    path = tmp_path / "f.jsonl"
    write_findings(path, several())
    lines = path.read_text().splitlines()
    record = json.loads(lines[1])
    if bad == "torn":
        path.write_text(path.read_text()[:-20])
    elif bad == "empty":
        path.write_text("")
    elif bad == "missing":
        path.unlink()
    else:
        record[bad] = {"domain": "cubecl-ecosystem", "confidence": "certain"}[bad]
        path.write_text("\n".join([lines[0], json.dumps(record), lines[2]]) + "\n")
    with pytest.raises(AttnprotoError, match=r"cut off|line 2|no file"):
        kb.load(path)


def test_a_finding_listed_twice_in_a_file_is_one(tmp_path):
    write_findings(tmp_path / "f.jsonl", [sample_finding(), sample_finding()])
    assert kb.load(tmp_path / "f.jsonl") == [sample_finding()]


def fake_command(folder, body):
    """Write a kb command in Python over a database, with the real one's habits."""
    script = folder / "kb"
    script.write_text(f"#!{sys.executable}\n" + body)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{script}"


KB_COMMAND = """
import sqlite3, sys
connection = sqlite3.connect({database!r})
word, *rest = sys.argv[1:]
if word == "stats":
    for row in connection.execute("SELECT name FROM skills"):
        print(row[0], 0)
    print("Total findings:", connection.execute("SELECT count(*) FROM findings").fetchone()[0])
elif word == "search":
    for row in connection.execute(
        "SELECT rowid FROM findings_fts WHERE findings_fts MATCH ?", (rest[0],)
    ):
        print(row[0])
elif word == "add":
    connection.execute(
        "INSERT INTO findings (skill_id, topic, claim, evidence, source_url, source_title, "
        "source_type, confidence, tags) SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM skills "
        "WHERE name = ?", (*rest[1:], rest[0]))
    connection.commit()
    print("Finding added to", rest[0])
"""


def test_findings_of_others_in_the_base_are_left_alone(tmp_path):
    kb.import_into_database([], tmp_path / "kb.db")
    connection = sqlite3.connect(tmp_path / "kb.db")
    connection.executemany(
        "INSERT INTO findings (skill_id, topic, claim, evidence) VALUES (4, 't', 'c', ?)",
        [("Measured.\nrecord: broken in Berlin",), (None,)],
    )
    connection.commit()
    connection.close()
    assert kb.import_into_database(several(), tmp_path / "kb.db") == kb.Imported(3, 0)
    assert kb.export_from_database(tmp_path / "kb.db") == several()


def test_the_kb_command_takes_findings_with_their_quotes_and_only_once(tmp_path):
    database = tmp_path / "kb.db"
    kb.import_into_database([], database)
    command = fake_command(tmp_path, KB_COMMAND.format(database=str(database)))
    assert kb.import_by_command(several(), command) == kb.Imported(3, 0)
    assert kb.import_by_command(several(), command) == kb.Imported(0, 3)
    assert kb.export_from_database(database) == several()
    assert kb.import_into_database(several(), database) == kb.Imported(0, 3)


def test_the_kb_command_takes_a_superseded_finding_beside_the_later_one(tmp_path):
    database = tmp_path / "kb.db"
    old = sample_finding(title="Old claim")
    new = sample_finding(title="New claim").model_copy(update={"supersedes": old.id})
    # The later one's record names the earlier, which is not in the base yet.
    kb.import_into_database([new], database)
    command = fake_command(tmp_path, KB_COMMAND.format(database=str(database)))
    assert kb.import_by_command([old, new], command) == kb.Imported(1, 1)
    assert {f.id for f in kb.export_from_database(database)} >= {new.id}
    assert [row["claim"][:3] for row in rows_of(database)] == ["New", "Old"]


def test_a_base_that_lacks_a_skill_takes_nothing_through_the_kb_command(tmp_path):
    database = tmp_path / "kb.db"
    kb.import_into_database([], database)
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM skills WHERE name = 'gpu-perf'")
    connection.commit()
    connection.close()
    command = fake_command(tmp_path, KB_COMMAND.format(database=str(database)))
    # The third of them is the one of that domain.
    with pytest.raises(kb.KbError, match="'gpu-perf'"):
        kb.import_by_command(several(), command)
    assert rows_of(database) == []


def test_a_kb_command_that_writes_nothing_but_says_so_is_caught(tmp_path):
    database = tmp_path / "kb.db"
    kb.import_into_database([], database)
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM skills")
    connection.commit()
    connection.close()
    command = fake_command(tmp_path, KB_COMMAND.format(database=str(database)))
    with pytest.raises(kb.KbError, match="0 of 3 findings written"):
        kb.import_by_command(several(), command)


@pytest.mark.parametrize("body", ["import sys; sys.exit(3)", "pass"])
def test_a_kb_command_that_fails_is_reported(tmp_path, body):
    with pytest.raises(kb.KbError, match="kb"):
        kb.import_by_command(several(), fake_command(tmp_path, body))


def test_a_missing_kb_command_gets_a_sentence(tmp_path):
    assert shutil.which("no-such-kb") is None
    with pytest.raises(kb.KbError, match="no-such-kb"):
        kb.import_by_command(several(), "no-such-kb")
