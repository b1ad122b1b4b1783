"""One precision of the PyTorch profile at a time, for `llm_gpu`: in its own process, and behind Triton."""

import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "triton_models" / "gpu_torch" / "repository"
VERSIONS = {"fp16": "1", "int8": "2"}
WHOLE_PROMPTS = "fp16 whole prompts"
"""fp16 without the reuse of the prefix."""
WORDS_A_TEXT = 30
BATCH = 8
_WARM_UPS = 5
# Loading and capturing a graph for every size takes minutes on a slow disk.
_READY_SECONDS = 900.0
_WORDS = """
    shares bonds fell rose slid jumped after weekly quarterly annual figures beat missed estimates forecast
    sales profit outlook raised cut broker upgrade downgrade buyback takeover lawsuit regulator clears blocks
    mine rig plant strike demand weak strong margin costs inflation Acme Borealis Corvid Delta on for of
"""


class NotMeasuredError(Exception):
    """Something that a measurement needs is missing or has ended; the message says what, on one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and with what.

    Args:
        python: of PyTorch's environment.
        checkpoint: Hugging Face folder; None draws weights.
        device: `cuda`; on `cpu` the code runs too, but its figures say nothing about a GPU.
        shape: a config.json for drawn weights; Mistral-7B's when None.
        singles: texts that latency is taken from.
        batches: of eight, that throughput is taken from; through Triton as many texts.
        clients: that ask Triton at once; two batches' worth keep it busy.
    """

    python: Path
    checkpoint: Path | None = None
    device: str = "cuda"
    shape: Path | None = None
    singles: int = 200
    batches: int = 60
    clients: int = 2 * BATCH


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one precision: each single text's milliseconds, throughput, memory held."""

    single_ms: tuple[float, ...]
    texts_per_second: float
    memory_bytes: int


class Texts:
    """New texts of thirty words, the same ones every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> str:
        """Return a text that was very likely not returned before."""
        return " ".join(self._random.choices(_WORDS.split(), k=WORDS_A_TEXT))

    def batch(self, size: int = BATCH) -> list[str]:
        """Return several."""
        return [self.next() for _ in range(size)]


def machine(plan: Plan) -> str:
    """Return the names of device and library. Raises NotMeasuredError where nothing can run."""
    try:
        said = _output([plan.python, "-m", "triton_models.gpu_torch.alone", f"--device={plan.device}"])
    except OSError as error:
        raise NotMeasuredError(f"no PyTorch: {plan.python}: {error.strerror}") from error
    facts = json.loads(said)
    if "reason" in facts:
        raise NotMeasuredError(facts["reason"])
    return f"{facts['device']}, PyTorch {facts['torch']}"


def drawn_checkpoint(plan: Plan, folder: Path) -> Path:
    """Write a checkpoint of drawn weights. Raises NotMeasuredError when that fails."""
    texts, made = folder / "texts.txt", folder / "drawn"
    texts.write_text("\n".join(Texts(seed=1).batch(64)), encoding="utf-8")
    words: list[str | Path] = [plan.python, "-m", "triton_models.gpu_torch.drawn"]
    words += ["--output", made, "--texts", texts]
    _output([*words, "--shape", plan.shape] if plan.shape else words)
    return made


def prepared_environment(plan: Plan) -> Path:
    """Let Triton run from PyTorch's environment and return it. Raises NotMeasuredError when it cannot."""
    return Path(_output([plan.python, "-m", "triton_models.gpu_torch.prepare"]).strip()).parent


def measure_alone(plan: Plan, checkpoint: Path, kind: str) -> Figures:
    """Measure without a server. Raises NotMeasuredError when the model cannot be loaded or ends."""
    texts = Texts(seed=20)
    with _alone(plan, checkpoint, kind) as ask:
        for _ in range(_WARM_UPS):
            ask(texts.batch(1))
            ask(texts.batch())
        single = tuple(ask(texts.batch(1))["milliseconds"] for _ in range(plan.singles))
        answers = [ask(texts.batch()) for _ in range(plan.batches)]
    seconds = sum(answer["milliseconds"] for answer in answers) / 1e3
    return Figures(single, plan.batches * BATCH / seconds, int(answers[-1]["memory_bytes"]))


