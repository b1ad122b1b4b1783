"""Files of posts: what a row may hold, and what is made of half a character."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from servers.model.errors import InvalidInput
from servers.news.adapters.files import load_posts
from servers.news.domain.post import PostKind, SourcePost

ROW = {"id": "1", "time_ms": 1, "author": "ann", "text": "Acme rises"}


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "posts.jsonl"
    path.write_text(json.dumps(ROW | fields) + "\n")
    return path


def test_halves_of_a_character_are_joined_and_a_lone_one_is_replaced(tmp_path: Path) -> None:
    (lone,) = load_posts(written(tmp_path, text="up \ud83d", author="a\udc00"))
    assert (lone.text, lone.author) == ("up \N{REPLACEMENT CHARACTER}", "a\N{REPLACEMENT CHARACTER}")
    halves = SourcePost("1", "feed", PostKind.NEWS, "ann", 1, "up " + chr(0xD83D) + chr(0xDE80))
    assert halves.text == "up " + chr(0x1F680)
    assert halves.text.encode()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"followers": 2**63}, "followers: 9223372036854775808 is out of range"),
        ({"followers": -1}, "followers: -1 is out of range"),
        ({"followers": "many"}, "followers: 'many' is not a whole number"),
        ({"time_ms": 2**63}, "time_ms: 9223372036854775808 is out of range"),
        ({"time_ms": -5}, "time_ms: -5 is out of range"),
        ({"text": "  "}, "text: is empty"),
        ({"kind": "rumour"}, "kind: 'rumour' is neither news nor social"),
    ],
)
def test_a_row_that_no_message_could_carry_is_refused_by_its_column(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        load_posts(written(tmp_path, **fields))


def test_a_packed_file_that_is_broken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl.gz"
    whole = gzip.compress(((json.dumps(ROW) + "\n") * 1_000).encode())
    for broken in (whole[:-20], whole[:12] + b"\xff" * 12 + whole[24:]):
        path.write_bytes(broken)
        with pytest.raises(InvalidInput, match=r"posts\.jsonl\.gz"):
            load_posts(path)
