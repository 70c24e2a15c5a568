"""What lines of a trainer's log mean, in words: known failures and warnings, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Sign:
    """A known line: it holds one of ``needles``, and one of ``also`` where there are any."""

    kind: str
    needles: tuple[str, ...]
    text: str
    remedy: str
    #: The run does not survive it.
    fatal: bool = True
    also: tuple[str, ...] = ()


_HUB = ("huggingface", "hf.co", "hf-mirror", "modelscope")

#: The first sign that a line shows is the one that counts.
SIGNS = (
    Sign(
        "vram",
        ("CUDA out of memory", "CUDA error: out of memory", "HIP out of memory"),
        "a GPU ran out of memory",
        "launch again with a smaller micro_batch (and more gradient_accumulation), a shorter cutoff_len, "
        "gradient_checkpointing, zero_stage=3, or qlora",
    ),
    Sign(
        "ram",
        ("DefaultCPUAllocator: can't allocate memory", "Cannot allocate memory", "std::bad_alloc"),
        "the machine ran out of RAM",
        "turn offload_optimizer and offload_param off, or take a machine with more RAM",
    ),
    Sign(
        "disk",
        ("No space left on device", "Disk quota exceeded"),
        "the disk is full",
        "delete old runs or checkpoints (f shows the files), or lower save_limit; then resume",
    ),
    Sign(
        "gated",
        ("GatedRepoError", "You are trying to access a gated repo", "Access to model"),
        "the model is gated and this token may not read it",
        "accept its licence on its Hub page and launch with HF_TOKEN set to a token of that account",
    ),
    Sign(
        "gated",
        ("401 Client Error", "403 Client Error", "Invalid user token", "Invalid username or password"),
        "the Hub refused the token (401 or 403)",
        "launch with HF_TOKEN set to a valid token; for a gated model accept its licence first",
        also=(*_HUB, "token"),
    ),
    Sign(
        "hub",
        (
            "Connection refused",
            "Max retries exceeded",
            "NameResolutionError",
            "Temporary failure in name resolution",
            "We couldn't connect to",
            "LocalEntryNotFoundError",
        ),
        "the Hub can't be reached from the machine",
        "check its network and proxy, or put the model on its disk and name the folder as the model",
        fatal=False,
        also=(*_HUB, "LocalEntryNotFoundError", "We couldn't connect"),
    ),
    Sign(
        "nccl",
        ("Watchdog caught collective operation timeout", "NCCL timeout", "collective operation timed out"),
        "the ranks waited for one another until NCCL gave up: one of them hung or is far behind",
        "look in the log for the rank that stopped first; then resume from the last checkpoint",
    ),
    Sign(
        "nccl",
        ("ncclSystemError", "ncclRemoteError", "ncclUnhandledCudaError", "ncclInternalError"),
        "the connection between the GPUs failed (NCCL)",
        "try NCCL_P2P_DISABLE=1, or another machine; resume from the last checkpoint",
    ),
    Sign(
        "gpu",
        ("has fallen off the bus", "uncorrectable ECC error", "CUDA error: an illegal memory access"),
        "a GPU failed",
        "resume on another machine; finetui doctor shows the state of this one's cards",
    ),
    Sign(
        "rank",
        ("exits with return code = -", "Signal 9 (SIGKILL)", "ChildFailedError", "Killing subprocess"),
        "a rank is gone and takes the others with it",
        "the first error above it in the log says why; a SIGKILL mostly means that RAM ran out",
    ),
    Sign(
        "fp16",
        ("loss scale already at minimum",),
        "the gradients overflow in fp16",
        "launch again with precision=bf16, or a lower learning_rate",
    ),
    Sign(
        "template",
        ("`template` was not specified",),
        "no chat template was given: the trainer guesses one",
        "set template to the model's own; a wrong one trains on the wrong text",
        fatal=False,
    ),
    Sign(
        "template",
        ("Template ",),
        "the chat template is not one that the trainer knows",
        "finetui presets show NAME lists the template of a preset; set template to the model's own",
        also=("does not exist", "not found", "is not supported", "not registered"),
    ),
)


def signs_in(text: str) -> Iterator[tuple[Sign, str]]:
    """Yield each kind of sign once that ``text`` (lines) shows, with the first line that shows it.

    A search for plain substrings over all of it first: a line that means nothing costs about 10 ns.
    """
    seen = set()
    for sign in SIGNS:
        if sign.kind in seen:
            continue
        line = _first_line(text, sign)
        if line is not None:
            seen.add(sign.kind)
            yield sign, line


def _first_line(text: str, sign: Sign) -> str | None:
    for needle in sign.needles:
        at = text.find(needle)
        while at >= 0:
            begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
            line = text[begin : end if end >= 0 else len(text)]
            if not sign.also or any(word in line for word in sign.also):
                return line
            at = text.find(needle, at + len(needle))
    return None
