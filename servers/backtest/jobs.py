"""Split a backtest into jobs and run them: in this process, in several, or on a Dask cluster; resumable."""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple
from pathlib import Path

from servers.backtest.inputs import DayInputs
from servers.backtest.options import BacktestOptions
from servers.backtest.simulation import DayResult, Job, Outcome, run_job
from servers.model.errors import InvalidInput

SYMBOLS_PER_JOB = 8
"""Every job reads the file once: few symbols make many readings, many make few jobs to share out."""

Progress = Callable[[int, int], None]


def split(inputs: Mapping[str, Sequence[DayInputs]], options: BacktestOptions) -> list[Job]:
    """Return the jobs of a backtest; the same for any number of workers, so that a run can be resumed."""
    symbols = sorted(inputs)
    jobs = []
    for number, low in enumerate(range(0, len(symbols), SYMBOLS_PER_JOB)):
        mine = tuple(symbols[low : low + SYMBOLS_PER_JOB])
        jobs.append(Job(number, options, mine, tuple(day for symbol in mine for day in inputs[symbol])))
    return jobs


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    cluster: str = "",
    resume: Path | None = None,
    progress: Progress | None = None,
) -> list[DayResult]:
    """Return the results of all jobs, by symbol and date, however they were shared out.

    Args:
        workers: processes on this machine.
        cluster: address of a Dask scheduler whose workers see the file under the same path; takes the
            place of processes.
        resume: folder in which each finished job is kept; those that are there already are not run again.
        progress: told (sessions done, sessions in all) after each job.

    Raises InvalidInput FIELD_INVALID for a folder of another backtest, or a cluster without Dask installed.
    """
    kept = _Kept(resume, jobs) if resume is not None else None
    found = {job.number: kept.read(job) for job in jobs if kept and kept.has(job)}
    left = [job for job in jobs if job.number not in found]
    total, done = sum(len(job.inputs) for job in jobs), 0

    def take(job: Job, results: list[DayResult]) -> None:
        if kept and job.number not in found:
            kept.write(job, results)
        found[job.number] = results

    def tell(job: Job) -> None:
        nonlocal done
        done += len(job.inputs)
        if progress is not None:
            progress(done, total)

    for job in jobs:
        if job.number in found:
            tell(job)
    if cluster:
        finished = _on_cluster(left, cluster)
    elif workers > 1 and len(left) > 1:
        finished = _in_processes(left, workers)
    else:
        finished = ((job, run_job(job)) for job in left)
    for job, results in finished:
        take(job, results)
        tell(job)
    everything = [result for number in sorted(found) for result in found[number]]
    return sorted(everything, key=lambda result: (result.symbol, result.date))


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, list[DayResult]]]:
    # Spawned, not forked: a fork would copy the threads' locks of numpy and pyarrow as they happen to be.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        running = {pool.submit(run_job, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_cluster(jobs: Sequence[Job], address: str) -> Iterator[tuple[Job, list[DayResult]]]:
    try:
        # By name, because it is optional: most backtests fit one machine.
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise InvalidInput(
            "FIELD_INVALID", "a cluster needs Dask: pip install 'tapeline[cluster]'", field="cluster"
        ) from None
    with distributed.Client(address) as client:
        # The inputs travel as they are; the bars or trades are read where the job runs.
        running = {client.submit(run_job, job, pure=False): job for job in jobs}
        for future in distributed.as_completed(list(running)):
            yield running[future], future.result()


class _Kept:
    """Finished jobs in a folder: one file each, written whole or not at all."""

    def __init__(self, folder: Path, jobs: Sequence[Job]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {"fingerprint": jobs[0].options.fingerprint() if jobs else "", "jobs": len(jobs)}
        path = folder / "backtest.json"
        if path.exists():
            try:
                is_same = json.loads(path.read_text()) == manifest
            except ValueError:
                is_same = False
            if not is_same:
                raise InvalidInput(
                    "FIELD_INVALID",
                    f"{folder} holds another backtest (other options or another file): take a fresh folder",
                    field="resume",
                )
        _write_whole(path, manifest)

    def has(self, job: Job) -> bool:
        return self._path(job).exists()

    def read(self, job: Job) -> list[DayResult]:
        rows = json.loads(self._path(job).read_text())
        return [
            DayResult(
                row["symbol"],
                row["date"],
                row["volatility"],
                tuple(_outcome(values) for values in row["outcomes"]),
            )
            for row in rows
        ]

    def write(self, job: Job, results: Sequence[DayResult]) -> None:
        rows = [
            {
                "symbol": result.symbol,
                "date": result.date,
                "volatility": result.volatility,
                "outcomes": [
                    [None if value != value else value for value in astuple(outcome)]
                    for outcome in result.outcomes
                ],
            }
            for result in results
        ]
        _write_whole(self._path(job), rows)

    def _path(self, job: Job) -> Path:
        return self._folder / f"job-{job.number:05}.json"


def _outcome(values: Sequence[float | None]) -> Outcome:
    return Outcome(*(math.nan if value is None else value for value in values))  # type: ignore[arg-type]


def _write_whole(path: Path, content: object) -> None:
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(content))
    beside.replace(path)
