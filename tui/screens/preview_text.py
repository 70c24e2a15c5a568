"""The launch screen's preview as text."""

from __future__ import annotations

from textual.content import Content

from presets import templates
from presets.sizing import Estimate
from tui.screens.preview import Preview
from tui.screens.problem import describe
from tui.screens.run_text import bar
from tui.screens.wording import plural, safe, size

#: Characters of a turn that the preview shows.
_TURN = 400


def preview_content(
    preview: Preview, refusal: BaseException | None = None, ascii_only: bool = False
) -> Content:
    """Return why launching failed, problems, data, memory, first rows, command and YAML."""
    parts: list[Content] = []
    bad, good = ("!", "+") if ascii_only else ("✗", "✓")
    if refusal is not None:
        parts.append(Content.styled(f"{bad} Not launched: {describe(refusal)}\n", "bold $error"))
    for error in preview.problems.values():
        parts.append(Content.styled(f"{bad} {safe(error.message)}", "bold $error"))
        parts += [Content(f"  {safe(text)}") for text in (error.cause, error.remedy) if text]
    for finding in preview.findings:
        colour = {"error": "error", "warning": "warning"}.get(finding.level, "text-muted")
        lead = bad if finding.level == "error" else "!" if finding.level == "warning" else "-"
        parts.append(Content.styled(f"{lead} {safe(finding.reason)}", f"${colour}"))
        parts += [Content(f"  {safe(finding.fix)}")] if finding.fix else []
    if preview.ready:
        parts.append(Content.styled(f"{good} Ready to launch: ctrl+l", "bold $success"))
    if preview.spec is not None and preview.spec.why:
        parts += [Content(""), Content(safe(preview.spec.why)), Content(safe(f"Needs: {preview.spec.needs}"))]
    parts += [Content(""), *_data(preview)]
    if preview.estimate is not None:
        parts += [Content(""), *_memory(preview, preview.estimate, ascii_only)]
    parts += _rows(preview)
    if preview.command:
        parts += [Content(""), _title("Command"), Content(safe(preview.command))]
    if preview.yaml:
        parts += [Content(""), _title(_yaml_title(preview)), Content(safe(preview.yaml.rstrip()))]
    return Content("\n").join(parts)


def _yaml_title(preview: Preview) -> str:
    is_axolotl = preview.spec is not None and preview.spec.trainer == "axolotl"
    return f"{'Axolotl' if is_axolotl else 'LLaMA-Factory'} YAML"


def _title(text: str) -> Content:
    return Content.styled(text, "bold $accent")


def _data(preview: Preview) -> list[Content]:
    data = preview.data
    if data is None:
        return []
    own = "The demo's own rows: " if not preview.draft.data else ""
    roles = ", ".join(f"{column} is the {role}" for column, role in data.roles)
    lengths = data.lengths
    return [
        _title("Data"),
        Content(f"{own}{plural(data.rows, 'row')}, {data.layout} in {data.format}: {safe(roles)}"),
        Content(f"about {lengths.median} tokens a row, at most {lengths.max}; {lengths.total:,} in all"),
    ]


def _rows(preview: Preview) -> list[Content]:
    lines: list[Content] = []
    for number, row in enumerate(preview.data.first if preview.data is not None else (), 1):
        seen = templates.preview(preview.spec, row) if preview.spec is not None else None
        if seen is None:
            lines += [Content(""), _title(f"Row {number}")]
            lines += [Content.assemble((f"{turn.role}: ", "bold"), _cut(turn.content)) for turn in row]
        else:
            lines += [
                Content(""),
                _title(f"Row {number} as the model sees it; what is trained is underlined"),
            ]
            marked = [(_cut(part.text), "underline" if part.trained else "") for part in seen]
            lines.append(Content.assemble(*marked))
    return lines


def _cut(text: str) -> str:
    return safe(text[:_TURN]) + (" ..." if len(text) > _TURN else "")


def _memory(preview: Preview, estimate: Estimate, ascii_only: bool) -> list[Content]:
    parts = ", ".join(f"{name} {size(value)}" for name, value in estimate.parts if value)
    lines = [_title("Memory, estimated")]
    if preview.card is not None:
        name, vram = preview.card
        share = estimate.per_gpu_bytes / vram
        colour = "success" if share <= 0.85 else "warning" if share <= 1 else "error"
        lines.append(
            Content.assemble(
                (bar(share, 24, ascii_only), f"${colour}"), f" {share:.0%} of {safe(name)} ({size(vram)})"
            )
        )
    return [
        *lines,
        Content(f"{size(estimate.per_gpu_bytes)} on each GPU: {parts}"),
        Content(f"{size(estimate.host_bytes)} of RAM, {size(estimate.disk_bytes)} of disk"),
    ]
