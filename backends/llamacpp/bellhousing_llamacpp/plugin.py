"""What `bellhousing doctor` says of llama.cpp."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

from bellhousing.hookspecs import DoctorFinding, hookimpl
from bellhousing_llamacpp.shape import gpus

MIB = 1 << 20
LITTLE_MEMORY = 2048 * MIB


@hookimpl
def bellhousing_doctor() -> Iterator[DoctorFinding]:
    """Report on the wheel, the processor, the memory and the GPUs."""
    try:
        import xllamacpp
    except (ImportError, OSError) as error:
        mend = "`pip install --force-reinstall xllamacpp`; there are wheels for Linux, macOS and Windows"
        yield DoctorFinding("llama.cpp", "wrong", f"xllamacpp cannot be imported: {error}", mend)
        return
    yield DoctorFinding("llama.cpp", "ok", f"xllamacpp {version('xllamacpp')}, {os.cpu_count()} processors")
    yield _instructions(xllamacpp.get_system_info())
    yield _memory()
    found = ", ".join(f"{gpu['name']} ({gpu['description']}, {gpu['memory_free'] // MIB} MiB free)" for gpu in gpus())
    yield DoctorFinding("llama.cpp GPUs", "ok", found or "none: this wheel computes on the processor")


def _instructions(system_info: str) -> DoctorFinding:
    features = [part.rpartition(":")[2].split("=")[0].strip() for part in system_info.split("|") if "= 1" in part]
    is_fast = platform.machine().lower() in ("arm64", "aarch64") or "AVX2" in features
    return DoctorFinding(
        "llama.cpp vector instructions",
        "ok" if is_fast else "warning",
        " ".join(features) or "none",
        "" if is_fast else "expect few tokens a second: this processor has no AVX2",
    )


def _memory() -> DoctorFinding:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return DoctorFinding("memory", "ok", "not known on this system")
    is_enough = free >= LITTLE_MEMORY
    return DoctorFinding(
        "memory",
        "ok" if is_enough else "warning",
        f"{free // MIB} MiB free",
        "" if is_enough else "take a smaller model, batching.max_sequences or options.context_per_sequence",
    )
