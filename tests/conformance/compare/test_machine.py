"""What the machine does meanwhile, and what a server uses of it."""

import asyncio
import os
import sys
import time

import pytest

from bellhousing_conformance.compare.machine import Meter, Ticks, pressure, steal, ticks


def test_steal_is_the_share_of_all_ticks_that_went_to_others() -> None:
    assert steal(Ticks(1000, 10), Ticks(1200, 14)) == pytest.approx(0.02)


def test_a_system_that_tells_no_ticks_has_no_steal() -> None:
    assert steal(None, Ticks(1, 0)) is None
    assert steal(Ticks(5, 0), Ticks(5, 0)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="proc(5)")
def test_linux_tells_its_ticks_and_they_grow() -> None:
    before = ticks()
    time.sleep(0.05)
    after = ticks()
    assert before is not None
    assert after is not None
    assert before.total < after.total
    assert pressure() is None or 0 <= (pressure() or 0) <= 1


async def test_the_processor_time_of_a_server_has_that_of_what_it_started() -> None:
    # Linux tells whole ticks of 10 ms, of the user's time and of the system's: 0.4 s may be told as 0.38.
    burn = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ntime.sleep(60)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout
        await process.stdout.readline()
        used = Meter(process.pid).cpu_seconds()
        assert used is not None
        assert used >= 0.3
    finally:
        os.killpg(process.pid, 9)
        await process.wait()
    assert Meter(process.pid).cpu_seconds() is None
