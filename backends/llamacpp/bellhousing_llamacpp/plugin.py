"""What `bellhousing doctor` says of llama.cpp."""

import os
from collections.abc import Iterator
from importlib.metadata import version

from bellhousing.hookspecs import DoctorFinding, hookimpl


@hookimpl
def bellhousing_doctor() -> Iterator[DoctorFinding]:
    """Report on the wheel, the processor and the devices."""
    try:
        import xllamacpp
    except (ImportError, OSError) as error:
        yield DoctorFinding("llama.cpp", "wrong", f"xllamacpp cannot be imported: {error}", "pip install xllamacpp")
        return
    features = [part.split("=")[0].strip() for part in xllamacpp.get_system_info().split("|") if "= 1" in part]
    yield DoctorFinding("llama.cpp", "ok", f"xllamacpp {version('xllamacpp')}, {os.cpu_count()} processors")
    is_fast = any("AVX2" in feature or "NEON" in feature for feature in features)
    yield DoctorFinding(
        "llama.cpp vector instructions",
        "ok" if is_fast else "warning",
        ", ".join(features),
        "" if is_fast else "decoding will be slow on this processor",
    )
    devices = [device for device in xllamacpp.get_device_info() if "CPU" not in str(device.get("name", ""))]
    yield DoctorFinding("llama.cpp devices", "ok", f"{len(devices)} beside the processor")
