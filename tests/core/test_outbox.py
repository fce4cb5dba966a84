"""Between engine and reader."""

import asyncio

import pytest

from bellhousing.errors import EngineFault
from bellhousing.events import Delta, Started
from bellhousing.outbox import MERGE_LIMIT, NEVER_DEPTH, Outbox


async def drain(outbox: Outbox) -> list[Started | Delta]:
    items = []
    while (item := await outbox.take()) is not None:
        items.append(item)
    return items


async def test_what_waits_is_merged_without_changing_order_text_or_ids() -> None:
    outbox = Outbox(coalesce=True)
    outbox.put([Started(), *(Delta(str(n), (n,)) for n in range(5))])
    outbox.close()
    assert await drain(outbox) == [Started(), Delta("01234", (0, 1, 2, 3, 4), token_count=5)]


async def test_sequences_are_merged_apart() -> None:
    outbox = Outbox(coalesce=True)
    outbox.put(Delta(str(n), (n,), index=n % 2) for n in range(6))
    outbox.close()
    assert [(d.index, d.text) for d in await drain(outbox) if isinstance(d, Delta)] == [(0, "024"), (1, "135")]


async def test_a_merged_message_is_bounded() -> None:
    outbox = Outbox(coalesce=True)
    outbox.put(Delta("x", (1,)) for _ in range(3 * MERGE_LIMIT))
    outbox.close()
    assert [len(d.token_ids) for d in await drain(outbox) if isinstance(d, Delta)] == [MERGE_LIMIT] * 3


async def test_without_merging_each_delta_is_alone_and_the_producer_waits() -> None:
    outbox = Outbox(coalesce=False)
    outbox.put(Delta(str(n), (n,)) for n in range(NEVER_DEPTH))
    assert outbox.is_full
    waiting = asyncio.create_task(outbox.room())
    for expected in range(NEVER_DEPTH // 2 + 1):
        item = await outbox.take()
        assert isinstance(item, Delta)
        assert item.token_ids == (expected,)
        await asyncio.sleep(0)
    await asyncio.wait_for(waiting, 20)


async def test_an_error_comes_after_what_the_reader_is_owed() -> None:
    outbox = Outbox(coalesce=True)
    outbox.put([Delta("last", (1,))])
    outbox.close(EngineFault("broken"))
    outbox.close()
    assert await outbox.take() == Delta("last", (1,))
    with pytest.raises(EngineFault):
        await outbox.take()


async def test_a_waiting_reader_wakes_for_an_item_and_for_the_end() -> None:
    outbox = Outbox(coalesce=True)
    reader = asyncio.create_task(drain(outbox))
    await asyncio.sleep(0)
    outbox.put([Delta("a", (1,))])
    await asyncio.sleep(0)
    outbox.close()
    assert await asyncio.wait_for(reader, 20) == [Delta("a", (1,))]
