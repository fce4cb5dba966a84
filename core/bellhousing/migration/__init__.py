"""Reading how another server is launched today, and writing the configuration that does the same here.

What core knows is generic: shell lines, environments, containers, and how a table of rules is applied. What each flag
of an engine means is in its backend, which offers an `Origin` by the hook `bellhousing_migrations`.
"""

from bellhousing.migration.draft import Draft, Migration
from bellhousing.migration.findings import Finding, Verdict
from bellhousing.migration.flags import Flag, Shape, split
from bellhousing.migration.launch import Command, Launch
from bellhousing.migration.origin import Origin
from bellhousing.migration.rules import Outcome, Rule, already, fixed, lost, stays, to

__all__ = [
    "Command",
    "Draft",
    "Finding",
    "Flag",
    "Launch",
    "Migration",
    "Origin",
    "Outcome",
    "Rule",
    "Shape",
    "Verdict",
    "already",
    "fixed",
    "lost",
    "split",
    "stays",
    "to",
]
