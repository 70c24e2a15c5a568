"""Launch: presets on the left, the form in the middle, on the right what the run would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SuspendNotSupported
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import Input, Static

from presets.errors import FinetuiError
from remote_agent.protocol import RunStatus
from tui.messages import Failed
from tui.screens.base import Context, PlaceScreen, bindings_of
from tui.screens.fields import MAIN, MORE, Field, PathSuggester, text_of
from tui.screens.own_presets import edit, own_preset, save_preset
from tui.screens.panels import Panel, PanelDeck
from tui.screens.preset_picker import PresetPicker
from tui.screens.presets_list import PresetCard
from tui.screens.preview import Draft, Preview
from tui.screens.preview_text import preview_content
from tui.screens.prompt import PromptScreen

#: A pause in typing of this length starts a look at the draft (s).
DEBOUNCE_S = 0.3


COLUMNS_HINT = (
    "COLUMN=ROLE,...; empty recognises them; roles: prompt, input, response, system, messages, text"
)


class LaunchScreen(PlaceScreen):
    """Collects a draft, shows what it means, launches it."""

    CSS_PATH = "launch.tcss"
    place = "launch"
    AUTO_FOCUS = "#preset-filter"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("launch")

    def __init__(self, context: Context, preset: str = "") -> None:
        super().__init__(context)
        self._wanted = preset
        self._card: PresetCard | None = None
        self._preview: Preview | None = None
        self._asked = 0
        self._launching = False
        self._launched_draft: Draft | None = None
        self._refusal: tuple[Draft, BaseException] | None = None
        self._timer: Timer | None = None

    def body(self) -> Iterable[Any]:
        """Yield the three panels."""
        form = VerticalScroll(
            Field("data", "Dataset", "a .jsonl, .json or .csv file", suggester=PathSuggester()),
            Field("target", "Machine", "local, an SSH alias, or user@host:port", value="local"),
            Field("mapping", "Columns", COLUMNS_HINT),
            *(Field(key, label, hint) for key, (label, hint) in MAIN.items()),
            Static("More settings: F6", id="more-title"),
            *(Field(key, label, hint) for key, (label, hint) in MORE.items()),
            id="form", can_focus=False,
        )  # fmt: skip
        yield PanelDeck(
            Panel("presets", "Presets", PresetPicker(), key="F3"),
            Panel("settings", "Settings", form, key="F4"),
            Panel("preview", "Preview", VerticalScroll(Static(id="preview"), id="preview-scroll"), key="F5"),
            action="show",
            small=(110, 20),
        )

    def on_mount(self) -> None:
        """Load the presets; the form is filled when one is chosen."""
        self._show_more(False)
        self.in_background("list the presets", self.context.backend.presets, self._list)

    # Presets

    def _list(self, cards: list[PresetCard]) -> None:
        self.query_one(PresetPicker).show(cards, self._wanted)

    def on_preset_picker_highlighted(self, message: PresetPicker.Highlighted) -> None:
        """Fill the form with the preset's values; data, machine and columns stay."""
        if message.card == self._card:
            return
        self._card = message.card
        for field in self.query(Field):
            if field.key in self._card.values:
                field.put(text_of(self._card.values[field.key]))
        self._look_soon()

    def on_preset_picker_taken(self) -> None:
        """Go on to the dataset."""
        self.query_one(PanelDeck).show("settings")

    # Form and preview

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look at the draft when the typing pauses."""
        event.stop()
        self._look_soon()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a field goes to the next one."""
        event.stop()
        self.focus_next()

    def _look_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_S, self._look)

    def _look(self) -> None:
        draft = self.draft()
        if draft is None:
            return
        self._asked += 1
        asked = self._asked
        sample = self.context.board.samples.get(draft.target)
        self.in_background(
            "look at the draft", partial(self.context.backend.look_at, draft, sample[0] if sample else None),
            lambda preview: self._show_preview(preview) if asked == self._asked else None,
        )  # fmt: skip

    def draft(self) -> Draft | None:
        """Return what the form says; None until a preset is chosen."""
        if self._card is None:
            return None
        values = {field.key: field.value for field in self.query(Field)}
        sets = tuple(
            (key, value or "null")
            for key, value in values.items()
            if key in self._card.values and value != text_of(self._card.values[key])
        )
        return Draft(self._card.name, values["data"], values["target"] or "local", values["mapping"], sets)

    def _show_preview(self, preview: Preview) -> None:
        self._preview = preview
        self._show_problems(preview.problems)
        # What launching this very draft found out stays until something is changed; it may be tried again.
        refused = self._refusal is not None and self._refusal[0] == self.draft()
        error = self._refusal[1] if self._refusal is not None and refused else None
        self.query_one("#preview", Static).update(preview_content(preview, error, self.context.ascii))

    def _show_problems(self, problems: Any) -> None:
        for field in self.query(Field):
            error = problems.get(field.key)
            field.say(f"{error.message} {error.remedy}".strip() if error else "")

    # Keys

    def action_show(self, name: str) -> None:
        """Go to a panel."""
        self.query_one(PanelDeck).show(name)

    def action_zoom(self) -> None:
        """Zoom the panel with the focus."""
        self.query_one(PanelDeck).toggle_zoom()

    def action_more(self) -> None:
        """Show or hide the less common settings."""
        self._show_more(not self.query_one(f"#field-{next(iter(MORE))}").parent.parent.display)  # type: ignore[union-attr]

    def _show_more(self, shown: bool) -> None:
        for field in self.query(Field):
            if field.key in MORE:
                field.display = shown
        self.query_one("#more-title").display = not shown

    def action_save(self) -> None:
        """Keep the draft as a preset of the user's own."""
        self._save_as(lambda path: self.notify(f"Saved {path}"))

    def action_edit(self) -> None:
        """Edit the preset's YAML; one of finetui's is kept under another name first."""
        draft = self.draft()
        path = own_preset(draft.preset) if draft else None
        if path is not None:
            self._edit(path)
        else:
            self._save_as(self._edit)

    def _save_as(self, then: Callable[[Path], None]) -> None:
        draft = self.draft()
        if draft is None:
            return

        def named(name: str | None) -> None:
            if name:
                self.in_background("save the preset", partial(save_preset, draft, name), saved)

        def saved(path: Path) -> None:
            self._reload(path.stem)
            then(path)

        self.app.push_screen(PromptScreen("Name of my preset", f"my-{draft.preset}"), named)

    def _edit(self, path: Path) -> None:
        try:
            with self.app.suspend():
                edit(path)
        except SuspendNotSupported:
            self.notify(f"This terminal can't be handed to an editor; the file is {path}", severity="warning")
        except FinetuiError as error:
            self.post_message(Failed("edit the preset", error))
        self._reload(path.stem)

    def _reload(self, name: str) -> None:
        """Read the presets again and choose one."""
        self._wanted, self._card = name, None
        self.in_background("list the presets", self.context.backend.presets, self._list)

    def action_launch(self) -> None:
        """Launch the draft, unless something is known to be wrong with it."""
        draft = self.draft()
        if draft is None or self._launching:
            return
        if self._preview is not None and self._preview.draft == draft and not self._preview.ready:
            self._focus_problem(self._preview)
            return
        self._launching, self._launched_draft = True, draft
        self.notify(f"Launching {draft.preset} on {draft.target}")
        self.in_background(
            "launch the run", partial(self.context.backend.launch, draft), self._launched, self._refused
        )

    def _focus_problem(self, preview: Preview) -> None:
        key = next(iter(preview.problems))
        self.notify(preview.problems[key].message, severity="error")
        for field in self.query(Field):
            if field.key == key:
                if key in MORE:
                    self._show_more(True)
                self.query_one(PanelDeck).show("settings")
                field.query_one(Input).focus()
                return
        self.query_one(PanelDeck).show("preview")

    def _launched(self, status: RunStatus) -> None:
        from tui.screens.run import RunScreen

        draft = self._launched_draft
        known = self.context.board.launched(draft.target if draft else "local", status)
        self.app.switch_screen(RunScreen(self.context, known))

    def _refused(self, error: BaseException) -> None:
        self._launching = False
        draft = self._launched_draft
        self._refusal = (draft, error) if draft is not None else None
        if self._preview is not None:
            self._show_preview(self._preview)
        self.query_one(PanelDeck).show("preview")
        self.notify(str(getattr(error, "message", error)), title="Not launched", severity="error")
