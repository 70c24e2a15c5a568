"""A draft kept as a preset of the user's own, to edit as YAML and to launch again."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from presets.errors import FinetuiError, InvalidInput
from tui.screens.preview import Draft

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def save_preset(draft: Draft, name: str) -> Path:
    """Write the draft's settings as a preset file and return it.

    Raises InvalidInput for a name that can't be used or is taken, FinetuiError when the disk refuses.
    """
    import yaml

    from tui.operations.plan import preset_names, resolve_spec, user_preset_dirs

    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} can't name a preset", remedy="use lower case letters, digits, dots and dashes"
        )
    if name in preset_names():
        raise InvalidInput(f"there is a preset {name!r} already", remedy="choose another name")
    spec = resolve_spec(draft.preset, draft.overrides())
    values = {key: value for key, value in spec.to_dict().items() if value is not None and key != "preset"}
    path = user_preset_dirs()[0] / f"{name}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise FinetuiError(f"can't write {path}", cause=error.strerror or str(error)) from error
    return path


def own_preset(name: str) -> Path | None:
    """Return the file of a preset of the user's own; None for one of finetui's."""
    from tui.operations.plan import user_preset_dirs

    found = [folder / f"{name}.yaml" for folder in user_preset_dirs()]
    return next((path for path in found if path.is_file()), None)


def edit(path: Path) -> None:
    """Open a file in the user's editor and wait for it; raises InvalidInput when there is none."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"can't start the editor {editor!r}",
            cause=str(error),
            remedy="set EDITOR to one that is installed",
        ) from error
    if code != 0:
        raise InvalidInput(f"the editor {editor!r} ended with exit code {code}", remedy=f"the file is {path}")
