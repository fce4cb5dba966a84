"""Adapters and their changes, for who watches them."""

from collections.abc import Callable, Iterator

from bellhousing.adapters.catalogue import Change, Watch
from bellhousing.adapters.record import AdapterRecord
from bellhousing.adapters.views import AdapterView, Filter


class Changes:
    """The adapters that were registered when the watch began, then each change; `close` it in the end."""

    def __init__(
        self, watch: Watch, present: list[AdapterRecord], view: Callable[[AdapterRecord], AdapterView], wanted: Filter
    ) -> None:
        self._watch = watch
        self._present = present
        self._view = view
        self._wanted = wanted
        self._tagged = {each.name for each in present if wanted.tags and wanted.takes_record(each)}
        """Those that would be told of once more if they lost their tags."""

    def present(self) -> Iterator[AdapterView]:
        """Yield the wanted adapters of the beginning, by name, each in its state of now.

        Of ten thousand adapters finding the states takes long: the reader gives others their turn in between.
        """
        return filter(self._wanted.takes, map(self._view, filter(self._wanted.takes_record, self._present)))

    async def next(self) -> tuple[Change, AdapterView]:
        """Return the next change of a wanted adapter; one that loses the tags that are wanted has a last one.

        Raises `Overloaded` when the reader was too slow.
        """
        while True:
            change, record = await self._watch.next()
            view = self._view(record)
            is_wanted = self._wanted.takes_record(record) if change == "removed" else self._wanted.takes(view)
            if is_wanted or record.name in self._tagged:
                self._note(change, record.name, is_wanted=is_wanted)
                return change, view

    def _note(self, change: Change, name: str, *, is_wanted: bool) -> None:
        if is_wanted and change != "removed" and self._wanted.tags:
            self._tagged.add(name)
        else:
            self._tagged.discard(name)

    def close(self) -> None:
        """Hear no more."""
        self._watch.close()
