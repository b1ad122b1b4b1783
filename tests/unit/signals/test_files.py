"""What cannot be read is named by row and column, and what can is read rightly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servers.model.errors import InvalidInput
from servers.signals.evaluation.files import Posts, load_outlets, normalised, read_posts, read_prices

HEAD = "symbol,date,open,high,low,close,adj_close,volume\n"
GOOD = "AAA,2014-01-02,10,11,9,10,5,100\n"
POST: dict[str, object] = {
    "created_at": "Wed Jan 01 00:00:48 +0000 2014",
    "text": "Up! $AAA",
    "symbols": ["AAA"],
}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "column symbol: there is no such column"),
        (HEAD, "there are no rows"),
        ("symbol,date,open\n", "column high: there is no such column"),
        (HEAD + GOOD + "AAA,2014-13-02,10,11,9,10,5,100\n", "row 2, column date"),
        (HEAD + "AAA,2014-01-02,10,11,9,ten,5,100\n", "row 1, column close: 'ten' is no number"),
        (HEAD + "AAA,2014-01-02,-1,11,9,10,5,100\n", "row 1, column open: -1 is out of range"),
        (HEAD + "AAA,2014-01-02,10,11,nan,10,5,100\n", "row 1, column low: nan is out of range"),
        (HEAD + "AAA,2014-01-02,10,8,9,10,5,100\n", "row 1, column high: 8.0 is below the low"),
        (HEAD + "AAA,2014-01-02,10,11,9,10,5\n", "row 1: it has not as many fields"),
        (HEAD + GOOD + GOOD, "row 2, column date: a second row of AAA"),
        (HEAD + ",2014-01-02,10,11,9,10,5,100\n", "row 1, column symbol: the symbol is empty"),
    ],
)
def test_prices_that_cannot_be_read_are_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_prices(path)
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "row 2: no JSON"),
        ("[]", "row 2: no JSON object"),
        (json.dumps(POST | {"text": 5}), "row 2, column text"),
        (json.dumps(POST | {"created_at": "yesterday"}), "row 2, column created_at: 'yesterday' is no time"),
        (json.dumps(POST | {"symbols": "AAA"}), "row 2, column symbols: it is no list"),
        (json.dumps(POST | {"followers": "many"}), "row 2, column followers"),
        (json.dumps({"created_at": "x", "text": "y"}), "row 2, column symbols: neither it nor `match`"),
    ],
)
def test_posts_that_cannot_be_read_are_refused(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "tweets.jsonl"
    path.write_text(json.dumps(POST) + "\n" + line + "\n")
    with pytest.raises(InvalidInput) as caught:
        read_posts(path, ("AAA",), load_outlets())
    assert why in caught.value.message


def test_files_that_are_absent_or_torn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        read_prices(tmp_path / "none.csv")
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(b"no gzip")
    with pytest.raises(InvalidInput):
        read_prices(torn)
    nobody = tmp_path / "tweets.jsonl"
    nobody.write_text(json.dumps(POST) + "\n")
    with pytest.raises(InvalidInput, match="no post names a symbol"):
        read_posts(nobody, ("ZZZ",), load_outlets())


def read(tmp_path: Path, *posts: dict[str, object]) -> Posts:
    path = tmp_path / "tweets.jsonl"
    path.write_text("\n".join(json.dumps(post) for post in posts) + "\n\n")
    return read_posts(path, ("AAA", "BBB"), load_outlets())


def test_posts_count_for_every_symbol_that_they_name(tmp_path: Path) -> None:
    posts = read(
        tmp_path,
        POST | {"created_at": "2014-01-03T10:00:00+00:00", "symbols": ["$bbb", "AAA", "X"], "user": "u"},
        POST | {"followers": 10},
        POST | {"symbols": []},
    )
    assert posts.symbol.tolist() == [0, 0, 1]
    assert posts.share.tolist() == pytest.approx([1.0, 1 / 3, 1 / 3])
    assert posts.time_nanos[0] == 1_388_534_448 * 10**9
    assert (posts.read_count, posts.unlinked_count) == (4, 1)


def test_outlets_are_told_from_people(tmp_path: Path) -> None:
    posts = read(
        tmp_path,
        POST | {"source": "seeking alpha"},
        POST | {"text": "RT @WSJ: $AAA up"},
        POST | {"text": "I like $AAA", "source": "web"},
    )
    assert posts.is_news.tolist() == [True, True, False]


def test_texts_that_say_the_same_are_one() -> None:
    assert normalised("RT @who: Buy  $AAA http://t.co/x") == normalised("buy $AAA") == "buy $aaa"
