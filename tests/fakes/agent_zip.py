"""agent.pyz as the laptop builds it, for tests that start a role from the file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import remote_agent

_MAIN = "import sys\nfrom remote_agent.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"


def build_agent_zip(
    target: Path, *, version: str = "", changes: Mapping[str, tuple[str, str]] | None = None
) -> Path:
    """Write the package ``remote_agent`` and its entry to ``target``.

    ``version`` gives the build another one; ``changes`` maps a module's file to (text, replacement).
    """
    package = Path(remote_agent.__file__).parent
    changes = dict(changes or {})
    if version:
        changes["__init__.py"] = (f'VERSION = "{remote_agent.VERSION}"', f'VERSION = "{version}"')
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", _MAIN)
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(package).as_posix()
            text = path.read_text()
            if name in changes:
                old, new = changes[name]
                assert old in text, f"{name} has no {old!r}"
                text = text.replace(old, new)
            archive.writestr(f"remote_agent/{name}", text)
    return target
