"""The protocol compiler of this repository: grpcio-tools in an environment of its own, made by `make`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
ENVIRONMENT = ROOT / ".tools" / "protos"


class CompilerError(Exception):
    """The compiler is missing or refused the protos; the message says which and how to mend it."""


def proto_files(protos: Path = PROTOS) -> list[str]:
    """Return the paths of the contract's files relative to `protos`, sorted."""
    return sorted(path.relative_to(protos).as_posix() for path in protos.rglob("*.proto"))


def compile_protos(*arguments: str, protos: Path = PROTOS) -> None:
    """Run the compiler over all files of `protos` with the given output arguments.

    Raises `CompilerError` when it is not installed or finds a fault in a file.
    """
    command = [str(compiler_python()), "-m", "grpc_tools.protoc", f"-I{protos}", *arguments, *proto_files(protos)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompilerError(f"the compiler refused {protos}:\n{done.stderr.strip()}")


def compiler_python() -> Path:
    """Return an interpreter that has the compiler: the repository's own, or else this one."""
    own = ENVIRONMENT / "bin" / "python"
    if own.exists():
        return own
    if find_spec("grpc_tools"):
        return Path(sys.executable)
    raise CompilerError(f"no protocol compiler: expected {own}, found none; `make protos` installs it")
