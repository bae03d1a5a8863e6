"""A file is replaced in one step, or stays as it was."""

from __future__ import annotations

import pytest
from attnproto.files import replace_file


@pytest.mark.parametrize("synced", [False, True])
def test_a_file_has_the_new_content_and_nothing_lies_beside_it(tmp_path, synced):
    path = tmp_path / ("n" * 250)  # as long as names may be, about
    for content in (b"old", b"new and longer"):
        replace_file(path, content, synced=synced)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_replaced_stays_and_nothing_lies_beside_it(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        replace_file(tmp_path / "folder", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing" / "file", b"content")
