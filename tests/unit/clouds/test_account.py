"""Where the API key comes from, and where it never shows."""

from __future__ import annotations

import pytest

from tui.clouds.errors import NoKey
from tui.clouds.runpod_account import ApiKey, api_base, key_file, load_key
from tui.errors import InvalidInput


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.delenv("RUNPOD_API_BASE_URL", raising=False)


def write_key(text: str, mode: int = 0o600) -> None:
    key_file().parent.mkdir(parents=True)
    key_file().write_text(text)
    key_file().chmod(mode)


def test_the_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_key("rpa_file\n")
    assert load_key().reveal() == "rpa_file"
    monkeypatch.setenv("RUNPOD_API_KEY", " rpa_variable ")
    assert load_key().reveal() == "rpa_variable"


def test_without_one_the_remedy_names_both_places() -> None:
    with pytest.raises(NoKey) as caught:
        load_key()
    assert str(key_file()) in caught.value.cause
    assert "RUNPOD_API_KEY" in caught.value.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(mode: int) -> None:
    write_key("rpa_secret", mode)
    with pytest.raises(InvalidInput, match="chmod 600") as caught:
        load_key()
    assert "rpa_secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["two words", "rpa_\x00x", "rpa_\u00e9", "a\nb"])
def test_a_malformed_key_is_refused_unsaid(text: str) -> None:
    write_key(text)
    with pytest.raises(NoKey, match="malformed") as caught:
        load_key()
    assert text not in str(caught.value)


def test_a_key_does_not_show_itself() -> None:
    key = ApiKey("rpa_secret")
    assert "rpa_secret" not in f"{key} {key!r} {[key]}"


@pytest.mark.parametrize(
    "base", ["http://api.runpod.io", "http://127.0.0.1.evil.com", "ftp://x", "api.runpod.io"]
)
def test_the_key_does_not_travel_unencrypted(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("RUNPOD_API_BASE_URL", base)
    with pytest.raises(InvalidInput):
        api_base()


def test_the_address_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_base() == "https://api.runpod.io"
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:80/")
    assert api_base() == "http://127.0.0.1:80"
