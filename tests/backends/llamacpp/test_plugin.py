import os
from importlib.metadata import version

from bellhousing.plugins import Plugins
from bellhousing_llamacpp import plugin


def test_the_doctor_tells_of_the_wheel_the_processor_the_memory_and_the_gpus() -> None:
    plugins = Plugins()
    plugins.register(plugin)
    findings = {finding.subject: finding for finding in plugins.doctor()}
    assert findings["llama.cpp"].found == f"xllamacpp {version('xllamacpp')}, {os.cpu_count()} processors"
    assert findings["llama.cpp vector instructions"].found
    assert "MiB free" in findings["memory"].found
    assert "llama.cpp GPUs" in findings


def test_a_processor_without_avx2_is_warned_of() -> None:
    assert plugin._instructions("CPU : SSE3 = 1 | AVX2 = 1 | ").verdict == "ok"
    slow = plugin._instructions("CPU : SSE3 = 1 | AVX2 = 0 | ")
    assert (slow.found, slow.verdict) in (("SSE3", "warning"), ("SSE3", "ok"))
