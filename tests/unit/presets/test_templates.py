"""Chat templates as they are shown; that they are the trainer's is tested against the trainer itself."""

from __future__ import annotations

from presets.layouts import Turn
from presets.spec import resolve
from presets.templates import Part, find_template, preview, prompt

TURNS = (Turn("user", "How {content}?"), Turn("assistant", "So."))


def test_the_answer_is_trained_and_the_question_is_not() -> None:
    seen = preview(resolve("mistral-7b-instruct-lora"), TURNS)
    assert seen == (Part("<s>[INST] How {content}?[/INST]", False), Part(" So.</s>", True))


def test_the_runs_own_system_text_is_shown() -> None:
    seen = preview(resolve("demo", ["trainer_args.default_system=Be brief."]), TURNS)
    assert seen is not None
    assert seen[0].text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")


def test_plain_text_is_trained_as_a_whole() -> None:
    seen = preview(resolve("phi-2-full", ["stage=pt"]), (Turn("text", "once"),))
    assert seen == (Part("once<|endoftext|>", True),)


def test_a_template_that_is_not_known_is_not_guessed() -> None:
    assert preview(resolve("mistral-7b-instruct-lora", ["template=yi_vl"]), TURNS) is None


def test_a_chat_without_reasoning_is_asked_as_it_was_trained() -> None:
    spec = resolve("demo", ["template=qwen3", "trainer_args.enable_thinking=false"])
    template = find_template("qwen3")
    asked, answer = preview(spec, TURNS) or ()
    assert template is not None
    assert prompt(template, TURNS[:1], thinking=False) == asked.text
    assert asked.text.endswith("<think>\n\n</think>\n\n")
    assert answer.text == "So.<|im_end|>\n"
