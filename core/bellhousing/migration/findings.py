"""What became of each thing that a launch says."""

import re
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["kept", "changed", "lost", "unknown"]
"""`kept`: the same here; `changed`: kept, but not word for word; `lost`: cannot be kept; `unknown`: not understood."""
SECRET = re.compile(r"(^|[-_.])(api_?key|key|token|authtoken|secret|password|passwd|credentials?)$", re.IGNORECASE)
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Finding:
    """One flag, variable or instruction as it was given, secrets hidden; what it becomes; and why, where it differs."""

    source: str
    verdict: Verdict
    becomes: str = ""
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        """Tell whether it has its effect here."""
        return self.verdict in {"kept", "changed"}


def is_secret(name: str) -> bool:
    """Tell whether a flag or variable of this name holds a secret, such as `--api-key` or `HF_TOKEN`."""
    return SECRET.search(name) is not None


def shown(name: str, value: str, separator: str = " ") -> str:
    """Return a flag or variable with its value, which is hidden when the name says that it is a secret."""
    return f"{name}{separator}{HIDDEN if is_secret(name) else value}" if value else name
