"""Compile `native/*.pyx` into extensions; everything else about the distribution stands in `pyproject.toml`.

`build_ext --inplace` is the release build, as an editable install and a wheel make it. `build_ext --debug`
lays the same modules into `build/debug/native` with bounds checks and line tracing; `TAPELINE_NATIVE=debug`
chooses them. Both compile only what changed.
"""

import os
import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("native")
RELEASE_BUILD = Path("build/release")
DEBUG_BUILD = Path("build/debug")
RELEASE_ARGUMENTS = ["-O3"]
DEBUG_ARGUMENTS = ["-O1", "-g", "-UNDEBUG"]
# CYTHON_TRACE_NOGIL also traces kernels that run without the interpreter lock.
DEBUG_MACROS: list[tuple[str, str | None]] = [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]
# A file's own header beats what the build passes in, so the debug build rewrites the header of its copy.
# Negative indices stay errors in it: with `wraparound=False` and bounds checks on they raise, which is the
# stricter of the two.
DEBUG_DIRECTIVES = {"boundscheck": "True", "initializedcheck": "True", "linetrace": "True"}
_HEADER = re.compile(r"^#\s*cython:(?P<directives>.*)$", re.MULTILINE)


def module_name(source: Path) -> str:
    """Return the dotted name of the module that a `.pyx` becomes."""
    return ".".join(source.with_suffix("").parts)


def debug_text(text: str) -> str:
    """Return Cython source whose header turns the checks of the debug build on, on the same line numbers."""

    def rewrite(match: re.Match[str]) -> str:
        kept = [
            directive.strip()
            for directive in match["directives"].split(",")
            if directive.strip() and directive.split("=")[0].strip() not in DEBUG_DIRECTIVES
        ]
        checks = [f"{name}={value}" for name, value in DEBUG_DIRECTIVES.items()]
        return "# cython: " + ", ".join(kept + checks)

    if _HEADER.search(text) is None:
        raise SystemExit("a .pyx needs a `# cython:` header line, which the debug build rewrites")
    return _HEADER.sub(rewrite, text, count=1)


def stage_debug_sources(folder: Path) -> None:
    """Copy `native` into `folder` with the debug header; a copy that would not change keeps its time."""
    for source in sorted(NATIVE.rglob("*")):
        if source.suffix not in (".pyx", ".pxd", ".py"):
            continue
        text = source.read_text()
        if source.suffix == ".pyx":
            text = debug_text(text)
        staged = folder / source
        if not staged.exists() or staged.read_text() != text:
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(text)
    for staged in sorted(folder.rglob("*.p*")):
        if not staged.relative_to(folder).exists():
            staged.unlink()


class BuildExtensions(build_ext):
    """Translate and compile the extensions, in parallel, for the release or the debug build."""

    def finalize_options(self) -> None:
        """Give both builds lasting folders: an editable install would compile in one that it throws away."""
        super().finalize_options()
        self.parallel: int | bool | None = os.cpu_count()
        if self.debug:
            self.inplace = False
        if self.debug or self.inplace:
            folder = DEBUG_BUILD if self.debug else RELEASE_BUILD
            self.build_lib = str(folder)
            self.build_temp = str(folder / "objects")

    def run(self) -> None:
        """Build, then remove what has no source any more."""
        super().run()
        self._remove_leftovers()

    def build_extensions(self) -> None:
        """Translate what changed to C, then compile it."""
        from Cython.Build import cythonize

        root = Path()
        if self.debug:
            root = DEBUG_BUILD / "sources"
            stage_debug_sources(root)
        templates = [
            Extension(
                extension.name,
                [str(root / source) for source in extension.sources],
                extra_compile_args=list(DEBUG_ARGUMENTS if self.debug else RELEASE_ARGUMENTS),
                define_macros=list(DEBUG_MACROS if self.debug else []),
            )
            for extension in self.extensions
        ]
        translated = cythonize(
            templates,
            build_dir=str(DEBUG_BUILD / "c" if self.debug else Path("build/c")),
            include_path=[str(root)],
            # A hint to turn the checks off is no news in the build that has them on.
            compiler_directives={"language_level": "3", "show_performance_hints": not self.debug},
            nthreads=os.cpu_count() or 1,
            quiet=True,
        )
        by_name = {extension.name: extension for extension in translated}
        for extension in self.extensions:
            vars(extension).update(vars(by_name[extension.name]))
        super().build_extensions()

    def _remove_leftovers(self) -> None:
        """Remove modules whose source is gone, so that none of them can be imported by accident."""
        built = {Path(self.get_ext_fullpath(extension.name)).resolve() for extension in self.extensions}
        folder = Path(self.get_ext_fullpath("native.x")).parent
        for module in folder.resolve().rglob("*.so"):
            if module not in built:
                module.unlink()


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent)
    setup(
        ext_modules=[
            Extension(module_name(source), [str(source)]) for source in sorted(NATIVE.rglob("*.pyx"))
        ],
        package_dir={"": "."},
        cmdclass={"build_ext": BuildExtensions},
    )
