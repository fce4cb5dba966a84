"""Generate the Python stubs of the contract, or check that the committed ones are what the protos say.

python -m tools.generate_stubs [--check]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tools.protoc import PROTOS, ROOT, CompilerError, compile_protos

COMMITTED = ROOT / "core"
PATTERN = "bellhousing/v*/*_pb2*"


def generate(into: Path, protos: Path = PROTOS) -> None:
    """Write the modules, their types and the service classes below `into`, in the folders of their packages."""
    compile_protos(f"--python_out={into}", f"--pyi_out={into}", f"--grpc_python_out={into}", protos=protos)


def stubs(root: Path) -> dict[Path, bytes]:
    """Return the stubs below `root` by relative path. Compiled Python is not one."""
    found = (path for path in root.glob(PATTERN) if path.suffix in {".py", ".pyi"})
    return {path.relative_to(root): path.read_bytes() for path in found}


def drift(fresh: Path, committed: Path) -> list[str]:
    """Return one line for each stub below `committed` that is missing, changed or left over compared with `fresh`."""
    expected, found = stubs(fresh), stubs(committed)
    missing = [f"{path}: missing" for path in expected if path not in found]
    left_over = [f"{path}: no proto makes it" for path in found if path not in expected]
    changed = [f"{path}: differs" for path in expected if path in found and found[path] != expected[path]]
    return sorted(missing + left_over + changed)


def replace(fresh: Path, committed: Path) -> None:
    """Make the stubs below `committed` those below `fresh`."""
    for path in stubs(committed):
        (committed / path).unlink()
    for path in stubs(fresh):
        (committed / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh / path, committed / path)


def main() -> int:
    """Return 0, or 1 when `--check` finds drift or the protos do not compile."""
    parser = argparse.ArgumentParser(description="Write the Python stubs of the contract or check them.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a stub is not up to date")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        try:
            generate(fresh)
        except CompilerError as error:
            print(error, file=sys.stderr)
            return 1
        faults = drift(fresh, COMMITTED)
        if not check:
            replace(fresh, COMMITTED)
    if check and faults:
        print("stubs are not what the protos say; `make protos` writes them:", *faults, sep="\n  ", file=sys.stderr)
        return 1
    print(f"stubs: {'up to date' if not faults else f'{len(faults)} written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