@contextmanager
def _alone(plan: Plan, checkpoint: Path, kind: str) -> Iterator[Callable[[list[str]], dict[str, float]]]:
    words: list[str | Path] = [plan.python, "-m", "triton_models.gpu_torch.alone"]
    words += ["--checkpoint", checkpoint, "--device", plan.device, "--precision", kind.partition(" ")[0]]
    if kind == WHOLE_PROMPTS:
        words += ["--whole-prompts"]
    with tempfile.TemporaryFile("w+") as errors:
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors, text=True)
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            given, answers = process.stdin, process.stdout

            def answer() -> dict[str, Any]:
                # What a library prints stands between the answers.
                for line in answers:
                    if line.startswith("{"):
                        read: dict[str, Any] = json.loads(line)
                        return read
                errors.seek(0)
                raise NotMeasuredError(f"the model has ended: {_last_line(errors.read())}")

            def ask(texts: list[str]) -> dict[str, Any]:
                given.write(json.dumps(texts) + "\n")
                given.flush()
                return answer()

            answer()  # the machine
            answer()  # what is loaded
            yield ask
            given.close()


def measure_served(plan: Plan, checkpoint: Path, kind: str) -> Figures:
    """Measure through a real Triton that serves this precision alone.

    Raises NotMeasuredError when Triton is not set up, does not load the model or ends.
    """
    try:
        from servers.local.triton import Triton, TritonError, TritonPlan
    except ImportError as error:
        raise NotMeasuredError(f"no Triton here: {error}") from error
    environment = prepared_environment(plan)
    before = _gpu_bytes() if plan.device != "cpu" else 0
    with tempfile.TemporaryDirectory(prefix="llm-gpu-repository-") as name:
        repository = Path(name) / "repository"
        other = next(version for precision, version in VERSIONS.items() if precision != kind)
        shutil.copytree(REPOSITORY, repository, ignore=shutil.ignore_patterns(other, "__pycache__"))
        triton = Triton(TritonPlan(environment=environment, repository=repository, weights=checkpoint))
        try:
            triton.start()
            triton.wait_ready(_READY_SECONDS)
            single, rate = _asked(plan, triton.grpc_address, VERSIONS[kind])
            held = _gpu_bytes() - before if plan.device != "cpu" else _process_bytes(triton.pid)
        except TritonError as error:
            raise NotMeasuredError(_last_line(str(error))) from error
        finally:
            triton.stop()
    return Figures(single, rate, held)


def _asked(plan: Plan, address: str, version: str) -> tuple[tuple[float, ...], float]:
    texts = Texts(seed=20)
    ask = _asker(address, version)
    for _ in range(_WARM_UPS):
        ask(texts.next())
    single = tuple(ask(texts.next()) for _ in range(plan.singles))
    each = max(1, plan.batches * BATCH // plan.clients)
    work = [texts.batch(each) for _ in range(plan.clients)]

    def all_of(own: Sequence[str]) -> None:
        one = _asker(address, version)
        for text in own:
            one(text)

    with ThreadPoolExecutor(plan.clients) as pool:
        list(pool.map(all_of, [texts.batch(2) for _ in range(plan.clients)]))
        started = time.perf_counter()
        list(pool.map(all_of, work))
        return single, plan.clients * each / (time.perf_counter() - started)


def _asker(address: str, version: str) -> Callable[[str], float]:
    """Return what asks one text, waits, and returns the milliseconds that it took."""
    import numpy as np
    from tritonclient import grpc as triton_grpc

    client = triton_grpc.InferenceServerClient(address)

    def ask(text: str) -> float:
        tensor = triton_grpc.InferInput("TEXT", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text.encode()]], dtype=object))
        started = time.perf_counter()
        client.infer("market_llm", [tensor], model_version=version)
        return (time.perf_counter() - started) * 1e3

    return ask


def _gpu_bytes() -> int:
    """Return the first GPU's memory in use, the driver's share of every process included."""
    try:
        said = _output(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"])
    except OSError as error:
        raise NotMeasuredError("nvidia-smi is not here to tell the GPU's memory") from error
    return int(said.split()[0]) << 20


def _process_bytes(pid: int) -> int:
    import psutil

    server = psutil.Process(pid)
    return sum(one.memory_info().rss for one in [server, *server.children(recursive=True)])


def _output(words: Sequence[str | Path]) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotMeasuredError(_last_line(done.stderr) or f"{words[0]} ended with {done.returncode}")
    return done.stdout


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
