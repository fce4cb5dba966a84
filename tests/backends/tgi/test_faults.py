"""What a client of ours gets when a router misbehaves: a real server in front of a scripted router."""

import asyncio

import pytest

from bellhousing import AsyncClient
from bellhousing.client import RequestFailed
from bellhousing.errors import (
    BellhousingError,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    StreamBroken,
)
from tests.backends.tgi.conftest import PROMPT, STREAM, Attached, attached_to, scripted
from tests.engines.faults import Fault, bad_frame, comments, cut, cut_characters, html, instead, joined, no_end, slow_bytes
from tests.engines.server import as_json, whole
from tests.engines.tgi import COMMENT, error_frame, event
