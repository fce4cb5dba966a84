"""Adapters as resources: a registry that outlives the server, and their way onto the device and off it."""

from bellhousing.adapters.adapters import Adapters, Listeners
from bellhousing.adapters.cache import AdapterCache
from bellhousing.adapters.catalogue import Catalogue, Change, Location
from bellhousing.adapters.claims import NoWish, Wish
from bellhousing.adapters.fetching import SourceRules
from bellhousing.adapters.policies import PolicyName
from bellhousing.adapters.record import AdapterRecord, AdapterState
from bellhousing.adapters.registration import Registration
from bellhousing.adapters.room import Room
from bellhousing.adapters.supply import Supply
from bellhousing.adapters.views import AdapterView, Filter

__all__ = [
    "AdapterCache",
    "AdapterRecord",
    "AdapterState",
    "AdapterView",
    "Adapters",
    "Catalogue",
    "Change",
    "Filter",
    "Listeners",
    "Location",
    "NoWish",
    "PolicyName",
    "Registration",
    "Room",
    "SourceRules",
    "Supply",
    "Wish",
]
