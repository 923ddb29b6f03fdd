"""Files that are written once: whole, by one process, on any file system."""

import errno
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from robustdeq.errors import AlreadyStored, StoreError
from robustdeq.results.store.files import listed, read_text, refuse_existing, write, write_once

NO_LINKS = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES]


@pytest.fixture(params=["hard links", *NO_LINKS], ids=str)
def links(request, monkeypatch):
    """A file system, with hard links or without."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    if request.param != "hard links":
        monkeypatch.setattr(os, "link", refuse)
    return request.param


def test_a_file_is_written_once(tmp_path, links):
    write_once(tmp_path / "x.json", b"first")
    with pytest.raises(AlreadyStored, match=r"x\.json exists; results are append-only"):
        write_once(tmp_path / "x.json", b"second")
    assert (tmp_path / "x.json").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_of_many_writers_at_once_one_wins_and_no_other_touches_it(tmp_path, links):
    outcomes, path = {}, tmp_path / "x.json"
    start = threading.Barrier(8)

    def append(number):
        start.wait()
        try:
            write_once(path, b"%d" % number * 1000)
            outcomes[number] = True
        except AlreadyStored:
            outcomes[number] = False

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (number for number, won in outcomes.items() if won)
    assert path.read_bytes() == b"%d" % winner * 1000


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_without_hard_links_leaves_no_file_and_the_next_writer_takes_the_name(
    tmp_path, moment
):  # fmt: skip
    script = f"""
        import errno, os, signal
        from pathlib import Path
        from robustdeq.results.store.files import write_once
        def refuse(*_):
            raise OSError(errno.EPERM, "no links")
        os.link = refuse
        os.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        write_once(Path({str(tmp_path / "x.json")!r}), b"first")
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode < 0
    assert listed(tmp_path, ".json") == []
    refuse_existing(tmp_path / "x.json")
    write_once(tmp_path / "x.json", b"second")
    assert (tmp_path / "x.json").read_bytes() == b"second"


def test_a_name_that_was_claimed_a_moment_ago_is_waited_for(tmp_path, links):
    path = tmp_path / "x.json"
    path.touch()

    def finish():
        time.sleep(0.3)
        write(path, b"first")

    other = threading.Thread(target=finish)
    other.start()
    with pytest.raises(AlreadyStored):
        write_once(path, b"second")
    other.join()
    assert path.read_bytes() == b"first"


def test_files_that_a_system_puts_beside_others_are_none(tmp_path):
    for name in ("a.json", "._a.json", ".DS_Store", ".b.json.12.tmp"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in listed(tmp_path, ".json")] == ["a.json"]


def test_a_link_to_nothing_is_said_to_be_one(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted")
    (tmp_path / "x.json").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "runs/records/x.json", tmp_path / "x.json"):
        for act in (write, write_once):
            with pytest.raises(StoreError, match=r"is a link to .*, which is not there"):
                act(path, b"text")
    with pytest.raises(StoreError, match=r"is a link to .*gone, which is not there"):
        refuse_existing(tmp_path / "x.json")


def test_a_mark_in_front_of_a_text_is_no_part_of_it(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(tmp_path / "x.json") == "{}"
