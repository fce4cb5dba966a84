"""A process that changes a registry and a cache until it is killed.

`python -m tests.core.adapters.crashing URL FOLDER SEED`

Each operation is told on standard output once it was acknowledged, and before it begins.
"""

import random
import sys
from pathlib import Path

from bellhousing.adapters.cache import AdapterCache
from bellhousing.adapters.files import Rules, read
from bellhousing.adapters.record import AdapterRecord
from bellhousing.adapters.store import Store
from bellhousing.errors import BellhousingError

NAMES = [f"a{number}" for number in range(20)]
OPERATIONS = ("put", "remove", "pin", "free", "keep")


def main(url: str, folder: Path, seed: int) -> None:
    """Change things at random, for ever."""
    store, cache, draw = Store(url), AdapterCache(folder, 2000), random.Random(seed)
    while True:
        what, name = draw.choice(OPERATIONS), draw.choice(NAMES)
        tell("begin", what, name)
        try:
            operate(store, cache, what, name, seed)
        except BellhousingError:
            tell("refused", what, name)
        else:
            tell("done", what, name)


def tell(*words: str) -> None:
    """Write a line, at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def operate(store: Store, cache: AdapterCache, what: str, name: str, seed: int) -> None:
    """Do one operation."""
    if what == "put":
        store.put_all([AdapterRecord("sim", name, f"file:///{name}", digest=f"sha256:{name}", tags=(name, "all"))])
    elif what == "remove":
        store.remove("sim", name)
    elif what in ("pin", "free"):
        store.change("sim", name, pinned=what == "pin")
    else:
        with cache.staging() as staged:
            target = staged / "adapter"
            target.mkdir()
            (target / "adapter_model.safetensors").write_bytes(f"{name} {seed % 3}".encode() * 50)
            (target / "adapter_config.json").write_text("{}")
            contents = read(target, Rules((staged.resolve(),), 1 << 20))
            cache.keep(staged, contents.digest, contents.config_digest).release()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
