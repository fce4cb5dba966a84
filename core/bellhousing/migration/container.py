"""`docker run` and `podman run`: what is the container's, and what is the server's inside it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bellhousing.migration.findings import Finding, shown
from bellhousing.migration.flags import Flag, Shape, split

PROGRAMS = frozenset({"docker", "podman"})
SWITCHES = frozenset(
    {
        *("--rm", "--detach", "-d", "--interactive", "-i", "--tty", "-t", "-it", "-ti", "-dit", "-itd", "-td", "-id"),
        *("--init", "--privileged", "--read-only", "--publish-all", "-P", "--quiet", "-q", "--sig-proxy"),
        *("--no-healthcheck", "--oom-kill-disable"),
    }
)
ENVIRONMENT = frozenset({"-e", "--env"})
VOLUMES = frozenset({"-v", "--volume"})
_ATTACHED = re.compile(r"-([evpu])(.+)")
CONTAINERS = "the container's: Bellhousing runs outside it"
NOTES: Mapping[str, str] = {
    "-p": "the container's: see `server.port` for ours",
    "--publish": "the container's: see `server.port` for ours",
    "--gpus": "the container's: CUDA_VISIBLE_DEVICES chooses GPUs",
    "--env-file": "not read: give the file as another source",
    "--entrypoint": "the program is taken from the image's name and the words after it",
}


@dataclass(frozen=True, slots=True)
class Contained:
    """A command in a container: the words after the image, and what the container is given."""

    image: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: Mapping[str, str]
    notes: tuple[Finding, ...]


def contained(words: Sequence[str]) -> Contained | None:
    """Return what a command runs in a container; None when it runs none."""
    program, *rest = words
    if program.rpartition("/")[2] not in PROGRAMS or "run" not in rest[:2]:
        return None
    rest = _separated(rest[rest.index("run") + 1 :])
    environment: dict[str, str] = {}
    mounts: dict[str, str] = {}
    notes: list[Finding] = []
    place = 0
    for flag in split(rest, _shape):
        if not flag.name:
            break
        place += 1 if flag.name in SWITCHES or "=" in rest[place] else 2
        notes += _taken(flag, environment, mounts)
    image, *inner = rest[place:] or [""]
    return Contained(image, tuple(inner), environment, mounts, tuple(notes))


def _shape(name: str) -> Shape:
    return "switch" if name in SWITCHES else "one"


def _separated(words: Sequence[str]) -> list[str]:
    """Return the words with `-eNAME=VALUE` and its like as two."""
    separated: list[str] = []
    for word in words:
        attached = _ATTACHED.fullmatch(word)
        separated += [f"-{attached[1]}", attached[2]] if attached else [word]
    return separated


def _taken(flag: Flag, environment: dict[str, str], mounts: dict[str, str]) -> list[Finding]:
    """Put a flag of the container where it belongs; return what there is to say of it."""
    name, _, value = flag.value.partition("=")
    if flag.name in ENVIRONMENT:
        environment[name] = value if "=" in flag.value else f"${name}"
        return []
    if flag.name in VOLUMES and flag.value.count(":") in {1, 2}:
        outside, inside, *_ = flag.value.split(":")
        mounts[inside] = outside
        return [Finding(shown(flag.name, flag.value), "changed", reason="paths are those of the host")]
    if flag.name in SWITCHES:
        return []
    return [Finding(shown(flag.name, flag.value), "lost", reason=NOTES.get(flag.name, CONTAINERS))]
