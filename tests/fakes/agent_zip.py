"""agent.pyz as the laptop builds it, for tests that start a role from the file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import remote_agent

_MAIN = "import sys\nfrom remote_agent.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"


def build_agent_zip(target: Path) -> Path:
    """Write the package ``remote_agent`` and its entry to ``target``."""
    package = Path(remote_agent.__file__).parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", _MAIN)
        for path in sorted(package.rglob("*.py")):
            archive.write(path, str(Path("remote_agent") / path.relative_to(package)))
    return target
