"""What `bellhousing doctor` says of TGI, and the launches that `bellhousing migrate` reads."""

import shutil
from collections.abc import Iterator

from bellhousing.hookspecs import DoctorFinding, hookimpl
from bellhousing.migration import Origin
from bellhousing_tgi.migration import ORIGIN, PROGRAM


@hookimpl
def bellhousing_doctor() -> Iterator[DoctorFinding]:
    """Report on the launcher. It is not asked for its version: the router tells that once it runs."""
    found = shutil.which(PROGRAM)
    if found is None:
        # No mistake where only `tgi-attached` is used.
        mend = "install TGI, or set options.launcher; `tgi-attached` does without. docs/backends/tgi.md tells how"
        yield DoctorFinding("TGI", "warning", f"no command `{PROGRAM}` in PATH", mend)
        return
    yield DoctorFinding("TGI", "ok", found)


@hookimpl
def bellhousing_migrations() -> tuple[Origin, ...]:
    """Offer `text-generation-launcher`."""
    return (ORIGIN,)
