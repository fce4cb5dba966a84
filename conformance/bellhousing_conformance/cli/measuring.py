"""Flags of what measures: objectives, the load to offer, the engine's own API."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.bench import Bench
from bellhousing_conformance.load.clients import KINDS, client_of
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.slo import load_slo


@dataclass(frozen=True, slots=True)
class Measures:
    """How to measure, as flags; each is optional."""

    slo: Annotated[Path | None, Option(help="TOML of objectives: only they make PASS or FAIL of an estimate.")] = None
    capacity: Annotated[
        float | None, Option(help="Requests a second that loads are shares of; measured unless told.")
    ] = None
    native: Annotated[
        str, Option(help=f"The engine's own API, for LT6: {', '.join(KINDS)}.", metavar="KIND=ADDRESS")
    ] = ""
    native_model: Annotated[str, Option(help="The model's name there; the target's unless told.")] = ""
    soak: Annotated[float | None, Option(help="Seconds of a soak; an hour in the tier full.", min=1)] = None

    def bench(self, model: str) -> Bench:
        """Return what the checks that measure are told. Raises `ConfigurationError`."""
        if self.capacity is not None and not 0 < self.capacity < float("inf"):
            raise ConfigurationError(f"--capacity: expected requests a second above 0, found {self.capacity:g}")
        return Bench(
            slo=load_slo(self.slo) if self.slo else None,
            capacity=self.capacity,
            native=_native(self.native, self.native_model or model) if self.native else None,
            soak_seconds=self.soak,
        )

    def flags(self) -> list[str]:
        """Return the flags that measure the same again."""
        named: Mapping[str, object] = {
            "--slo": self.slo, "--capacity": self.capacity, "--native": self.native,
            "--native-model": self.native_model, "--soak": self.soak,
        }  # fmt: skip
        return [f"{name}={value}" for name, value in named.items() if value]


def _native(told: str, model: str) -> Endpoint:
    kind, separator, address = told.partition("=")
    if not separator or not address or kind not in KINDS:
        raise ConfigurationError(f"--native: expected KIND=ADDRESS with a kind of {', '.join(KINDS)}, found {told!r}")
    try:
        client_of(whole := Endpoint(kind, address, model))
    except ConfigurationError:  # an API that cannot ignore the end token: both ways end by themselves
        return Endpoint(kind, address, model, natural=True)
    return whole
