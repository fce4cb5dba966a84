"""What a backend offers: one server whose launches it can read."""

from collections.abc import Callable
from dataclasses import dataclass

from bellhousing.migration.draft import Draft
from bellhousing.migration.launch import Launch


@dataclass(frozen=True, slots=True)
class Origin:
    """A server to migrate from.

    `name` is the word after `bellhousing migrate`, `backend` the backend that takes over, `reads` says in a few words
    what may be given. `read` puts every word of the launch into the draft: what it leaves out is a defect.
    `is_document` tells a text in a format of the server's own from a command or an environment.
    """

    name: str
    backend: str
    reads: str
    read: Callable[[Launch, Draft], None]
    is_document: Callable[[str], bool] = lambda _text: False
