"""Tweets and daily prices in the StockNet formats; what cannot be read is named by row and column."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from servers.model.errors import InvalidInput
from servers.signals.domain.panel import Bools, Doubles, Int64s

PRICE_COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume")
TWITTER_TIME = "%a %b %d %H:%M:%S %z %Y"
_LINK = re.compile(r"https?://\S+|\bhttps?:\S*|…")
_RETWEET = re.compile(r"^rt @\w+:?\s*", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_HANDLE = re.compile(r"@(\w+)")


@dataclass(frozen=True, slots=True)
class Prices:
    """Daily prices on a grid of sessions by symbols; NaN where a symbol has no row.

    Prices are adjusted for splits and dividends by adj_close / close where the file has it.
    """

    symbols: tuple[str, ...]
    dates: tuple[date, ...]
    open: Doubles
    high: Doubles
    low: Doubles
    close: Doubles
    volume: Doubles

    def until(self, session: int) -> Prices:
        """Return the same with everything after a session erased."""
        fields = {}
        for name in ("open", "high", "low", "close", "volume"):
            values = getattr(self, name).copy()
            values[session + 1 :] = np.nan
            fields[name] = values
        return Prices(self.symbols, self.dates, **fields)


@dataclass(frozen=True, slots=True)
class Posts:
    """Posts, one row for each symbol that a post names, in order of time.

    Attributes:
        time_nanos: when it was written, UTC epoch nanoseconds.
        symbol: place in the symbols of the prices.
        author: a number for each author.
        text: place in `texts`.
        is_news: whether it is by, or quotes, an outlet of outlets.toml.
        reach: logarithm of one and the author's followers.
        share: one by the number of symbols that the post names.
        texts: distinct texts, lower case, without links and the head of a retweet.
        read_count, unlinked_count: posts in the file, and those that name none of the symbols.
    """

    time_nanos: Int64s
    symbol: Int64s
    author: Int64s
    text: Int64s
    is_news: Bools
    reach: Doubles
    share: Doubles
    texts: tuple[str, ...]
    read_count: int
    unlinked_count: int

    def until(self, time_nanos: int) -> Posts:
        """Return the same with every post after a moment erased."""
        kept = self.time_nanos <= time_nanos
        columns = {
            name: getattr(self, name)[kept]
            for name in ("time_nanos", "symbol", "author", "text", "is_news", "reach", "share")
        }
        return Posts(
            texts=self.texts, read_count=self.read_count, unlinked_count=self.unlinked_count, **columns
        )


@dataclass(frozen=True, slots=True)
class Outlets:
    """Who counts as news: names of publishing programs, and handles that are quoted."""

    clients: frozenset[str]
    handles: frozenset[str]

    def speak(self, client: str, text: str) -> bool:
        """Return whether a post is by, or quotes, an outlet."""
        return client.lower() in self.clients or any(
            handle.lower() in self.handles for handle in _HANDLE.findall(text)
        )


def load_outlets() -> Outlets:
    """Return the outlets of outlets.toml."""
    with Path(__file__).with_name("outlets.toml").open("rb") as file:
        table = tomllib.load(file)
    return Outlets(
        frozenset(name.lower() for name in table["clients"]),
        frozenset(name.lower() for name in table["handles"]),
    )


def read_prices(path: Path) -> Prices:
    """Read daily prices: symbol, date, open, high, low, close[, adj_close], volume.

    Raises InvalidInput FILE_MALFORMED with row (the first after the heading is 1) and column.
    """
    rows: dict[tuple[date, str], tuple[float, ...]] = {}
    number = 0
    with _opened(path) as file:
        try:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in PRICE_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise _wrong(path, "there is no such column in the heading", column=missing[0])
            for number, record in enumerate(reader, start=1):
                key, values = _price_row(path, number, record)
                if key in rows:
                    raise _wrong(path, f"a second row of {key[1]} on {key[0]}", row=number, column="date")
                rows[key] = values
        except (csv.Error, UnicodeDecodeError, EOFError, OSError, lzma.LZMAError) as error:
            raise _wrong(path, str(error), row=number + 1) from error
    if not rows:
        raise _wrong(path, "there are no rows")
    dates = tuple(sorted({day for day, _ in rows}))
    symbols = tuple(sorted({symbol for _, symbol in rows}))
    day_at = {day: at for at, day in enumerate(dates)}
    symbol_at = {symbol: at for at, symbol in enumerate(symbols)}
    grid = np.full((5, len(dates), len(symbols)), np.nan)
    for (day, symbol), values in rows.items():
        grid[:, day_at[day], symbol_at[symbol]] = values
    return Prices(symbols, dates, *grid)


def _price_row(
    path: Path, number: int, record: dict[str | Any, str | Any]
) -> tuple[tuple[date, str], tuple[float, ...]]:
    if None in record or None in record.values():
        raise _wrong(path, "it has not as many fields as the heading", row=number)

    def figure(name: str) -> float:
        try:
            value = float(record[name])
        except ValueError:
            raise _wrong(path, f"{record[name]!r} is no number", row=number, column=name) from None
        is_volume = name == "volume"
        if not np.isfinite(value) or value < 0 or (value == 0 and not is_volume):
            raise _wrong(path, f"{record[name]} is out of range", row=number, column=name)
        return value

    try:
        day = date.fromisoformat(record["date"])
    except ValueError:
        raise _wrong(path, f"{record['date']!r} is no date", row=number, column="date") from None
    if not record["symbol"].strip():
        raise _wrong(path, "the symbol is empty", row=number, column="symbol")
    first, high, low, close, volume = (figure(name) for name in ("open", "high", "low", "close", "volume"))
    if high < low * (1 - 1e-6):
        raise _wrong(path, f"{high} is below the low, {low}", row=number, column="high")
    factor = figure("adj_close") / close if "adj_close" in record else 1.0
    prices = (first * factor, high * factor, low * factor, close * factor, volume)
    return (day, record["symbol"].strip().upper()), prices


def read_posts(
    path: Path,
    symbols: tuple[str, ...],
    outlets: Outlets,
    on_line: Callable[[int], None] = lambda count: None,
) -> Posts:
    """Read tweets, JSON lines: created_at, text, and symbols or match; more facts are used where they are.

    A post counts for a symbol that it names with a cashtag (`symbols`), or, in files without, by `match`.
    Raises InvalidInput FILE_MALFORMED with row (the first line is 1) and column.
    """
    at = {symbol: place for place, symbol in enumerate(symbols)}
    texts: dict[str, int] = {}
    authors: dict[str, int] = {}
    rows: list[tuple[int, int, int, int, bool, float, float]] = []
    unlinked = number = 0
    with _opened(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = _post(path, number, line)
                named = {
                    str(name).lstrip("$").upper() for name in record.get("symbols", record.get("match", ()))
                }
                places = sorted(at[name] for name in named if name in at)
                if not places:
                    unlinked += 1
                else:
                    text = texts.setdefault(normalised(record["text"]), len(texts))
                    author = authors.setdefault(str(record.get("user", f"line {number}")), len(authors))
                    is_news = outlets.speak(str(record.get("source") or ""), record["text"])
                    reach = float(np.log1p(max(0, int(record.get("followers") or 0))))
                    time = _time(path, number, record["created_at"])
                    rows.extend(
                        (time, place, author, text, is_news, reach, 1.0 / len(named)) for place in places
                    )
                if number % 2_000 == 0:
                    on_line(number)
        except (UnicodeDecodeError, EOFError, OSError, lzma.LZMAError) as error:
            raise _wrong(path, str(error), row=number + 1) from error
    if not rows:
        raise _wrong(path, "no post names a symbol of the prices")
    on_line(number)
    rows.sort(key=lambda row: row[0])
    columns = list(zip(*rows, strict=True))
    return Posts(
        time_nanos=np.array(columns[0], dtype=np.int64),
        symbol=np.array(columns[1], dtype=np.int64),
        author=np.array(columns[2], dtype=np.int64),
        text=np.array(columns[3], dtype=np.int64),
        is_news=np.array(columns[4], dtype=np.bool_),
        reach=np.array(columns[5], dtype=np.float64),
        share=np.array(columns[6], dtype=np.float64),
        texts=tuple(texts),
        read_count=number,
        unlinked_count=unlinked,
    )


def normalised(text: str) -> str:
    """Return what two posts that say the same have in common."""
    return _SPACE.sub(" ", _LINK.sub(" ", _RETWEET.sub("", text))).strip().lower()


def _post(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise _wrong(path, f"no JSON: {error}", row=number) from None
    if not isinstance(record, dict):
        raise _wrong(path, "no JSON object", row=number)
    for name in ("created_at", "text"):
        if not isinstance(record.get(name), str):
            raise _wrong(path, "it is missing or no text", row=number, column=name)
    for name in ("symbols", "match"):
        if name in record and not isinstance(record[name], list):
            raise _wrong(path, "it is no list", row=number, column=name)
    if "symbols" not in record and "match" not in record:
        raise _wrong(path, "neither it nor `match` is there", row=number, column="symbols")
    if not isinstance(record.get("followers", 0), int | type(None)):
        raise _wrong(path, "it is no whole number", row=number, column="followers")
    return record


def _time(path: Path, number: int, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdigit() else datetime.strptime(text, TWITTER_TIME)
    except ValueError:
        raise _wrong(path, f"{text!r} is no time", row=number, column="created_at") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        file = cast(IO[str], openers.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline=""))
    except OSError as error:
        raise _wrong(path, error.strerror or str(error)) from error
    with file:
        yield file


def _wrong(path: Path, why: str, *, row: int | None = None, column: str = "") -> InvalidInput:
    where = f"{path}" + (f", row {row}" if row else "") + (f", column {column}" if column else "")
    return InvalidInput("FILE_MALFORMED", f"{where}: {why}", file=path, row=row or "", column=column)
