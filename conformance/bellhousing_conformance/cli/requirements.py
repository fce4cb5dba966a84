"""What the suite needs beside the core distribution."""

from importlib.util import find_spec

from bellhousing.errors import ConfigurationError

NEEDED = ("scipy", "jinja2", "prometheus_client")


def check_requirements() -> None:
    """Raise `ConfigurationError` naming what is not installed of the extra `conformance`."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the conformance suite: expected {', '.join(missing)}, found none",
            hint="`pip install bellhousing[conformance]`",
        )
