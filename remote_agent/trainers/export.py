"""Exports a checkpoint: ``-m remote_agent.trainers.export export.yaml key=value...`` in the prepared folder.

The settings are LLaMA-Factory's of its own export (model_name_or_path, adapter_name_or_path, template,
export_dir, ...) and three of ours: ``merge`` (write a LoRA into its base, else the adapter is copied),
``push`` (a repository of the Hub, or null) and ``weight_bytes`` (of the whole model in 16 bits, or null).
README.md in the working directory is the model card. What was written is loaded and asked before anything is
pushed; ``export.json`` in the run directory tells the result.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from remote_agent.documents import write_json
from remote_agent.trainers.files import PhaseReport, run_directory, say
from remote_agent.trainers.llamafactory import read_arguments

CARD = "README.md"
#: Of a checkpoint folder of an adapter, what another program needs to use it; optimizer states are not.
ADAPTER_FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
#: What loading takes beside the weights: buffers, the CUDA context, the largest layer twice.
_HEADROOM = 1.2
#: A merge rounds each weight once, in 16 bits by at most 0.4 %; a wrong one changes answers altogether.
MAX_RELATIVE_DIFFERENCE = 0.1
_QUESTION = "Once upon a time there were 3 tables: SELECT name FROM users WHERE age > 42;"


def choose_device(weight_bytes: int | None, free_vram_bytes: int | None) -> str:
    """Return where the model is loaded: "auto" (the GPUs) only where it is known to fit, else "cpu"."""
    fits = weight_bytes is not None and (free_vram_bytes or 0) >= weight_bytes * _HEADROOM
    return "auto" if fits else "cpu"


def copy_adapter(source: Path, target: Path) -> None:
    """Copy an adapter without what only a resume needs; raises OSError."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ADAPTER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def check_files(folder: Path) -> int:
    """Read the header of every weights file and return all bytes.

    Raises ValueError when there are no weights, or when they aren't safetensors.
    """
    from safetensors import safe_open

    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ValueError(f"no safetensors were written to {folder}")
    for path in weights:
        with safe_open(path, framework="pt") as tensors:
            if not list(tensors.keys()):
                raise ValueError(f"{path.name} holds no weights")
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def logits(model_path: str, adapter: str | None, tokenizer_path: str) -> Any:
    """Load a model on the CPU, ask it one sentence, and return the logits in 32 bits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype="auto")
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        tokens = tokenizer(_QUESTION, return_tensors="pt")
        return model.eval()(input_ids=tokens["input_ids"]).logits.float()


def check_answers(settings: dict[str, Any], folder: Path, *, adapter_only: bool) -> float | None:
    """Load the export and ask it; return how far its logits are from the checkpoint's, as a share.

    None for a model that isn't merged: there is nothing to compare it with. Raises ValueError when its
    answers are no numbers or are not the checkpoint's.
    """
    base, adapter = str(settings["model_name_or_path"]), settings.get("adapter_name_or_path")
    exported = (
        logits(base, str(folder), str(folder)) if adapter_only else logits(str(folder), None, str(folder))
    )
    if not bool(exported.isfinite().all()):
        raise ValueError("the exported model answers with numbers that are not finite")
    if adapter is None or adapter_only:
        return None
    trained = logits(base, str(adapter), str(adapter))
    scale = float(trained.abs().max()) or 1.0
    difference = float((trained - exported[..., : trained.shape[-1]]).abs().max()) / scale
    if difference > MAX_RELATIVE_DIFFERENCE:
        raise ValueError(f"the merged model does not answer as the adapter does: {difference:.0%} apart")
    return difference


def push(folder: Path, repository: str, token: str) -> str:
    """Upload a folder to a repository of the Hub, private if it is new; returns its address."""
    from huggingface_hub import HfApi

    hub = HfApi(token=token)
    hub.create_repo(repository, private=True, exist_ok=True)
    hub.upload_folder(repo_id=repository, folder_path=str(folder), commit_message="Upload a fine-tuned model")
    return f"{hub.endpoint}/{repository}"


def main(argv: list[str]) -> int:
    """Export, check and push; returns the exit code. What goes wrong is raised into the run's log."""
    run_dir = run_directory()
    report = PhaseReport(run_dir)
    settings = read_arguments(argv)
    merge, repository = bool(settings.pop("merge")), settings.pop("push")
    weight_bytes = settings.pop("weight_bytes")
    folder = Path(settings["export_dir"])
    token = os.environ.get("HF_TOKEN", "")
    if repository and not token:
        say("HF_TOKEN is not set: nothing can be pushed to the Hub without it")
        return 2
    adapter_only = settings.get("adapter_name_or_path") is not None and not merge
    if adapter_only:
        report("exporting", "the adapter")
        copy_adapter(Path(settings["adapter_name_or_path"]), folder)
    else:
        _export_model(settings, weight_bytes, report)
    shutil.copyfile(CARD, folder / CARD)
    report("checking", "loading what was written")
    size = check_files(folder)
    difference = check_answers(settings, folder, adapter_only=adapter_only)
    if difference is not None:
        say(f"the merged model answers as the adapter does: logits {difference:.3%} apart at most")
    address = None
    if repository:
        report("pushing", str(repository))
        address = push(folder, str(repository), token)
        say(f"pushed to {address}")
    document = {"path": str(folder), "bytes": size, "merged": not adapter_only and merge}
    write_json(run_dir / "export.json", {**document, "largest_difference": difference, "pushed": address})
    say(f"exported to {folder}")
    return 0


def _export_model(settings: dict[str, Any], weight_bytes: int | None, report: PhaseReport) -> None:
    report("loading", "LLaMA-Factory")
    import torch
    from llamafactory.train import tuner

    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    settings["export_device"] = choose_device(weight_bytes, free)
    say(f"exporting on {'the GPU' if settings['export_device'] == 'auto' else 'the CPU'}")
    report("exporting", "the model")
    tuner.export_model(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
