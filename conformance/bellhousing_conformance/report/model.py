"""`ConformanceReport`: the machine's form of a run. `SCHEMA` changes whenever a reader must."""

from datetime import datetime
from typing import Literal

from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.gates import Gates
from bellhousing_conformance.verdict import Figure, Frozen, Judgement, Status, Tier

SCHEMA: Literal["bellhousing.conformance/1"] = "bellhousing.conformance/1"


class Suite(Frozen):
    """What judged: the suite's version and digest, and the contract's."""

    version: str
    digest: str
    contract: str
    contract_digest: str


class Subject(Frozen):
    """What was judged, as it describes itself; empty strings where the run ended before it did."""

    address: str
    model: str = ""
    backend: str = ""
    backend_version: str = ""
    engine: str = ""
    engine_version: str = ""
    instance_id: str = ""
    model_digest: str = ""
    tokenizer_digest: str = ""
    precision: str = ""
    oracle: str = ""

    @classmethod
    def of(cls, address: str, model: discovery_pb2.Model) -> "Subject":
        """Return what a model tells of itself at an address."""
        return cls(
            address=address,
            model=model.name,
            backend=model.backend,
            backend_version=model.backend_version,
            engine=model.engine,
            engine_version=model.engine_version,
            instance_id=model.instance_id,
            model_digest=model.model_digest,
            tokenizer_digest=model.tokenizer_digest,
            precision=model.precision,
        )


class Host(Frozen):
    """Where the suite ran."""

    system: str
    python: str
    grpcio: str
    cpus: int


class Attempt(Frozen):
    """One sample and what it came to. `samples` is a file beside the report, `sha256` its digest.

    `gates` are measured of the suite itself, for a check that runs alone.
    """

    number: int
    alpha: float | None = None
    seconds: float = 0.0
    judgement: Judgement
    samples: str = ""
    sha256: str = ""
    gates: Gates | None = None


class Result(Frozen):
    """A check and how it came out. `reason` says what no attempt can: why it did not run, or whose fault it was."""

    id: str
    title: str
    profile: str
    requirement: Literal["MUST", "SHOULD"]
    clause: str
    statistic: str
    finds: str
    status: Status
    reason: str = ""
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    reproduce: str = ""
    issue: str = ""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the attempt that decided."""
        return self.attempts[-1].judgement.figures if self.attempts else ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong, a sentence each."""
        told = self.attempts[-1].judgement.problems if self.attempts else ()
        return (*told, self.reason) if self.reason else told


class Profile(Frozen):
    """A profile: PASS when every MUST in it passed or is not supported.

    PARTIAL when some could not be decided, or fail as an open issue says.
    """

    name: str
    verdict: Literal["PASS", "FAIL", "PARTIAL", "ERROR"]
    counts: dict[Status, int]


class ConformanceReport(Frozen):
    """A run.

    `failure` is what kept the suite from judging; empty when nothing did. `left_out` are checks that conformance asks
    for and that this run did not have. `against` is the other target of paired checks.
    """

    schema_version: Literal["bellhousing.conformance/1"] = SCHEMA
    suite: Suite
    subject: Subject
    host: Host
    seed: int
    tier: Tier
    began: datetime
    seconds: float
    profiles: tuple[Profile, ...]
    checks: tuple[Result, ...]
    left_out: tuple[str, ...]
    conformant: bool
    exit_code: int
    failure: str = ""
    against: Subject | None = None
