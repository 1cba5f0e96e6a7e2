"""Downloads end in the published bytes or in one sentence; only a server on 127.0.0.1 is ever asked."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from bad_server import BODY, QUICK, WAITED, BadServer

from dmd_repro.data.download.http import check_redirect, fetch
from dmd_repro.data.download.part import Part
from dmd_repro.data.download.sources import check_url, make_place, plain_name
from dmd_repro.data.download.zip import take
from dmd_repro.errors import DataError


def get(server: BadServer, how: str, folder: Path, **options: Any) -> bytes:
    final = folder / "x.pkl"
    with Part(final) as part:
        fetch(make_place("url", server.url(how)), part, QUICK, **options)
        digest = part.sha256
        part.finish()
    body = final.read_bytes()
    assert hashlib.sha256(body).hexdigest() == digest
    assert [p.name for p in folder.iterdir()] == ["x.pkl"]
    return body


@pytest.mark.parametrize(
    ("how", "requests", "resumed"),
    [
        ("good", 1, 0), ("notag", 1, 0), ("tosame", 1, 0), ("cut:2", 3, 2), ("cutnotag:2", 3, 0), ("nothing:1", 2, 0),
        ("stall:1", 2, 1), ("drip:1", 2, 1), ("norange", 2, 1), ("wrongrange", 3, 1), ("chunked", 2, 0),
        ("503:2", 3, 0), ("garbage:1", 2, 0), ("cut", 4, 3), ("stall", 4, 3),
    ],
)  # fmt: skip
def test_what_can_be_overcome_is_overcome(server, tmp_path, how, requests, resumed):
    """Cut, stalled, refused for the moment, ranges ignored or wrong: the whole file, and resumed where that is safe."""
    assert get(server, how, tmp_path) == BODY
    asked = server.asked[how]
    assert asked == requests
    assert sum(r is not None for r in server.ranges) >= resumed
    if how == "503:2":
        assert WAITED == [7.0, 7.0]  # as long as the server asked


def test_the_waits_grow(server, tmp_path):
    """A server in trouble is not hammered."""
    with pytest.raises(DataError, match="3 times in a row"):
        get(server, "nothing", tmp_path)
    assert WAITED == [1.0, 2.0]


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("404", "the answer 404"), ("html", "a web page"), ("hiddenhtml", "a web page"), ("gzip", "the coding 'gzip'"),
        ("empty", "an empty answer"), ("tohost", "redirect to another host, localhost"),
        ("toftp", "the scheme 'ftp'"), ("toloop", "302"), ("long", "3 times in a row"), ("huge", "free space"),
        ("503", "answered 503, 3 times"), ("tofile", "not allowed"), ("nothing", "ended after 0 of"),
    ],
)  # fmt: skip
def test_what_cannot_is_one_sentence_and_no_file(server, tmp_path, how, word):
    """A web page, another host, a lie: nothing gets the file's name."""
    with pytest.raises(DataError, match=word) as caught:
        get(server, how, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.pkl").exists()


def test_a_file_that_changes_on_the_server_is_never_mixed(server, tmp_path):
    """Half of one version and half of another would pass as neither."""
    assert get(server, "change", tmp_path) == server.other
    assert get(server, "changesilent", tmp_path) == server.other + b"more"


def test_a_length_that_is_too_short_is_found_by_size_or_hash(server, tmp_path):
    """The protocol cannot tell; what is published can, and else the importer's gate."""
    assert get(server, "short", tmp_path) == BODY[:-5000]
    with pytest.raises(DataError, match="a file of 1,000,000 bytes, got one of 995,000"):
        get(server, "short", tmp_path, size=1_000_000)


def test_the_next_command_goes_on_where_the_last_was_killed(server, tmp_path):
    """Only what was made durable counts: a tail that a power cut may have left as holes is fetched again."""
    final = tmp_path / "x.pkl"
    with Part(final) as part:
        part.begin(server.url("good"), '"one"', len(BODY))
        part.add(BODY[:400_000])
        part.sync()
        part.add(b"\0" * 100_000)
    with Part(final) as part:
        assert part.size == 400_000
        assert part.sha256 == hashlib.sha256(BODY[:400_000]).hexdigest()
        fetch(make_place("url", server.url("good")), part, QUICK)
        part.finish()
    assert final.read_bytes() == BODY
    assert server.ranges == ["bytes=400000-"]


def test_a_whole_part_needs_no_byte_more(server, tmp_path):
    """Killed between the last byte and the name."""
    with Part(tmp_path / "x.pkl") as part:
        part.begin(server.url("good"), '"one"', len(BODY))
        part.add(BODY)
        part.sync()
    assert get(server, "good", tmp_path) == BODY


@pytest.mark.parametrize("side", [b"", b"{", b"[]", b'{"synced": 10000000}', b'{"url": 3}', b'{"synced": -5}'])
def test_a_damaged_note_means_a_fresh_start(server, tmp_path, side):
    """What is not known to be safe is not built on."""
    (tmp_path / "x.pkl.part").write_bytes(b"y" * 1000)
    (tmp_path / "x.pkl.part.json").write_bytes(side)
    assert get(server, "good", tmp_path) == BODY


def test_redirects_are_judged():
    """From a secure address never to a plain one; to a service's own hosts only, subdomains included."""
    place = make_place("archive", "https://www.dropbox.com/sh/a?dl=1")
    check_redirect(place, place.value, "https://uc123.dl.dropboxusercontent.com/x")
    for new, word in {
        "http://www.dropbox.com/x": "plain HTTP",
        "https://evildropboxusercontent.com/x": "another host",
        "https://dropbox.com.evil.org/x": "another host",
        "https://user:pw@www.dropbox.com/x": "no plain address",
        "javascript:alert(1)": "scheme",
    }.items():
        with pytest.raises(DataError, match=word):
            check_redirect(place, place.value, new)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://h/x", "gopher://h", "http://", "x.pkl", "http://h:99999/", "http://[::1"]
)
def test_other_urls_are_refused(url):
    """Only HTTP and HTTPS: a URL must not read local files."""
    with pytest.raises(DataError, match="http"):
        check_url(url)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\\b", "C:x", "", ".", "x\n", "/etc/passwd"])
