"""Which checks a command means."""

import difflib
from collections.abc import Sequence

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.check import PROFILES, Check, catalogue
from bellhousing_conformance.verdict import TIERS, Tier


def find(check_id: str) -> Check:
    """Return a check. Raises `ConfigurationError` telling the near ids."""
    return selected("full", "", [check_id])[0]


def tier_of(name: str) -> Tier:
    """Return the tier of a name. Raises `ConfigurationError`."""
    for tier in TIERS:
        if tier == name:
            return tier
    raise ConfigurationError(f"--tier {name!r}: expected {', '.join(TIERS)}")


def selected(tier: Tier, profiles: str, ids: Sequence[str]) -> list[Check]:
    """Return the checks of a tier, of profiles (separated by commas; all when empty), or just those of some ids.

    Raises `ConfigurationError` for a profile or an id that does not exist.
    """
    known = {check.id: check for check in catalogue()}
    for wanted in ids:
        if wanted not in known:
            near = difflib.get_close_matches(wanted.upper(), known, n=3, cutoff=0.3) or sorted(known)
            raise ConfigurationError(f"no check has the id {wanted!r}; near: {', '.join(near)}")
    chosen = [name.strip() for name in profiles.split(",") if name.strip()]
    for name in chosen:
        if name not in PROFILES:
            raise ConfigurationError(f"--profile {name!r}: expected some of {', '.join(PROFILES)}")
    if ids:
        return [known[wanted] for wanted in ids]
    return [check for check in known.values() if check.is_in(tier) and (not chosen or check.profile in chosen)]
