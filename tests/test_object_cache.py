"""The cache of compiled kernels: an entry is machine code, so whose it is matters."""

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from attnproto.compiler import object_cache

ONE, OTHER = object_cache.key("one"), object_cache.key("other")


@pytest.fixture(autouse=True)
def forgotten():
    """A process says once what is wrong with a folder: each test is one of its own here."""
    object_cache._private.cache_clear()
    object_cache._temporary.cache_clear()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNPROTO_CACHE_DIR", str(tmp_path / "cache"))
    object_cache.write(ONE, b"one's code")
    return tmp_path / "cache"


def quietly(call, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return call(*arguments)


def test_what_is_written_is_read_and_only_its_owner_may(place):
    assert quietly(object_cache.read, ONE) == b"one's code"
    assert quietly(object_cache.folder) == place
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / ONE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in place.iterdir()] == [ONE]


def test_an_entry_under_another_name_is_none(place):
    (place / OTHER).write_bytes((place / ONE).read_bytes())
    assert quietly(object_cache.read, OTHER) is None
    assert quietly(object_cache.read, ONE) == b"one's code"


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "digest"])
def test_a_damaged_entry_is_none(place, damage):
    entry = (place / ONE).read_bytes()
    damaged = {"cut": entry[:-1], "changed": entry[:-1] + b"!", "empty": b"", "digest": entry[:20]}
    (place / ONE).write_bytes(damaged[damage])
    assert quietly(object_cache.read, ONE) is None


@pytest.mark.parametrize("kind", ["fifo", "link", "device", "folder", "writable"])
def test_only_the_users_regular_files_are_entries(place, tmp_path, kind):
    entry = place / ONE
    entry.rename(tmp_path / "elsewhere")
    if kind == "fifo":
        os.mkfifo(entry)  # without a writer a reader would wait for ever
    elif kind == "link":
        entry.symlink_to(tmp_path / "elsewhere")
    elif kind == "device":
        entry.symlink_to("/dev/zero")  # would be read until memory ends
    elif kind == "folder":
        entry.mkdir()
    else:
        (tmp_path / "elsewhere").rename(entry)
        entry.chmod(0o622)
    assert quietly(object_cache.read, ONE) is None


def test_a_link_in_place_of_an_entry_is_replaced_and_not_followed(place, tmp_path):
    (tmp_path / "victim").write_bytes(b"kept")
    (place / OTHER).symlink_to(tmp_path / "victim")
    object_cache.write(OTHER, b"other's code")
    assert (tmp_path / "victim").read_bytes() == b"kept"
    assert object_cache.read(OTHER) == b"other's code"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777], ids=oct)
def test_a_folder_that_others_may_write_to_is_left_alone_and_that_is_said_once(place, mode):
    place.chmod(mode)
    with pytest.warns(RuntimeWarning, match="that others may write to") as said:
        assert object_cache.read(ONE) is None
    object_cache.write(OTHER, b"code")
    assert quietly(object_cache.read, OTHER) == b"code"
    private = quietly(object_cache.folder)
    assert len(said) == 1
    assert str(place) in str(said[0].message)
    assert private.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in place.iterdir()] == [ONE]
    place.chmod(0o700)
    assert quietly(object_cache.read, ONE) == b"one's code"


def test_the_folder_of_another_user_is_left_alone(place, monkeypatch):
    object_cache._temporary(os.getpid())
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.warns(RuntimeWarning, match=f"of user {owner}, needs one of your own"):
        assert object_cache.read(ONE) is None
    assert object_cache.folder() != place


@pytest.mark.parametrize("path", ["/dev/null", "/proc/none", "a\0b"])
def test_where_no_folder_can_be_a_process_has_its_own(monkeypatch, path):
    monkeypatch.setattr(object_cache, "_chosen", lambda: Path(path))
    with pytest.warns(RuntimeWarning, match="until this process ends"):
        object_cache.write(ONE, b"code")
    assert quietly(object_cache.read, ONE) == b"code"


def test_a_private_folder_ends_with_its_process_and_not_with_a_child(tmp_path):
    program = (
        "import os, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from attnproto.compiler import object_cache\n"
        "made = object_cache.folder()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(made, made.is_dir())\n"
    )
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    environment = {**os.environ, "ATTNPROTO_CACHE_DIR": str(tmp_path / "open")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    folder, stood = done.stdout.split()
    assert stood == "True"
    assert not Path(folder).exists()


def test_who_wants_an_entry_that_is_being_made_waits_for_it_and_reads_it(place):
    inside, done = threading.Event(), []

    def second():
        inside.wait(10)
        with object_cache.making(OTHER) as waited:
            done.append((waited, object_cache.read(OTHER)))

    thread = threading.Thread(target=second)
    with object_cache.making(OTHER) as waited:
        assert not waited
        thread.start()
        inside.set()
        thread.join(0.3)
        assert thread.is_alive()
        object_cache.write(OTHER, b"code")
    thread.join(10)
    assert done == [(True, b"code")]


def test_nobody_waits_for_ever_or_where_there_is_no_folder_for_locks(place, monkeypatch):
    monkeypatch.setattr(object_cache, "_WAIT_S", 0.05)
    with object_cache.making(OTHER), object_cache.making(OTHER) as waited:
        assert waited
    (place / f"lock-{ONE[:2]}").symlink_to(place / ONE)
    with object_cache.making(ONE) as waited:
        assert not waited
    assert object_cache.read(ONE) == b"one's code"


def test_the_lock_of_a_process_that_is_killed_is_free(place):
    code = (
        "import sys, time; from attnproto.compiler import object_cache\n"
        "with object_cache.making(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, OTHER], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with object_cache.making(OTHER) as waited:
        assert not waited


def test_a_child_that_is_forked_meanwhile_does_not_keep_what_is_made(place, monkeypatch):
    script = """if True:
        import os, sys
        from attnproto.compiler import object_cache
        with object_cache.making(sys.argv[1]):
            child = os.fork()
            if child == 0:
                sys.stdin.read()
                os._exit(0)
        print("made", flush=True)
        os.waitpid(child, 0)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", script, OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"made\n"
        monkeypatch.setattr(object_cache, "_WAIT_S", 1.0)
        with object_cache.making(OTHER) as waited:
            assert not waited
    finally:
        child.communicate(timeout=30)
