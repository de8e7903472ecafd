"""Downloads from a local server that breaks off, knows no ranges, serves something else or turns us away."""

import hashlib
import multiprocessing
import os
import socket
import stat

import pytest
from data.web import Web

from irrepnet.data.download import Checksum, RemoteFile, data_folder, fetch
from irrepnet.errors import ConfigError, DataError

CONTENT = b"".join(number.to_bytes(4, "little") for number in range(10_000))
GIT = Checksum("git", hashlib.sha1(b"blob 40000\0" + CONTENT).hexdigest())
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())
MD5 = Checksum("md5", hashlib.md5(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Only this machine may be reached here."""

    def refuse(self, address, *args):
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise AssertionError(f"a test tried to connect to {address}")
        return connect(self, address, *args)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def web():
    web = Web()
    yield web
    web.close()


def remote(web, *paths, size=40_000, checksum=SHA256):
    return RemoteFile("set/a.bin", tuple(web.address(path) for path in paths or ("/a.bin",)), size, checksum)


def get(file, folder):
    return fetch(file, folder, timeout=2.0, pause=0.001)


def left_in(folder):
    return sorted(path.name for path in (folder / "set").iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("checksum", [SHA256, MD5, GIT])
def test_is_downloaded_once_and_checked(web, tmp_path, checksum):
    page = web.put("/a.bin", CONTENT)
    path = get(remote(web, checksum=checksum), tmp_path)
    assert path == tmp_path / "set" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert get(remote(web, checksum=checksum), tmp_path) == path
    assert len(page.requests) == 1
    assert left_in(tmp_path) == ["a.bin"]


def test_goes_on_where_a_connection_broke(web, tmp_path):
    page = web.put("/a.bin", CONTENT, drop_after=[12_345, 20_000])
    assert get(remote(web), tmp_path).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in page.requests] == [None, "bytes=12345-", "bytes=32345-"]


def test_goes_on_in_another_process_that_was_started_later(web, tmp_path):
    web.put("/a.bin", CONTENT, drop_after=[100] * 5)
    with pytest.raises(DataError, match="broke off after 500 of 40000 bytes, 5 times in a row"):
        get(remote(web), tmp_path)
    assert left_in(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    page = web.put("/a.bin", CONTENT)
    assert get(remote(web), tmp_path).read_bytes() == CONTENT
    assert page.requests[0]["Range"] == "bytes=500-"


def test_starts_again_where_the_server_knows_no_ranges(web, tmp_path):
    page = web.put("/a.bin", CONTENT, drop_after=[12_345], ranges=False)
    assert get(remote(web), tmp_path).read_bytes() == CONTENT
    assert len(page.requests) == 2


def test_starts_again_where_the_file_has_changed(web, tmp_path):
    web.put("/a.bin", b"x" * len(CONTENT), drop_after=[1_000] * 5)
    with pytest.raises(DataError, match="5 times in a row"):
        get(remote(web, checksum=None), tmp_path)
    page = web.put("/a.bin", CONTENT)
    assert get(remote(web, checksum=None), tmp_path).read_bytes() == CONTENT
    assert page.requests[0]["If-Range"].startswith('"')


@pytest.mark.parametrize("etag", ["auto", None])
def test_two_versions_are_not_mixed_where_the_server_takes_no_notice_of_if_range(web, tmp_path, etag):
    web.put("/a.bin", b"x" * len(CONTENT), drop_after=[1_000] * 5)
    with pytest.raises(DataError, match="5 times in a row"):
        get(remote(web, checksum=None), tmp_path)
    page = web.put("/a.bin", CONTENT, if_range=False, etag=etag)
    assert get(remote(web, checksum=None), tmp_path).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in page.requests] == ["bytes=5000-", None]


def test_gives_up_on_a_server_that_never_goes_on_with_the_same_version(web, tmp_path, monkeypatch):
    monkeypatch.setattr("irrepnet.data.transfer._CHUNK", 1_000)  # each try brings more than this
    whole = web.put("/a.bin", CONTENT, drop_after=[5_000] * 100, etag='"1"', if_range=False)

    class Turning(list):
        def append(self, headers):
            whole.etag = '"2"' if "Range" in headers else '"1"'
            super().append(headers)

    whole.requests = Turning()
    with pytest.raises(DataError, match="goes on with another version of the file, 5 times in a row"):
        get(remote(web, checksum=None), tmp_path)
    assert len(whole.requests) == 10


def test_without_a_mark_a_checksum_tells(web, tmp_path):
    web.put("/a.bin", CONTENT, drop_after=[1_000] * 5)
    with pytest.raises(DataError, match="5 times in a row"):
        get(remote(web), tmp_path)
    page = web.put("/a.bin", CONTENT, etag=None, if_range=False)
    assert get(remote(web), tmp_path).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in page.requests] == ["bytes=5000-"]


def test_starts_again_without_a_mark_or_a_checksum_to_tell_whether_it_changed(web, tmp_path):
    page = web.put("/a.bin", CONTENT, drop_after=[9_000], etag=None)
    assert get(remote(web, checksum=None), tmp_path).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in page.requests] == [None, None]


def test_starts_again_where_the_part_is_longer_than_the_file(web, tmp_path):
    file = remote(web, size=None)
    web.put("/a.bin", CONTENT + b"more", drop_after=[len(CONTENT) + 2], statuses=[200, 404], etag=None)
    with pytest.raises(DataError, match="answered 404"):
        get(file, tmp_path)
    page = web.put("/a.bin", CONTENT, etag=None)
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in page.requests] == ["bytes=40002-", None]


def test_gives_up_on_an_address_that_breaks_off_always(web, tmp_path):
    web.put("/a.bin", CONTENT, drop_after=[7] * 5)
    with pytest.raises(DataError, match=r"broke off after 35 of 40000 bytes, 5 times in a row"):
        get(remote(web), tmp_path)


def test_a_busy_server_is_asked_again(web, tmp_path):
    web.put("/a.bin", CONTENT, statuses=[503, 429])
    assert get(remote(web), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"status": 404}, "answered 404 Not Found"),
        ({"status": 403}, "answered 403 Forbidden"),
        ({"status": 202}, "answered 202 Accepted instead of the file"),
        ({"content": CONTENT[:-1]}, "serves 39999 bytes; needed 40000"),
        ({"content": CONTENT + b"x", "announce": False}, "serves more than the 40000 bytes"),
        ({"content": b"x" * len(CONTENT)}, f"needed sha256 {SHA256.hex}; found sha256 [0-9a-f]{{64}}"),
        (
            {"status": 302, "location": "ftp://127.0.0.1/a.bin"},
            "redirects to ftp://127.0.0.1/a.bin, which is not",
        ),
    ],
)
def test_the_next_mirror_serves(web, tmp_path, page, reason):
    web.put("/bad.bin", **page)
    web.put("/a.bin", CONTENT)
    with pytest.raises(DataError, match=reason):
        get(remote(web, "/bad.bin"), tmp_path)
    assert get(remote(web, "/bad.bin", "/a.bin"), tmp_path).read_bytes() == CONTENT
    assert left_in(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("name", "page", "reason"),
    [
        ("a.xyz", {"content": b"1\n", "kind": "text/html; charset=utf-8"}, r"serves a web page \(text/html\) instead"),
        ("a.xyz", {"content": CONTENT, "announce": False}, "does not say how long the file is"),
        ("a.xyz", {"content": b"\n <!DOCTYPE html>..."}, "needed data; found a web page"),
        ("a.npz", {"content": b"service unavailable"}, r"needed a .npz file, .* b'PK.*'; found b'service unav', or no"),
        ("a.npz", {"content": b"PK\3\4" + bytes(100)}, "found b'PK.*, or no end"),
        ("a.tar.bz2", {"content": b"[]"}, "needed a .bz2 file, which begins with b'BZh'; found"),
    ],
)
def test_without_size_and_checksum_what_is_no_such_file_is_not_kept(web, tmp_path, name, page, reason):
    web.put("/bad", **page)
    file = RemoteFile(f"set/{name}", (web.address("/bad"),))
    with pytest.raises(DataError, match=reason):
        get(file, tmp_path)
    assert not (tmp_path / "set").exists() or left_in(tmp_path) == []
    (tmp_path / "set").mkdir(exist_ok=True)
    (tmp_path / "set" / name).write_bytes(page["content"])
    if "needed" in reason:
        with pytest.raises(DataError, match=rf"set/{name} is damaged or another file: .*; delete it to have it down"):
            get(file, tmp_path)


def test_the_next_address_serves_what_the_first_has_not(web, tmp_path):
    web.put("/bad", b"<html>", kind="text/html")
    web.put("/a.bin", CONTENT)
    assert get(remote(web, "/bad", "/a.bin", checksum=None, size=None), tmp_path).read_bytes() == CONTENT


def test_goes_on_where_a_connection_broke_that_did_not_say_how_long_it_would_be(web, tmp_path):
    page = web.put("/a.bin", CONTENT, drop_after=[12_345], announce=False)
    assert get(remote(web), tmp_path).read_bytes() == CONTENT
    assert page.requests[1]["Range"] == "bytes=12345-"


def test_what_is_nowhere_leaves_nothing(web, tmp_path):
    web.put("/html", b"<html>", kind="text/html")
    for path in ("/nowhere", "/html"):
        with pytest.raises(DataError, match="no address serves it"):
            get(remote(web, path, checksum=None, size=None), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_harms_nothing(web, tmp_path):
    web.put("/a.bin", CONTENT)
    (tmp_path / "set").mkdir()
    (tmp_path / "victim.txt").write_text("precious")
    (tmp_path / "set" / ".a.bin.lock").symlink_to(tmp_path / "victim.txt")
    with pytest.raises(DataError, match=r"to download it .*set needs to be writable; found .*symbolic links"):
        get(remote(web), tmp_path)
    assert (tmp_path / "victim.txt").read_text() == "precious"


def test_the_record_is_written_at_once_or_not_at_all(web, tmp_path, monkeypatch):
    web.put("/a.bin", CONTENT)

    def full(path, text, **more):
        path.open("w").write(text[:10])
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        with pytest.raises(DataError, match="No space left"):  # of the note about the part
            get(remote(web, checksum=None), tmp_path)
    path = get(remote(web, checksum=None), tmp_path)
    path.with_name("a.bin.sha256").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        get(remote(web, checksum=None), tmp_path)
    assert left_in(tmp_path) == ["a.bin"]
    get(remote(web, checksum=None), tmp_path)
    assert left_in(tmp_path) == ["a.bin", "a.bin.sha256"]


def test_a_redirection_is_followed(web, tmp_path):
    web.put("/moved.bin", status=302, location=web.address("/a.bin"))
    web.put("/a.bin", CONTENT)
    assert get(remote(web, "/moved.bin"), tmp_path).read_bytes() == CONTENT


def test_a_redirected_download_goes_on_where_it_broke(web, tmp_path):
    web.put("/moved.bin", status=302, location=web.address("/a.bin"))
    page = web.put("/a.bin", CONTENT, drop_after=[12_345])
    assert get(remote(web, "/moved.bin"), tmp_path).read_bytes() == CONTENT
    assert page.requests[1]["Range"] == "bytes=12345-"


def test_a_terminal_sees_the_progress_and_nothing_else_does(web, tmp_path, monkeypatch, capsys):
    web.put("/a.bin", CONTENT)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    get(remote(web), tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    get(remote(web), tmp_path / "shown")
    out, err = capsys.readouterr()
    assert out == "" and "a.bin" in err


def test_a_folder_in_the_place_of_the_file_is_named(web, tmp_path):
    (tmp_path / "set" / "a.bin").mkdir(parents=True)
    with pytest.raises(DataError, match="needed a file; found a folder or something else"):
        get(remote(web), tmp_path)


def test_offline_message_says_what_to_put_where(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/a.bin"
        with pytest.raises(DataError) as caught:
            get(RemoteFile("set/a.bin", (address,), 40_000, SHA256), tmp_path)
    text = str(caught.value)
    assert text.startswith(f"set/a.bin: needed this file; found none in {tmp_path / 'set'}, and no address serves it:")
    assert f"{address}: [Errno 111] Connection refused, 5 times in a row" in text
    assert f"put it there by hand as {tmp_path / 'set' / 'a.bin'} (40000 bytes, sha256 {SHA256.hex})" in text
    assert text.endswith("or name the folder that holds set/a.bin: --data-dir or $IRREPNET_DATA")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_known_is_not_tried_again(tmp_path, monkeypatch):
    asked = []

    def unknown(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataError, match=r"https://example.org/a: .*Name or service not known\nWithout a network"):
        get(RemoteFile("set/a.bin", ("https://example.org/a",)), tmp_path)
    assert asked == ["example.org"]


def test_a_silent_server_is_not_waited_for_for_ever(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        file = RemoteFile("set/a.bin", (f"http://127.0.0.1:{silent.getsockname()[1]}/a",), 3, SHA256)
        with pytest.raises(DataError, match="timed out"):
            fetch(file, tmp_path, timeout=0.05, pause=0.001)


def test_a_damaged_file_is_named_and_kept(web, tmp_path):
    path = tmp_path / "set" / "a.bin"
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-4] + b"\0\0\0\0")
    with pytest.raises(DataError, match=r"a.bin is damaged or another file: needed sha256 .* found sha256 .*; delete"):
        get(remote(web), tmp_path)
    assert path.exists()


def test_without_a_published_checksum_the_first_one_counts(web, tmp_path):
    web.put("/a.bin", CONTENT)
    path = get(remote(web, checksum=None, size=None), tmp_path)
    record = path.with_name("a.bin.sha256")
    assert record.read_text() == f"{SHA256.hex}  a.bin\n"
    get(remote(web, checksum=None), tmp_path)
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(DataError, match=f"has changed since it was first seen: needed sha256 {SHA256.hex}"):
        get(remote(web, checksum=None), tmp_path)


def in_process(file, folder, queue):
    queue.put(hashlib.sha256(get(file, folder).read_bytes()).hexdigest())


def test_two_processes_do_not_mix_their_bytes(web, tmp_path):
    page = web.put("/a.bin", CONTENT, drop_after=[10_000, 10_000, 10_000])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=in_process, args=(remote(web), tmp_path, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert {queue.get(timeout=20) for _ in workers} == {SHA256.hex}
    for worker in workers:
        worker.join(20)
    assert 4 <= len(page.requests) <= 6  # each may ask once before it finds that another is at it
    assert left_in(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(web, tmp_path):
    web.put("/a.bin", CONTENT)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DataError, match=r"to download it .*set needs to be writable; found .*Permission denied"):
        get(remote(web), tmp_path)


def test_a_file_in_the_place_of_the_folder_is_named(web, tmp_path):
    web.put("/a.bin", CONTENT)
    (tmp_path / "set").write_text("")
    with pytest.raises(DataError, match=r"to download it .*set needs to be writable; found "):
        get(remote(web), tmp_path)


def test_only_http_below_the_data_folder():
    with pytest.raises(ConfigError, match="needed addresses of http or https; found 'file:///etc/passwd'"):
        RemoteFile("set/a", ("file:///etc/passwd",))
    with pytest.raises(ConfigError, match=r"\.\./a: needed a path below the data folder"):
        RemoteFile("../a", ("https://example.org/a",))
    with pytest.raises(ConfigError, match="set/a: needed an address; found none"):
        RemoteFile("set/a", ())


def test_checksums_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"needs one of sha256, md5, git; found 'sha265'. Did you mean 'sha256'\?"):
        Checksum("sha265", "0" * 64)
    with pytest.raises(ConfigError, match="a md5 needs 32 digits 0-9a-f; found 'ABC'"):
        Checksum("md5", "ABC")


def test_the_folder_is_said_by_the_caller_or_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("IRREPNET_DATA", raising=False)
    assert data_folder() == tmp_path / "cache" / "irrepnet"
    monkeypatch.setenv("IRREPNET_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"
    assert data_folder(tmp_path) == tmp_path
