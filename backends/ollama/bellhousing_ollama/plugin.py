"""What `bellhousing doctor` says of Ollama, and the launches that `bellhousing migrate` reads."""

import re
import shutil
import subprocess
from collections.abc import Iterator

from bellhousing.hookspecs import DoctorFinding, hookimpl
from bellhousing.migration import Origin
from bellhousing_ollama.migration import ORIGIN
from bellhousing_ollama.serve import OLDEST

TRIED = (0, 34)
"""The release that the tests run."""
SECONDS = 5


@hookimpl
def bellhousing_doctor() -> Iterator[DoctorFinding]:
    """Report on the command that is in PATH."""
    found = shutil.which("ollama")
    if found is None:
        mend = "install Ollama, or set options.executable; docs/backends/ollama.md tells how"
        yield DoctorFinding("Ollama", "wrong", "no command `ollama` in PATH", mend)
        return
    yield judged(found, _said(found))


@hookimpl
def bellhousing_migrations() -> tuple[Origin, ...]:
    """Offer `ollama serve` and Modelfiles."""
    return (ORIGIN,)


def judged(path: str, said: str) -> DoctorFinding:
    """Return the finding for what `ollama --version` says."""
    match = re.search(r"version is (\d+)\.(\d+)\S*", said)
    if match is None:
        return DoctorFinding("Ollama", "wrong", f"{path} tells no version", "reinstall Ollama")
    release = (int(match[1]), int(match[2]))
    number = match[0].removeprefix("version is ")
    if release < OLDEST:
        return DoctorFinding("Ollama", "wrong", f"{number} in {path}", f"{OLDEST[0]}.{OLDEST[1]} or later is needed")
    if release != TRIED:
        mend = f"the tests run with {TRIED[0]}.{TRIED[1]}: run `make test-engines` with yours"
        return DoctorFinding("Ollama", "warning", f"{number} in {path}", mend)
    return DoctorFinding("Ollama", "ok", f"{number} in {path}")


def _said(path: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the person's own command
            [path, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
