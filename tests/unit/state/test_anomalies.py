"""What looks wrong with a run, in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from remote_agent.protocol import Checkpoint, GpuSample, RunStatus, Sample
from tui.state.anomalies import Finding, anomalies, log_findings
from tui.state.metrics import Metrics

GIB = 1024**3
RUNNING = RunStatus("R", "running", phase="training", s_per_step=0.5)


def metrics_of(*losses: float | None, every: int = 1, **fields: object) -> Metrics:
    metrics = Metrics()
    records = [
        {"event": "log", "t": float(step), "step": step * every, "loss": loss, **fields}
        | ({"nonfinite": ["loss"]} if loss is None else {})
        for step, loss in enumerate(losses, 1)
    ]
    metrics.feed(0, b"".join(json.dumps(record).encode() + b"\n" for record in records))
    return metrics


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    assert finding.remedy
    return finding


def test_a_healthy_run_has_none() -> None:
    assert anomalies(RUNNING, metrics_of(3.0, 2.0, 1.0), silent_s=1.0) == []
    assert anomalies(RUNNING, Metrics(), silent_s=1.0) == []


@pytest.mark.parametrize(
    ("losses", "kind", "words"),
    [
        ((3.0, 2.0, None), "nonfinite", "not finite since step 3"),
        ((3.0, None, None), "nonfinite", "not finite since step 2"),
        ((3.0, 2.0, 0.0, 0.0), "zero", "exactly 0 at step 4"),
        ((1.0, 1.1, 0.9, 1.0, 1.0, 9.0), "spike", "jumped to 9 from about 1 at step 6"),
        ((1.0, 1.1, 0.9, 1.0, 1.0, 9.0, 1.0), "spike", "at step 6"),
    ],
)
def test_losses_that_look_wrong(losses: tuple[float | None, ...], kind: str, words: str) -> None:
    finding = only(anomalies(RUNNING, metrics_of(*losses), silent_s=1.0))
    assert finding.kind == kind
    assert words in finding.text
    assert finding.step is not None
    assert str(finding.step) in words


@pytest.mark.parametrize(
    "losses",
    [
        (3.0, 2.0, 0.0),
        (0.01, 0.01, 0.01, 0.01, 0.01, 0.09),
        (1.0, 3.0, 1.2, 2.8, 1.1, 2.9, 4.5),
        (9.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.6),
    ],
)
def test_one_zero_noise_and_small_jumps_are_no_anomalies(losses: tuple[float, ...]) -> None:
    assert anomalies(RUNNING, metrics_of(*losses), silent_s=1.0) == []


def test_a_nan_gradient_is_told_also_when_the_loss_is_a_number() -> None:
    metrics = metrics_of(1.0, 1.0, grad_norm=None, nonfinite=["grad_norm"])
    assert "grad_norm is not finite since step 1" in only(anomalies(RUNNING, metrics, 1.0)).text


def test_a_stall_counts_from_five_usual_steps_but_not_before_half_a_minute() -> None:
    metrics = metrics_of(1.0)
    assert anomalies(RUNNING, metrics, silent_s=29.0) == []
    assert "no step for 31 s" in only(anomalies(RUNNING, metrics, silent_s=31.0)).text
    slow = replace(RUNNING, s_per_step=20.0)
    assert anomalies(slow, metrics, silent_s=99.0) == []
    assert anomalies(slow, metrics, silent_s=101.0)
    for phase in ("saving", "evaluating"):
        assert anomalies(replace(RUNNING, phase=phase), metrics, silent_s=500.0) == []


def test_a_run_that_logs_every_fifty_steps_is_not_stalled_in_between() -> None:
    metrics = metrics_of(1.0, 1.0, 1.0, every=50, s_per_step=0.5)
    assert anomalies(RUNNING, metrics, silent_s=100.0) == []
    assert anomalies(RUNNING, metrics, silent_s=130.0)


def test_memory_and_disk_at_the_edge() -> None:
    sample = Sample(
        1.0,
        disk_used_bytes=99 * GIB,
        disk_total_bytes=100 * GIB,
        gpus=(GpuSample(0, "A", None, 79 * GIB, 80 * GIB), GpuSample(1, "A", None, 60 * GIB, 80 * GIB)),
    )
    metrics = metrics_of(1.0)
    saves = [{"event": "save", "step": step, "path": f"checkpoint-{step}"} for step in (50, 100)]
    metrics.feed(metrics.size, b"".join(json.dumps(save).encode() + b"\n" for save in saves))
    checkpoint = Checkpoint("R@1", 1, 14 * GIB, True, "p", 0.0)
    vram, disk = anomalies(RUNNING, metrics, 1.0, sample=sample, checkpoints=[checkpoint])
    assert "GPU0" in vram.text
    assert "GPU1" not in vram.text
    assert "1.0 GiB are free" in disk.text
    assert "step 150 takes 14.0 GiB" in disk.text
    assert not anomalies(
        replace(RUNNING, state="finished"), metrics, 1.0, sample=sample, checkpoints=[checkpoint]
    )


def test_a_card_that_idles_in_a_stall_means_that_a_rank_is_gone() -> None:
    cards = tuple(GpuSample(index, "A", 100.0 if index else 0.0) for index in range(4))
    metrics = metrics_of(1.0, ranks=4)
    assert not anomalies(RUNNING, metrics, 1.0, sample=Sample(1.0, gpus=cards))
    _, rank = anomalies(RUNNING, metrics, 60.0, sample=Sample(1.0, gpus=cards))
    assert rank.kind == "rank"
    assert "GPU0" in rank.text
    half = metrics_of(1.0, ranks=2)
    assert [item.kind for item in anomalies(RUNNING, half, 60.0, sample=Sample(1.0, gpus=cards))] == ["stall"]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            "vram",
            "micro_batch",
        ),
        ("[rank0]: RuntimeError: DefaultCPUAllocator: can't allocate memory: ...", "ram", "offload"),
        ("OSError: [Errno 28] No space left on device", "disk", "delete"),
        (
            "huggingface_hub.errors.GatedRepoError: 401 Client Error.",
            "gated",
            "HF_TOKEN",
        ),
        (
            "requests.HTTPError: 403 Client Error: Forbidden for url: https://huggingface.co/m/x/resolve/main",
            "gated",
            "HF_TOKEN",
        ),
        (
            "(MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded",
            "hub",
            "proxy",
        ),
        (
            "[rank3]:[E] ProcessGroupNCCL.cpp:629] [Rank 3] Watchdog caught collective operation timeout",
            "nccl",
            "resume",
        ),
        ("[launch.py:325:sigkill_handler] ['python'] exits with return code = -9", "rank", "RAM"),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:", "rank", "log"),
        ("Exception: Current loss scale already at minimum - cannot decrease scale anymore.", "fp16", "bf16"),
        ("[WARNING] `template` was not specified, use `empty` template.", "template", "template"),
        ("ValueError: Template lama3 does not exist.", "template", "template"),
    ],
)
def test_lines_of_a_log_are_told_in_words(line: str, kind: str, words: str) -> None:
    finding = only(log_findings(f"some line\n{line}\nanother\n", 12))
    assert finding.kind == kind
    assert words in finding.remedy
    assert finding.quote == line[:160]
    assert finding.step == 12


def test_ordinary_lines_mean_nothing() -> None:
    text = (
        "{'loss': '0.01333', 'grad_norm': '0.04956'}\n"
        "Chat template saved in x\nwandb: 403 Client Error: Forbidden for url: https://api.wandb.ai\n"
        "connecting to redis: Connection refused\n100%|####| 270/270 [04:20<00:00]\n"
    )
    assert log_findings(text, None) == []


def test_a_fatal_line_counts_until_the_run_goes_on() -> None:
    found = log_findings("CUDA out of memory\n", 2)
    assert anomalies(RUNNING, metrics_of(1.0, 1.0), 1.0, log=found) == found
    assert anomalies(RUNNING, metrics_of(1.0, 1.0, 1.0), 1.0, log=found) == []
    failed = replace(RUNNING, state="failed")
    assert anomalies(failed, metrics_of(1.0, 1.0, 1.0), 1.0, log=found) == found
    assert anomalies(replace(RUNNING, state="finished"), metrics_of(1.0), 1.0, log=found) == []


def test_the_gravest_comes_first() -> None:
    sample = Sample(1.0, gpus=(GpuSample(0, "A", None, 80 * GIB, 80 * GIB),))
    found = anomalies(RUNNING, metrics_of(1.0, None), 1.0, sample=sample)
    assert [finding.kind for finding in found] == ["nonfinite", "vram-edge"]
