"""Presets and --set: what is accepted, and what a person reads when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import catalog
from presets.errors import FinetuiError, InvalidInput
from presets.spec import RunSpec, from_dict, resolve
from presets.yaml_file import parse_document


def refusal(*sets: str, preset: str = "demo", extra_dirs: tuple[Path, ...] = ()) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        resolve(preset, sets, extra_dirs=extra_dirs)
    return caught.value


@pytest.mark.parametrize("name", catalog.names())
def test_every_preset_of_the_catalogue_resolves_and_says_why(name: str) -> None:
    spec = resolve(name)
    assert spec.preset == name
    assert spec.why
    assert spec.needs


def test_the_recipes_of_the_documents() -> None:
    full = resolve("mistral-7b-instruct-full")
    assert (full.method, full.zero_stage, full.offload_optimizer) == ("full", 2, True)
    assert (full.micro_batch, full.gradient_accumulation, full.launcher) == (2, 4, "deepspeed")
    lora = resolve("mistral-7b-instruct-lora")
    assert (lora.method, lora.zero_stage, lora.micro_batch) == ("lora", 1, 8)
    phi = resolve("phi-2-full")
    assert (phi.method, phi.zero_stage, phi.micro_batch, phi.template) == ("full", 2, 8, "default")
    llama = resolve("codellama-7b-instruct-lora")
    assert (llama.method, llama.zero_stage, llama.lora_rank, llama.gradient_checkpointing) == (
        "lora",
        3,
        16,
        True,
    )


@pytest.mark.parametrize(
    ("item", "key", "value"),
    [
        ("epochs=2", "epochs", 2.0),
        ("num_train_epochs=2", "epochs", 2.0),
        ("lr=1e-4", "learning_rate", 1e-4),
        ("per_device_train_batch_size=3", "micro_batch", 3),
        ("deepspeed=3", "zero_stage", 3),
        ("zero_stage=null", "zero_stage", None),
        ("warmup_steps=7", "warmup", 7),
        ("warmup_ratio=0.2", "warmup", 0.2),
        ("finetuning_type=lora", "method", "lora"),
    ],
)
def test_a_set_replaces_the_value_under_its_own_or_its_common_name(
    item: str, key: str, value: object
) -> None:
    assert getattr(resolve("demo", [item]), key) == value


def test_raw_trainer_keys_are_kept_beside_the_preset_s_own() -> None:
    spec = resolve("demo", ["trainer_args.optim=adamw_torch", "trainer_args.group_by_length=true"])
    assert spec.trainer_args == {"optim": "adamw_torch", "group_by_length": True}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("epoch=2", "epochs"),
        ("learning_rat=1", "learning_rate"),
        ("gpus=five", "whole number"),
        ('gpus="5"', "without quotes"),
        ("gpus=2.5", "whole number"),
        ("gpus=true", "whole number"),
        ("gpus=0", "above 0"),
        ("cutoff_len=-1", "above 0"),
        ("gpus=99999999999999999999", "1024 at most"),
        ("cutoff_len=4096000000", "at most"),
        ("seed=4294967296", "at most"),
        ("epochs=1e400", "above 0"),
        ("model=a\0b", "not valid YAML"),
        ("template=../llama3", "not the name of a template"),
        ("trainer_args=[1]", "a mapping"),
        ("learning_rate=.nan", "above 0"),
        ("epochs=.inf", "above 0"),
        ("method=qlor", "Did you mean qlora"),
        ("zero_stage=4", "0, 1, 2, 3"),
        ("packing=yes", "true or false"),
        ("gpus", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("gpus.x=3", "no parts"),
        ("preset=x", "named by the command"),
        ("model=/data/model", "not a model id"),
        ("model=../x", "not a model id"),
        ("trainer_args.output_dir=/x", "output_dir"),
        ("trainer_args={a: 1, a: 2}", "twice"),
        ("why=*x", "aliases"),
        ("why=!!python/object:os.system x", "not valid YAML"),
        ("tiny_model.heads=5", "can't be split"),
        ("lora_dropout=1.5", "below 1"),
        ("bf16=true", "precision"),
    ],
)
def test_a_bad_set_is_named_and_says_what_to_do(item: str, expected: str) -> None:
    error = refusal(item)
    assert f"--set {item}" in error.message
    assert expected in str(error)
    assert error.remedy
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("sets", "fix"),
    [
        (("method=qlora", "quantization_bit=4", "zero_stage=3"), "zero_stage=2"),
        (("method=qlora",), "quantization_bit=4"),
        (("quantization_bit=4",), "method=qlora"),
        (("zero_stage=null", "offload_optimizer=true"), "zero_stage=2"),
        (("zero_stage=2", "offload_param=true"), "zero_stage=3"),
        (("packing=true", "neat_packing=true", "flash_attn=fa2", "micro_batch=2"), "micro_batch=1"),
        (("neat_packing=true",), "packing=true"),
        (("keep_best=true",), "eval_share=0.05"),
        (("keep_best=true", "eval_share=0.1", "save_steps=10", "eval_steps=15"), "eval_steps=10"),
        (
            ("keep_best=true", "eval_share=0.1", "save_steps=10", "eval_steps=10", "save_limit=1"),
            "save_limit=2",
        ),
        (("warmup=2.0",), "warmup=2"),
    ],
)
def test_values_that_can_not_work_together_are_refused_with_the_fix(sets: tuple[str, ...], fix: str) -> None:
    assert fix in refusal(*sets).remedy


def test_an_unknown_preset_offers_the_nearest_names() -> None:
    assert "mistral-7b-instruct-lora" in str(refusal(preset="mistral-7b-lora"))


def test_a_preset_of_the_user_s_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("model: a/b\nmethod: lora\ntemplate: llama3\nlearning_rate: 1e-4\n")
    assert resolve("demo", extra_dirs=[tmp_path]).model == "a/b"
    assert "demo" in catalog.names([tmp_path])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: a/b\ngpus: 2\ngpus: 3\n", "line 3: the key gpus is there twice (first on line 2)"),
        ('model: a/b\n\ngpus: "2"\n', "line 3, gpus: gpus must be a whole number"),
        ("model: a/b\ngpu: 2\n", "line 2, gpu: there is no key"),
        ("model: a/b\n", "lacks method, template, learning_rate"),
        ("model: [a\n", "not valid YAML"),
        ("- a\n", "not a mapping"),
        ("", "not a mapping"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "aliases"),
        ("model: a\0b\n", "not valid YAML"),
        ("model: a/b\n---\nmodel: c/d\n", "not valid YAML"),
        ("? [a]\n: b\n", "not text"),
        ("model: a/b\ngpus: -2\nmethod: lora\ntemplate: x\nlearning_rate: 1\n", "line 2, gpus"),
        ("a: !!python/object:os.system {}\n", "not valid YAML"),
        ("1: x\n", "not text"),
        ("tiny_model: {heads: 2, heads: 3}\n", "tiny_model.heads is there twice"),
        ("a: " + "[" * 5000, "mine.yaml"),
        ("a: 1\n" * 100_000, "over"),
    ],
)
def test_a_broken_preset_file_names_file_line_and_key(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    error = refusal(preset="mine", extra_dirs=(tmp_path,))
    assert str(tmp_path / "mine.yaml") in error.message
    assert expected in str(error)


def test_a_preset_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"model: \xff")
    assert "UTF-8 (byte 7)" in refusal(preset="mine", extra_dirs=(tmp_path,)).message


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("010", "010"), ("1:30", "1:30"), ("1e-4", 1e-4), ("2024-01-01", "2024-01-01")],
)
def test_scalars_mean_what_they_say_and_not_what_yaml_1_1_makes_of_them(text: str, value: object) -> None:
    assert parse_document(f"a: {text}", "test").values == {"a": value}


@given(st.text(max_size=40))
def test_any_set_is_accepted_or_refused_with_a_message_never_a_crash(item: str) -> None:
    try:
        assert isinstance(resolve("demo", [item]), RunSpec)
    except FinetuiError as error:
        assert error.message


@given(
    st.sampled_from(["gpus", "model", "epochs", "tiny_model", "trainer_args", "warmup"]), st.text(max_size=30)
)
def test_any_value_is_accepted_or_refused_with_a_message(key: str, value: str) -> None:
    try:
        assert isinstance(resolve("demo", [f"{key}={value}"]), RunSpec)
    except FinetuiError as error:
        assert error.message


@given(st.integers(1, 64), st.floats(1e-8, 1.0), st.booleans())
def test_values_arrive_as_they_were_typed(gpus: int, rate: float, flag: bool) -> None:
    spec = resolve("demo", [f"gpus={gpus}", f"learning_rate={rate!r}", f"liger={str(flag).lower()}"])
    assert (spec.gpus, spec.learning_rate, spec.liger) == (gpus, rate, flag)


def test_a_spec_survives_the_trip_through_a_run_directory() -> None:
    spec = resolve("demo", ["trainer_args.optim=adamw_torch"])
    assert from_dict({**spec.to_dict(), "key_of_a_later_version": 1}) == spec
