"""Put Debian's `prometheus` and `promtool` into DIRECTORY: `python install_prometheus.py DIRECTORY`.

Both are taken from the PATH where they are installed. Else the package is fetched and unpacked, which needs apt but no
rights: nothing outside DIRECTORY changes.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("prometheus", "promtool")


def main() -> int:
    """Install; return the exit code."""
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    found = {name: shutil.which(name) for name in PROGRAMS}
    unpacked = {} if all(found.values()) else unpack(target)
    for name in PROGRAMS:
        program = Path(unpacked.get(name) or str(found[name]))
        link = target / name
        link.unlink(missing_ok=True)
        link.symlink_to(program)
        print(f"   {run(str(link), '--version').splitlines()[0]}", flush=True)
    return 0


def unpack(target: Path) -> dict[str, str]:
    """Return the programs of the package, fetched into `target`."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise SystemExit("prometheus comes through apt and apt is not here: install prometheus and promtool yourself")
    lists = target / "lists"
    private = ("-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={target / 'cache'}")
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (target / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    run("apt-get", *private, "update", directory=target)
    run("apt-get", *private, "download", "prometheus", directory=target)
    package = next(target.glob("prometheus_*.deb"))
    run("dpkg", "-x", str(package), str(target / "package"))
    package.unlink()
    for scratch in (lists, target / "cache"):
        shutil.rmtree(scratch)
    return {name: str(target / "package" / "usr" / "bin" / name) for name in PROGRAMS}


def run(*command: str, directory: Path | None = None) -> str:
    """Return what a command printed; end the program with its last lines when it fails."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=directory
    )
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stdout[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
