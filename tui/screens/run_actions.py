"""Stop, resume, delete and chat: what both the list of runs and the screen of one run offer."""

from __future__ import annotations

from remote_agent.protocol import Checkpoint, Sample
from tui.screens.base import PlaceScreen
from tui.screens.board import KnownRun
from tui.screens.confirm import ConfirmScreen
from tui.screens.wording import plural, short_id, size


class RunActions(PlaceScreen):
    """Subclasses say which run, and which checkpoint if any, an action is about."""

    def chosen_run(self) -> KnownRun | None:
        """Return the run that the user means; None when there is none."""
        return None

    def chosen_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint that the user means; None for the newest."""
        return None

    def base_chosen(self) -> bool:
        """Tell whether the user means the base model."""
        return False

    def _reachable(self, known: KnownRun) -> bool:
        if not self.context.board.stale(known):
            return True
        self.notify(f"{known.target} is not connected; try again when it is", severity="warning")
        return False

    def action_stop_run(self) -> None:
        """Ask, then stop: gracefully first, by force when it is stopping already."""
        known = self.chosen_run()
        if known is None or not self._reachable(known):
            return
        name = short_id(known.run)
        if not known.active:
            self.notify(f"Run {name} has ended already: {known.status.state}")
            return
        force = known.status.state == "stopping"
        if force:
            title, verb = f"Kill run {name} now?", "Kill"
            body = "It is stopping already. Killed, it loses every step since its last checkpoint."
        elif known.status.kind == "serve":
            title, verb = f"Stop the model server {name}?", "Stop"
            body = f"It serves {known.status.parent}. Chats with it end; nothing is lost."
        else:
            title, verb = f"Stop run {name}?", "Stop"
            body = (
                "It finishes two more steps, saves a full checkpoint and ends. It can be resumed from there."
            )

        def answered(yes: bool | None) -> None:
            if yes:
                self.in_background(
                    "stop", lambda: self.context.backend.stop(known.target, known.run, force),
                    lambda _: self.notify(f"Run {name} is stopping"),
                )  # fmt: skip

        self.app.push_screen(ConfirmScreen(title, body, verb), answered)

    def action_resume_run(self) -> None:
        """Go on from the chosen checkpoint, or the newest resumable one."""
        known = self.chosen_run()
        if known is None or not self._reachable(known):
            return
        name = short_id(known.run)
        if known.active:
            self.notify(f"Run {name} is still {known.status.state}; stop it first to resume elsewhere")
            return
        checkpoint = self.chosen_checkpoint()
        step = checkpoint.step if checkpoint else None
        where = f"step {step}" if step is not None else "its newest checkpoint"
        self.in_background(
            "resume", lambda: self.context.backend.resume(known.target, known.run, step),
            lambda _: self.notify(f"Run {name} goes on from {where}"),
        )  # fmt: skip

    def action_delete_run(self) -> None:
        """Look up what would be destroyed, then ask."""
        known = self.chosen_run()
        if known is None or not self._reachable(known):
            return
        if known.active:
            self.notify(
                f"Run {short_id(known.run)} is {known.status.state}; stop it first", severity="warning"
            )
            return
        self.in_background(
            "list what would be deleted",
            lambda: self.context.backend.checkpoints(known.target, known.run),
            lambda found: self._ask_delete(known, found),
        )

    def _ask_delete(self, known: KnownRun, checkpoints: list[Checkpoint]) -> None:
        total = sum(item.bytes for item in checkpoints)
        lines = [
            f"This destroys, on {known.target} and in the history here:",
            "  its log, metrics and settings",
        ]
        if checkpoints:
            at = ", ".join(str(item.step) for item in checkpoints)
            lines.append(f"  {plural(len(checkpoints), 'checkpoint')} ({size(total)}), at step {at}")
        lines.append("It can't be undone.")
        title = f"Delete run {short_id(known.run)} ({known.status.preset})?"

        def deleted(freed_bytes: int) -> None:
            self.notify(f"Deleted; {size(freed_bytes)} are free again")
            self.run_deleted(known)

        def answered(yes: bool | None) -> None:
            if yes:
                self.in_background(
                    "delete", lambda: self.context.backend.delete(known.target, known.run), deleted
                )

        self.app.push_screen(ConfirmScreen(title, "\n".join(lines), "Delete"), answered)

    def run_deleted(self, known: KnownRun) -> None:
        """Drop a deleted run from what is known."""
        self.context.board.runs.pop(known.run, None)

    def action_chat(self) -> None:
        """Open the chat against the chosen checkpoint, or the newest; a server's own model for a server."""
        known = self.chosen_run()
        if known is None or not self._reachable(known):
            return
        checkpoint = self.chosen_checkpoint()
        if checkpoint is not None and not checkpoint.complete:
            self.notify(f"Step {checkpoint.step} is not complete: {checkpoint.missing}", severity="warning")
            return
        step = "base" if self.base_chosen() else checkpoint.step if checkpoint else None
        if known.active and known.status.kind == "train":
            self._ask_beside_training(known, step)
        else:
            self._open_chat(known, step)

    def _open_chat(self, known: KnownRun, step: int | str | None) -> None:
        from tui.screens.chat import ChatScreen

        self.app.push_screen(ChatScreen(self.context, known, step))

    def _ask_beside_training(self, known: KnownRun, step: int | str | None) -> None:
        """A model that is served takes memory and cores from a run that trains: say so and ask."""
        sample = self.context.board.samples.get(known.target)

        def answered(yes: bool | None) -> None:
            if yes:
                self._open_chat(known, step)

        self.app.push_screen(
            ConfirmScreen(
                "Load a model beside the training?",
                beside_training(sample[0] if sample else None),
                "Load",
                "Wait",
            ),
            answered,
        )

    def action_copy_run(self) -> None:
        """Copy the run's full id through the terminal."""
        known = self.chosen_run()
        if known is not None:
            self.app.copy_to_clipboard(known.run)
            self.notify(f"Copied {known.run}")


def beside_training(sample: Sample | None) -> str:
    """Say what a model server would share with a run that trains; bytes from the machine's newest sample."""
    lines = ["This run is training. A model that is served for the chat shares its machine:"]
    gpus = sample.gpus if sample else ()
    for gpu in gpus:
        if gpu.vram_total_bytes is not None and gpu.vram_used_bytes is not None:
            free = size(gpu.vram_total_bytes - gpu.vram_used_bytes)
            lines.append(f"  GPU{gpu.index} {gpu.name}: {free} of {size(gpu.vram_total_bytes)} free")
    if sample and sample.ram_total_bytes is not None and sample.ram_used_bytes is not None:
        lines.append(f"  RAM: {size(sample.ram_total_bytes - sample.ram_used_bytes)} free")
    if gpus:
        lines.append("If the model does not fit into what is free, the training may fail for lack of memory.")
    else:
        lines.append("There is no GPU: both share the cores, and the training goes slower while it answers.")
    lines.append("It is unloaded by itself when it is left idle for 15 minutes.")
    return "\n".join(lines)
