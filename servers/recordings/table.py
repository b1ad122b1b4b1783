"""Read a table out of CSV (plain, .gz, .xz) or Parquet, in blocks, with errors that name the row."""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from servers.model.errors import InvalidInput

BLOCK_BYTES = 4 << 20
NANOS_PER_MILLISECOND = 1_000_000
_ROW = re.compile(
    r"(?:In )?(?:CSV column #(?P<column>\d+): )?(?:CSV parse error: )?Row #(?P<row>\d+): (?P<why>.*)",
    re.DOTALL,
)

Int64s = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


class TableFile:
    """A table in a file.

    Args:
        path: CSV with a header line (.csv, .csv.gz, .csv.xz) or Parquet (.parquet).

    Raises InvalidInput FILE_MALFORMED that names the file, and the row and column where there is one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_parquet = path.suffix == ".parquet"
        try:
            self.columns: Sequence[str] = self._header()
        except FileNotFoundError as error:
            raise self.wrong("there is no such file") from error
        except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, pa.ArrowInvalid) as error:
            raise self.wrong(str(error)) from error

    def require(self, columns: Sequence[str]) -> None:
        """Check that the columns are there."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise self.wrong(f"no column {missing[0]!r}; it has {', '.join(self.columns)}", column=missing[0])

    def blocks(self, types: Mapping[str, pa.DataType]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of the first row, block) with the columns of `types`. The first data row is 1."""
        self.require(list(types))
        row = 1
        try:
            for batch in self._parquet(types) if self.is_parquet else self._csv(types):
                for name in types:
                    nulls = batch.column(name).null_count
                    if nulls:
                        first = np.flatnonzero(batch.column(name).is_null().to_numpy(zero_copy_only=False))[0]
                        raise self.wrong("the value is missing", row=row + int(first), column=name)
                yield row, batch
                row += batch.num_rows
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError) as error:
            raise self._explained(error, list(types), row) from error
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise self.wrong(str(error), row=row) from error

    def wrong(self, why: str, *, row: int | None = None, column: str = "") -> InvalidInput:
        """Return the error that names file, row and column."""
        where = f"{self.path}" + (f", row {row}" if row else "") + (f", column {column}" if column else "")
        return InvalidInput("FILE_MALFORMED", f"{where}: {why}", file=self.path, row=row or "", column=column)

    def check(self, first_row: int, column: str, is_wrong: npt.NDArray[np.bool_], why: str) -> None:
        """Raise for the first row of a block where `is_wrong`."""
        if is_wrong.any():
            raise self.wrong(why, row=first_row + int(np.argmax(is_wrong)), column=column)

    def _open(self) -> BinaryIO:
        if self.path.suffix == ".xz":
            return cast(BinaryIO, lzma.open(self.path, "rb"))
        if self.path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def _header(self) -> Sequence[str]:
        if self.is_parquet:
            return list(pyarrow.parquet.read_schema(self.path).names)
        with self._open() as file:
            line = file.readline(1 << 16).decode("utf-8-sig").strip()
        if not line:
            raise self.wrong("the file is empty")
        return [name.strip().strip('"') for name in line.split(",")]

    def _csv(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with self._open() as file:
            reader = pyarrow.csv.open_csv(
                file,
                # In one thread: only then do errors carry the row.
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict(types),
                    include_columns=list(types),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            yield from reader

    def _parquet(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        schema = pa.schema(list(types.items()))
        with pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=list(types)):
                yield batch.select(list(types)).cast(schema)

    def _explained(self, error: Exception, names: Sequence[str], row: int) -> InvalidInput:
        match = _ROW.match(str(error))
        if match is None:
            return self.wrong(str(error), row=row)
        index = int(match["column"]) if match["column"] else -1
        column = self.columns[index] if 0 <= index < len(self.columns) else ""
        return self.wrong(match["why"], row=int(match["row"]) - 1, column=column)


def int64s(batch: pa.RecordBatch, column: str) -> Int64s:
    """Return a column as int64."""
    return cast(Int64s, batch.column(column).to_numpy(zero_copy_only=False))


def doubles(batch: pa.RecordBatch, column: str) -> Doubles:
    """Return a column as float64."""
    return cast(Doubles, batch.column(column).to_numpy(zero_copy_only=False))


def to_nanos(values: Doubles) -> Int64s:
    """Return decimal numbers below 4.5e6 with up to nine places as exact nanos."""
    return np.rint(values * 1e9).astype(np.int64)
