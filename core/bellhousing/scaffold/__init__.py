"""Writes a new backend: a distribution that works from the first minute."""

import re
from pathlib import Path
from string import Template

from bellhousing import registry
from bellhousing.errors import ConfigurationError

TEMPLATE = Path(__file__).parent / "template"
SUFFIX = ".template"


def write_backend(name: str, target: Path) -> Path:
    """Write a backend's distribution into `target` and return it.

    Raises `ConfigurationError` for a name that is not allowed or taken, and for a target that exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigurationError(f"backend name {name!r}: expected lower-case letters, digits and single hyphens")
    if name in {backend.name for backend in registry.installed()}:
        raise ConfigurationError(f"backend name {name!r} is taken by an installed backend")
    if target.exists():
        raise ConfigurationError(f"{str(target)!r} exists already: expected a new directory")
    module = name.replace("-", "_")
    names = {
        "name": name,
        "module": module,
        "class_name": "".join(part.title() for part in name.split("-")) + "Backend",
    }
    for file in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        relative = str(file.relative_to(TEMPLATE)).removesuffix(SUFFIX)
        written = target / relative.replace("package", f"bellhousing_{module}")
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(Template(file.read_text()).substitute(names))
    return target
