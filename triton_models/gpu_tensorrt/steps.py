"""Steps of a build: commands and actions that are printed, or run in order once all they need is there."""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class BuildError(Exception):
    """A tool, a file or a GPU is missing, or a step failed; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program that is run. The step fails when it does."""

    title: str
    words: tuple[str, ...]

    def told(self) -> str:
        """Return the command as a shell would take it."""
        return shlex.join(self.words)

    def run(self) -> None:
        """Run it to its end. Raises BuildError when it fails or is not there."""
        told = self.told()
        try:
            done = subprocess.run(self.words)  # noqa: S603 - our own words and the builder's paths
        except OSError as error:
            raise BuildError(f"cannot run `{told}`: {error}") from error
        if done.returncode:
            raise BuildError(f"`{told}` ended with {done.returncode}")


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done here; `what` says it as one line."""

    title: str
    what: str
    do: Callable[[], None]

    def told(self) -> str:
        return self.what

    def run(self) -> None:
        self.do()


Step = Command | Action


@dataclass(frozen=True, slots=True)
class Needs:
    """What a machine has to have before a build begins.

    Args:
        packages: Python packages with the exact version that the steps were written for.
        programs: on the PATH.
        paths: files and folders that are read, with what each is.
        image: the container that has all packages and programs.
    """

    packages: Mapping[str, str]
    programs: Sequence[str]
    paths: Mapping[str, Path]
    image: str

    def missing(self) -> list[str]:
        """Return what is not there, one sentence each; empty when the build can begin."""
        said = [f"{what} is not at {path}" for what, path in self.paths.items() if not path.exists()]
        said += [f"`{program}` is not on the PATH" for program in self.programs if not shutil.which(program)]
        for name, wanted in self.packages.items():
            try:
                found = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                said.append(f"the package {name} {wanted} is not installed")
                continue
            if found != wanted:
                said.append(f"{name} is {found}; the steps are written for {wanted}")
        return said + [sentence for sentence in [_gpu_missing()] if sentence]


def _gpu_missing() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "no NVIDIA GPU: `nvidia-smi` is not on the PATH"
    listed = subprocess.run([program, "--list-gpus"], capture_output=True, text=True)  # noqa: S603 - as found
    return "" if listed.returncode == 0 and listed.stdout.strip() else "`nvidia-smi` lists no GPU"


def tell(needs: Needs, steps: Sequence[Step]) -> str:
    """Return every step as text, with what the machine needs; nothing is run or looked up."""
    lines = [
        f"container: {needs.image}",
        *(f"package: {name}=={version}" for name, version in needs.packages.items()),
        *(f"program: {program}" for program in needs.programs),
        *(f"{what}: {path}" for what, path in needs.paths.items()),
    ]
    for number, step in enumerate(steps, start=1):
        lines += ["", f"{number}. {step.title}", f"   {step.told()}"]
    return "\n".join(lines)


def run(needs: Needs, steps: Sequence[Step], say: Callable[[str], None] = print) -> None:
    """Run the steps in order. Raises BuildError before the first when something is missing."""
    missing = needs.missing()
    if missing:
        raise BuildError("\n".join(["cannot build here:", *missing, f"all of it is in {needs.image}"]))
    for number, step in enumerate(steps, start=1):
        say(f"{number}/{len(steps)} {step.title}")
        step.run()
