"""The LLM through gRPC and a real Triton: latency, throughput, cache hits, and what the server adds.

Every text has thirty words and is new, unless the response cache is what is measured. The model alone, in a
process of its own without a server, gets the same texts in turn with Triton. Both versions of the model get
the same, one after the other: `v2_` is the one in eight bits.
"""

import json
import random
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from tritonclient import grpc as triton_grpc

from benchmarks.report import Options, Row
from servers.local.triton import MODEL, ROOT, Triton, TritonError, TritonPlan

WORDS_A_TEXT = 30
SINGLES = 60
CLIENTS = 8
TEXTS_A_CLIENT = 20
ROUNDS = 3
"""Of eight clients; their median counts, since one round takes ten seconds and a machine has bad ones."""
CACHE_HITS = 200
CACHE_BYTES = 64 << 20
_WARM_UPS = 3
_WORDS = """
    shares fell rose after quarterly earnings beat missed estimates revenue guidance raised cut analyst
    upgrade downgrade buyback dividend merger lawsuit regulator approves drug trial factory strike demand weak
    strong outlook margin costs inflation rates Acme Borealis Corvid Delta chips oil retail bank the on for of
"""


def run(options: Options) -> list[Row]:
    """Measure one client, eight clients and the response cache; then compare with the model alone."""
    texts = Texts(seed=20)
    try:
        with Triton(TritonPlan(cache_bytes=CACHE_BYTES)) as triton, _alone() as alone:
            options.progress(f"Triton answers at {triton.grpc_address}, pid {triton.pid}")
            client = Client(triton.grpc_address)
            single, bare = _singles(client, alone, texts)
            second = [Client(triton.grpc_address, "2").milliseconds(texts.next()) for _ in range(SINGLES)]
            options.progress("one client is measured; now eight")
            rates: dict[str, list[float]] = {"1": [], "2": []}
            for _ in range(ROUNDS):
                for version, found in rates.items():
                    found.append(_throughput(triton.grpc_address, version, texts))
            hits = _cache_hits(client, texts.next())
    except TritonError as error:
        return [Row("single_p50_ms", None, "ms", 150.0, "max", str(error).partition("\n")[0])]
    ratio = statistics.median(single) / statistics.median(bare)
    thirty = f"{WORDS_A_TEXT} words, through gRPC"
    eight = f"{CLIENTS} clients, each waits; median of {ROUNDS} rounds of {TEXTS_A_CLIENT} texts a client"
    eight_bits = statistics.median(second[_WARM_UPS:])
    return [
        Row("single_p50_ms", statistics.median(single), "ms", 150.0, "max", f"{thirty}, {SINGLES} texts"),
        Row("single_p95_ms", float(np.percentile(single, 95)), "ms", None, "max", thirty),
        Row("texts_per_second_8_clients", statistics.median(rates["1"]), "1/s", 15.0, "min", eight),
        Row("cache_hit_p50_ms", statistics.median(hits), "ms", 3.0, "max", "the same text again"),
        Row("overhead_over_runtime", ratio, "x", 1.3, "max", "p50 over the model without a server, in turn"),
        Row("runtime_p50_ms", statistics.median(bare), "ms", None, "max", "ONNX Runtime alone, no server"),
        Row("v2_single_p50_ms", eight_bits, "ms", None, "max", f"version 2, {thirty}"),
        Row("v2_texts_per_second_8_clients", statistics.median(rates["2"]), "1/s", None, "min", eight),
    ]


class Texts:
    """New texts of thirty words, the same ones every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._words = _WORDS.split()

    def next(self) -> str:
        """Return a text that was not returned before."""
        return " ".join(self._random.choices(self._words, k=WORDS_A_TEXT))


class Client:
    """Asks one text of a version and waits."""

    def __init__(self, address: str, version: str = "1") -> None:
        self._version = version
        self._client = triton_grpc.InferenceServerClient(address)

    def milliseconds(self, text: str) -> float:
        """Return how long the answer took."""
        tensor = triton_grpc.InferInput("TEXT", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text.encode()]], dtype=object))
        started = time.perf_counter()
        self._client.infer(MODEL, [tensor], model_version=self._version)
        return (time.perf_counter() - started) * 1e3


class Alone:
    """The model in a process of its own, without a server."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answer()

    def milliseconds(self, text: str) -> float:
        """Return how long it took by its own clock."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([text]) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise TritonError("the model alone has ended")
        return line


@contextmanager
def _alone() -> Iterator[Alone]:
    process = subprocess.Popen(
        [TritonPlan().environment / "bin" / "python", "-m", "triton_models.alone"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Alone(process)
        assert process.stdin is not None
        process.stdin.close()


def _singles(client: Client, alone: Alone, texts: Texts) -> tuple[list[float], list[float]]:
    """Ask one after another, in turn with the model alone; the first are not counted."""
    single, bare = [], []
    for number in range(SINGLES + _WARM_UPS):
        text = texts.next()
        pair = client.milliseconds(text), alone.milliseconds(text)
        if number >= _WARM_UPS:
            single.append(pair[0])
            bare.append(pair[1])
    return single, bare


def _throughput(address: str, version: str, texts: Texts) -> float:
    """Return texts a second of eight clients that each wait, after one full batch that is not counted."""
    work = [[texts.next() for _ in range(TEXTS_A_CLIENT)] for _ in range(CLIENTS)]

    def ask(own: list[str]) -> None:
        client = Client(address, version)
        for text in own:
            client.milliseconds(text)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for warmed in [pool.submit(ask, [texts.next()]) for _ in range(CLIENTS)]:
            warmed.result()
        started = time.perf_counter()
        for done in [pool.submit(ask, own) for own in work]:
            done.result()
        return CLIENTS * TEXTS_A_CLIENT / (time.perf_counter() - started)


def _cache_hits(client: Client, text: str) -> list[float]:
    client.milliseconds(text)
    return [client.milliseconds(text) for _ in range(CACHE_HITS)]
