"""Check that relative links of the repository's Markdown lead to files and headings that exist.

python -m tools.check_links
"""

import difflib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from tools.protoc import ROOT

FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
CODE = re.compile(r"(`+)(?:(?!\1).)+\1")
LINKS = (
    re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)"),  # [text](target "title"), and images
    re.compile(r"^ {0,3}\[[^\]^]+\]:\s*<?(\S+?)>?(?:\s|$)"),  # [label]: target
    re.compile(r"""\b(?:href|src|srcset)=["']([^"'\s]+)["']"""),
)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
ANCHOR = re.compile(r"""\b(?:id|name)=["']([^"']+)["']""")
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def broken_links(files: Iterable[Path], root: Path) -> list[str]:
    """Return one line for each relative link of `files` that leads nowhere: where it is, what it says, what is there.

    A target that begins with `/` counts from `root`.
    """
    return [fault for file in files for fault in _broken_in(file, root)]


def anchors(text: str) -> list[str]:
    """Return the anchors of a document as GitHub makes them: of its headings, and explicit ones."""
    found: list[str] = []
    seen = Counter[str]()
    for _, line in _prose(text, keep_code=True):
        heading = HEADING.match(line)
        if heading:
            slug = _slug(heading.group(1))
            found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        found += ANCHOR.findall(line)
    return found


def _broken_in(file: Path, root: Path) -> Iterator[str]:
    for number, line in _prose(file.read_text(encoding="utf-8"), keep_code=False):
        for target in (target for pattern in LINKS for target in pattern.findall(line)):
            fault = None if ELSEWHERE.match(target) else _fault(target, file, root)
            if fault:
                yield f"{file.relative_to(root)}:{number}: link {target!r}: {fault}"


def _fault(target: str, file: Path, root: Path) -> str | None:
    """Return what is wrong with a relative target, None if nothing is."""
    place, _, anchor = unquote(target).partition("#")
    path = (root / place.lstrip("/") if place.startswith("/") else file.parent / place) if place else file
    if not path.exists():
        return f"no such file or folder: {path}"
    if not anchor or path.suffix != ".md":
        return None
    known = anchors(path.read_text(encoding="utf-8"))
    if anchor in known:
        return None
    near = difflib.get_close_matches(anchor, known, n=1)
    return f"no heading #{anchor} in {path.name}" + (f"; did you mean #{near[0]}?" if near else "")


def _prose(text: str, *, keep_code: bool) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines outside fenced blocks; code within a line is blanked unless `keep_code`."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and mark.group(1).startswith(fence):
            fence = ""
        elif not fence:
            yield number, line if keep_code else CODE.sub("", line)


def _slug(heading: str) -> str:
    """Return GitHub's anchor of a heading: lower case, punctuation dropped, spaces to hyphens."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def main() -> int:
    """Return 0, or 1 when a link is broken. Looks at the files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = [ROOT / name for name in listed if (ROOT / name).is_file()]
    faults = broken_links(files, ROOT)
    print(*faults, sep="\n", file=sys.stderr, end="\n" if faults else "")
    print(f"links: {len(files)} documents, {len(faults)} broken")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
