"""What is read off a target's metrics."""

import pytest
from aiohttp import web

from bellhousing_conformance.exposition import QUEUED, Unscrapable, grown, parsed
from bellhousing_conformance.targets.hooks import HookFailed, metrics_hook

TEXT = """# TYPE bellhousing_requests counter
bellhousing_requests_total{code="OK",model="a"} 3
bellhousing_requests_total{code="OK",model="b"} 4
bellhousing_requests_total{code="CANCELLED",model="a"} 1
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting 2
"""


def test_samples_are_summed_over_the_labels_that_are_not_asked_for() -> None:
    found = parsed(TEXT)
    assert found.total("bellhousing_requests_total") == 8
    assert found.total("bellhousing_requests_total", code="OK") == 7
    assert found.by("bellhousing_requests_total", "code") == {"OK": 7, "CANCELLED": 1}


def test_a_gauge_is_known_by_the_name_of_any_server_of_the_protocol() -> None:
    assert parsed(TEXT).first(QUEUED) == "vllm:num_requests_waiting"
    assert parsed("").first(QUEUED) == ""


def test_growth_has_what_has_changed_and_what_is_new() -> None:
    assert grown({"a": 1, "b": 2}, {"a": 1, "b": 5, "c": 1}) == {"b": 3, "c": 1}


def test_a_page_that_is_no_metrics_is_refused() -> None:
    with pytest.raises(Unscrapable, match="expected Prometheus' text format"):
        parsed("<html>not here{</html>\n")


async def test_the_hook_of_a_url_tells_what_is_there_and_names_what_is_not() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=TEXT, status=200 if request.path == "/metrics" else 404)

    application = web.Application()
    application.router.add_get("/{path}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = runner.addresses[0]
    try:
        assert await metrics_hook(f"http://{url[0]}:{url[1]}/metrics")() == TEXT
        with pytest.raises(HookFailed, match="expected status 200, found 404"):
            await metrics_hook(f"http://{url[0]}:{url[1]}/other")()
    finally:
        await runner.cleanup()
    with pytest.raises(HookFailed, match="hook metrics"):
        await metrics_hook(f"http://{url[0]}:{url[1]}/metrics")()
