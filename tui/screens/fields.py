"""The form of the launch screen: labelled fields, each with its problem beside it."""

from __future__ import annotations

import os
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import Input, Label, Static

#: Setting -> (label, hint with unit or choices); the ones that people change first.
MAIN = {
    "model": ("Model", "a Hugging Face name, or a folder on the target"),
    "method": ("Method", "full, freeze, lora or qlora"),
    "gpus": ("GPUs", "ranks; on a machine without GPUs each takes a share of the cores"),
    "zero_stage": ("ZeRO stage", "0 to 3; empty trains without DeepSpeed"),
    "offload_optimizer": ("Offload optimizer", "true keeps its states in the CPU's memory"),
    "cutoff_len": ("Longest row", "tokens; longer rows are cut"),
    "micro_batch": ("Batch per GPU", "rows"),
    "gradient_accumulation": ("Accumulation", "batches per optimizer step"),
    "epochs": ("Epochs", "passes over the data"),
    "learning_rate": ("Learning rate", "for example 1e-4"),
}

MORE = {
    "max_steps": ("Steps", "takes the place of epochs where it is given"),
    "scheduler": ("Scheduler", "linear, cosine, constant, ..."),
    "warmup": ("Warm-up", "steps, or a share of all steps below 1"),
    "weight_decay": ("Weight decay", ""),
    "max_grad_norm": ("Clip gradients at", "norm"),
    "lora_rank": ("LoRA rank", ""),
    "lora_alpha": ("LoRA alpha", "empty is twice the rank"),
    "lora_dropout": ("LoRA dropout", "0 to 1"),
    "lora_target": ("LoRA layers", "all, or names separated by commas"),
    "quantization_bit": ("QLoRA bits", "4 or 8"),
    "precision": ("Precision", "bf16, fp16 or fp32"),
    "gradient_checkpointing": (
        "Checkpointing",
        "true saves memory and costs a third more time",
    ),
    "offload_param": ("Offload weights", "true keeps them in the CPU's memory (ZeRO 3)"),
    "packing": ("Packing", "true puts several rows into one sequence"),
    "template": ("Chat template", "as LLaMA-Factory names it"),
    "launcher": ("Launcher", "deepspeed or torchrun"),
    "save_steps": ("Save every", "steps"),
    "save_limit": ("Checkpoints kept", "empty keeps all"),
    "logging_steps": ("Log every", "steps"),
    "eval_share": ("Evaluate on", "share of the rows that is kept back, 0 to 1"),
    "seed": ("Seed", ""),
}


class Field(Vertical):
    """One value: label and input in a line, below it what is wrong, or a hint while it has the focus."""

    def __init__(
        self, key: str, label: str, hint: str = "", value: str = "", suggester: Suggester | None = None
    ) -> None:
        super().__init__(classes="field")
        self.key = key
        self._label = label
        self._hint = hint
        self._problem = ""
        self._input = Input(
            value, id=f"field-{key}", compact=True, suggester=suggester, select_on_focus=False
        )
        self._line = Static(classes="field-line")
        self._line.display = False

    def compose(self) -> ComposeResult:
        """Lay out the label beside the input, above the line for words."""
        with Horizontal():
            yield Label(self._label)
            yield self._input
        yield self._line

    @property
    def value(self) -> str:
        """What is typed."""
        return self._input.value.strip()

    def put(self, value: str) -> None:
        """Replace what is typed."""
        self._input.value = value

    def say(self, problem: str) -> None:
        """Show why the value can't be used; an empty text takes it away."""
        self._problem = problem
        self._show(self._input.has_focus)

    def on_descendant_focus(self) -> None:
        """Show the hint."""
        self._show(True)

    def on_descendant_blur(self) -> None:
        """Hide the hint."""
        self._show(False)

    def _show(self, focused: bool) -> None:
        text = self._problem or (self._hint if focused else "")
        self.set_class(bool(self._problem), "-wrong")
        self._line.display = bool(text)
        self._line.update(Content(text))


class PathSuggester(Suggester):
    """Completes a path with the first file of its folder that a dataset can be in, or a folder."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return the completed path; looks at one folder, at most 1000 entries."""
        if not value:
            return None
        shown_folder, _, start = value.rpartition("/")
        folder = Path(
            os.path.expandvars(shown_folder or ("/" if value.startswith("/") else "."))
        ).expanduser()
        names = []
        try:
            with os.scandir(folder) as entries:
                for count, entry in enumerate(entries):
                    if count >= 1000:
                        break
                    if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                        names.append((not entry.is_file(), entry.name + ("/" if entry.is_dir() else "")))
        except OSError:
            return None
        usable = sorted(item for item in names if item[0] or item[1].endswith((".jsonl", ".json", ".csv")))
        return value[: len(value) - len(start)] + usable[0][1] if usable else None


def text_of(value: object) -> str:
    """Return a setting as it is typed: ``true``, ``1e-05``, empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