def test_names_that_climb_out_are_refused(name):
    """From lists, archives and folders alike."""
    with pytest.raises(DataError, match="plain file name"):
        plain_name(name)


# ---- archives


def test_an_archive_gives_its_plain_files_only(tmp_path):
    """Whatever path a member claims, it lands under its plain name; links, bombs and damage are refused."""
    archive, out = tmp_path / "a.zip", tmp_path / "out"
    out.mkdir()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("../../evil/mosi_data.pkl", BODY)
        made.writestr("/abs/other.pkl", b"x")
    found = take(archive, ["mosi_data.pkl", "other.pkl", "absent.pkl"], out)
    assert sorted(p.name for p in out.iterdir()) == ["mosi_data.pkl", "other.pkl"]
    assert found["mosi_data.pkl"] == (out / "mosi_data.pkl", hashlib.sha256(BODY).hexdigest())
    assert not (tmp_path.parent / "evil").exists()

    def made_of(*members: tuple[Any, bytes]) -> None:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in members:
                made.writestr(name, content)

    link = zipfile.ZipInfo("x.pkl")
    link.external_attr = 0o120777 << 16
    cases = {"a link": ((link, b"/etc/passwd"),), "unfolds": (("x.pkl", b"\0" * 50_000_000),),
             "2 of them": (("a/x.pkl", b"1"), ("b/x.pkl", b"2"))}  # fmt: skip
    for word, members in cases.items():
        made_of(*members)
        with pytest.raises(DataError, match=word):
            take(archive, ["x.pkl"], tmp_path / "out")
    for end in (100, 2000, len(BODY)):
        made_of(("x.pkl", BODY))
        archive.write_bytes(archive.read_bytes()[:end])
        with pytest.raises(DataError, match="damaged"):
            take(archive, ["x.pkl"], out)
    made_of(("x.pkl", BODY))
    raw = bytearray(archive.read_bytes())
    raw[5000] ^= 1
    archive.write_bytes(raw)
    with pytest.raises(DataError, match="damaged"):
        take(archive, ["x.pkl"], out)
    assert not (out / "x.pkl").exists()
    assert not list(out.glob("*.unpacking"))
