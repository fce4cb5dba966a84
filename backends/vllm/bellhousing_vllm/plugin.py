"""What `bellhousing doctor` says of vLLM, and the launches that `bellhousing migrate` reads."""

from collections.abc import Iterator
from importlib.util import find_spec

from bellhousing.hookspecs import DoctorFinding, hookimpl
from bellhousing.migration import Origin
from bellhousing_vllm.description import installed
from bellhousing_vllm.migration import ORIGIN

TRIED = (0, 32)
"""The release that the tests run."""


@hookimpl
def bellhousing_doctor() -> Iterator[DoctorFinding]:
    """Report on the distribution that brings vLLM, without importing it: that takes many seconds."""
    found = installed()
    if not found or find_spec("vllm") is None:
        mend = "`pip install vllm` where there is a GPU; docs/backends/vllm.md tells how without one"
        yield DoctorFinding("vLLM", "wrong", "not installed in this environment", mend)
        return
    if len(found) > 1:
        yield DoctorFinding("vLLM", "wrong", " and ".join(found), "they overwrite each other: keep one, reinstall it")
        return
    ((name, number),) = found.items()
    release = tuple(int(part) for part in number.split("+")[0].split(".")[:2] if part.isdigit())
    is_tried = release == TRIED
    mend = "" if is_tried else f"the tests run with {TRIED[0]}.{TRIED[1]}: run `make test-engines` with yours"
    yield DoctorFinding("vLLM", "ok" if is_tried else "warning", f"{name} {number}", mend)


@hookimpl
def bellhousing_migrations() -> tuple[Origin, ...]:
    """Offer `vllm serve`."""
    return (ORIGIN,)
