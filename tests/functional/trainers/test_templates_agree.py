"""The texts that finetui shows are the ones LLaMA-Factory trains on: its own template code says so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from presets import catalog, demo
from presets.axolotl import jinja
from presets.layouts import Conversation, Turn
from presets.spec import resolve
from presets.templates import find_template, parts, prompt, template_names

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[3]

#: Encodes every case by LLaMA-Factory and writes back, as text, what is trained and what is not.
ENCODE = """
import json, os, sys
from itertools import groupby
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments
from remote_agent.trainers.tiny_model import make_tokenizer, texts

cases, results = json.loads(Path(sys.argv[1]).read_text()), []
for case in cases:
    tokenizer = make_tokenizer(texts(Path(sys.argv[2])), 400, 512)
    replaces = TEMPLATES[case["template"]].replace_eos
    eos = "<an eos to be replaced>" if replaces else case["eos"]
    tokenizer.add_special_tokens({"bos_token": case["bos"], "eos_token": eos})
    arguments = DataArguments(
        template=case["template"], cutoff_len=100000, enable_thinking=case["thinking"]
    )
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    # Plug-ins for pictures want a model's picture processor, also where there is no picture.
    template.mm_plugin = get_mm_plugin("base")
    processor = SupervisedDatasetProcessor(template, tokenizer, None, arguments)
    system, messages = case["system"], case["messages"]
    text = lambda ids: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    ids, labels = processor._encode_data_example(messages[:-1], messages[-1:], system, None, [], [], [])
    # efficient_eos labels the token after an earlier answer as the end, without that being in the text.
    odd = {label for label, token in zip(labels, ids) if label not in (-100, token)}
    assert odd <= ({tokenizer.eos_token_id} if template.efficient_eos else set()), odd
    groups = groupby(zip(ids, labels), key=lambda pair: pair[1] == pair[0])
    asked, _ = template.encode_oneturn(tokenizer, messages, system, None)
    turns = [{"role": "system", "content": system}] * (system is not None) + messages
    values = {"messages": turns, "bos_token": case["bos"], "eos_token": case["eos"]}
    results.append({
        "jinja": ImmutableSandboxedEnvironment().from_string(case["jinja"]).render(values),
        "parts": [[text([token for token, _ in group]), trained] for trained, group in groups],
        "prompt": text(asked),
        "eos": tokenizer.eos_token,
    })
Path(os.environ["RESULTS"]).write_text(json.dumps(results))
"""

REASONED = "<think>\nCount them.\n</think>\n\n[SQL] SELECT COUNT(*) [/SQL]"
CONVERSATIONS: dict[str, Conversation] = {
    "one turn": (Turn("user", "How many? {content} {bos}"), Turn("assistant", "Three — ü 字.")),
    "two turns and a system text": (
        Turn("system", "Be brief.\nBe right."),
        Turn("user", "  How many?\n"),
        Turn("assistant", "3"),
        Turn("user", "Sure?"),
        Turn("assistant", "Yes.\n\n"),
    ),
    "answers with their reasoning": (
        Turn("user", "How many?"),
        Turn("assistant", REASONED),
        Turn("user", "Sure?"),
        Turn("assistant", REASONED),
    ),
}
CASES = [
    (name, which, thinking)
    for name in template_names()
    for which in CONVERSATIONS
    for thinking in ((True, False) if find_template(name).thought else (True,))  # type: ignore[union-attr]
]


@pytest.fixture(scope="module")
def encoded(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """What LLaMA-Factory makes of every case; one process for all, because its imports take many seconds."""
    place = tmp_path_factory.mktemp("templates")
    demo.write_dataset(place / "rows.jsonl")
    (place / "cases.json").write_text(json.dumps([_case(*case) for case in CASES]))
    (place / "encode.py").write_text(ENCODE)
    done = subprocess.run(
        [str(trainer_python), "encode.py", "cases.json", "rows.jsonl"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "RESULTS": str(place / "results.json")},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(zip(CASES, json.loads((place / "results.json").read_text()), strict=True))


def _case(name: str, which: str, thinking: bool) -> dict[str, Any]:
    template = find_template(name)
    assert template is not None
    turns = CONVERSATIONS[which]
    return {
        "template": name,
        "thinking": thinking,
        "jinja": jinja(template, thinking=thinking),
        "bos": template.bos,
        "eos": template.eos,
        "system": turns[0].content if turns[0].role == "system" else None,
        "messages": [{"role": turn.role, "content": turn.content} for turn in turns if turn.role != "system"],
    }


@pytest.mark.parametrize("name", template_names())
def test_what_is_shown_is_what_is_trained(encoded: dict[Any, Any], name: str) -> None:
    template = find_template(name)
    assert template is not None
    for case in (case for case in CASES if case[0] == name):
        _, which, thinking = case
        shown = parts(template, CONVERSATIONS[which], thinking=thinking)
        assert [[part.text, part.trained] for part in shown] == encoded[case]["parts"], which
        assert template.eos == encoded[case]["eos"]


@pytest.mark.parametrize("name", template_names())
def test_the_prompt_of_a_chat_is_what_the_model_gets(encoded: dict[Any, Any], name: str) -> None:
    template = find_template(name)
    assert template is not None
    for case in (case for case in CASES if case[0] == name):
        _, which, thinking = case
        assert prompt(template, CONVERSATIONS[which][:-1], thinking=thinking) == encoded[case]["prompt"], (
            which
        )


@pytest.mark.parametrize("name", template_names())
def test_axolotl_gets_the_same_text(encoded: dict[Any, Any], name: str) -> None:
    template = find_template(name)
    assert template is not None
    for case in (case for case in CASES if case[0] == name):
        _, which, thinking = case
        shown = parts(template, CONVERSATIONS[which], thinking=thinking)
        assert encoded[case]["jinja"] == "".join(part.text for part in shown), which


def test_every_template_of_the_catalogue_is_known() -> None:
    used = {resolve(name).template for name in catalog.names()}
    assert used <= set(template_names())
