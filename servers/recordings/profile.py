"""Which prints of a feed count: data in a TOML file, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.model.errors import InvalidInput

PROFILES_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True, slots=True)
class FeedProfile:
    """The rule of one feed.

    Attributes:
        name: how it is chosen.
        rule: the same for people; execution reports quote it.
        condition_column: column with a hexadecimal bit mask a print; empty when there is none.
        venue_column: column with the code of where it printed; empty when there is none.
        ineligible_mask: prints with any of these bits count nowhere.
        auction_mask: prints with any of these bits were made in an auction.
        off_exchange_venues: codes of venues where nothing could be hit.
    """

    name: str
    rule: str
    condition_column: str = ""
    venue_column: str = ""
    ineligible_mask: int = 0
    auction_mask: int = 0
    off_exchange_venues: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the profile needs beside the ordinary ones."""
        return tuple(column for column in (self.condition_column, self.venue_column) if column)


def load_profile(name: str) -> FeedProfile:
    """Return a profile by name, or from a TOML file of one's own by path.

    Raises InvalidInput FILE_MALFORMED that names the file and the field.
    """
    path = Path(name) if name.endswith(".toml") else PROFILES_FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput("FILE_MALFORMED", f"feed profile {path}: {error}", file=path) from error
    known = {"name", "rule", "condition_column", "venue_column", "off_exchange_venues"}
    unknown = sorted(set(table) - known - {"ineligible_conditions", "auction_conditions"})
    if unknown:
        raise _wrong(path, unknown[0], "is unknown")
    for field in ("name", "rule"):
        if not isinstance(table.get(field), str) or not table[field]:
            raise _wrong(path, field, "is missing or no text")
    return FeedProfile(
        name=table["name"],
        rule=table["rule"],
        condition_column=_text(path, table, "condition_column"),
        venue_column=_text(path, table, "venue_column"),
        ineligible_mask=_mask(path, table, "ineligible_conditions"),
        auction_mask=_mask(path, table, "auction_conditions"),
        off_exchange_venues=tuple(str(code) for code in table.get("off_exchange_venues", ())),
    )


def profile_for(columns: Collection[str]) -> FeedProfile:
    """Return the shipped profile that fits a file's columns: the one that can use most of them."""
    profiles = [load_profile(path.stem) for path in sorted(PROFILES_FOLDER.glob("*.toml"))]
    fitting = [profile for profile in profiles if set(profile.columns) <= set(columns)]
    return max(fitting, key=lambda profile: len(profile.columns))


def _text(path: Path, table: Mapping[str, Any], field: str) -> str:
    value = table.get(field, "")
    if not isinstance(value, str):
        raise _wrong(path, field, "is no text")
    return value


def _mask(path: Path, table: Mapping[str, Any], field: str) -> int:
    mask = 0
    for name, bits in table.get(field, {}).items():
        try:
            mask |= int(str(bits), 16)
        except ValueError:
            raise _wrong(path, f"{field}.{name}", f"is no hexadecimal number: {bits!r}") from None
    return mask


def _wrong(path: Path, field: str, why: str) -> InvalidInput:
    return InvalidInput("FILE_MALFORMED", f"feed profile {path}: {field} {why}", file=path, field=field)
