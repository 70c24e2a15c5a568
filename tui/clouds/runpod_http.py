"""Requests to RunPod's REST API: which failures are tried again, and what each of them means."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from tui.clouds.errors import Ambiguous, CloudUnreachable, Forbidden, NoSuchPod, Rejected
from tui.clouds.runpod_account import ApiKey
from tui.clouds.runpod_texts import KEYS_PAGE, explain, no_credit, wrong_key
from tui.errors import FinetuiError

#: The default agent name of a Python library is turned away by the provider's firewall.
USER_AGENT = "finetui"
ATTEMPTS = 4
MAX_WAIT_S = 60.0
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
#: A create places the pod before it answers.
_CREATE_TIMEOUT = httpx.Timeout(90.0, connect=10.0)
#: The request never left this machine.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class RunPodHttp:
    """One account's connection pool; safe to call from several threads."""

    def __init__(self, key: ApiKey, base: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self.base = base
        self.client = httpx.Client(
            base_url=base,
            timeout=_TIMEOUT,
            headers={"Authorization": f"Bearer {key.reveal()}", "User-Agent": USER_AGENT},
        )

    def ask(
        self,
        doing: str,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:
        """Send what may be sent twice, again where that may help; return the JSON of the answer or None.

        Raises FinetuiError with the words of ``doing``, which complete "RunPod did not".
        """
        wait_s = 1.0
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                response = self.client.request(method, path, params=params, json=body)
            except httpx.TransportError as error:
                if last:
                    raise unreachable(error, doing) from error
                self._sleep(wait_s)
            else:
                if not _passing(response.status_code) or last:
                    return _content(response, doing)
                self._sleep(_retry_after(response) or wait_s)
            wait_s *= 2
        raise AssertionError

    def create(self, path: str, body: dict[str, Any]) -> Any:
        """Send a create, once; only a 429, which did nothing, is repeated. Raises Ambiguous when in doubt."""
        doing = "rent the pod"
        for attempt in range(ATTEMPTS):
            try:
                response = self.client.post(path, json=body, timeout=_CREATE_TIMEOUT)
            except _NOT_SENT as error:
                raise unreachable(error, doing) from error
            except httpx.TransportError as error:
                raise ambiguous(_reason(error)) from error
            if response.status_code != 429 or attempt == ATTEMPTS - 1:
                break
            self._sleep(_retry_after(response) or 2.0**attempt)
        if response.status_code >= 500:
            raise ambiguous(_detail(response))
        if response.status_code == 403 and _json(response) is not None:
            raise Forbidden(
                "the account may not rent this card there",
                cause=_detail(response),
                remedy="try another card or cloud, or a key with more permissions",
            )
        if response.is_success and not isinstance(_json(response), dict):
            raise ambiguous("the answer is not JSON")
        return _content(response, doing)


def ambiguous(cause: str) -> Ambiguous:
    """Return the error for a create whose outcome is not known."""
    return Ambiguous(
        "RunPod did not say whether it rented the pod",
        cause=cause,
        remedy="look with: finetui pods list",
    )


def unreachable(error: httpx.TransportError, doing: str) -> CloudUnreachable:
    """Return the error for a request that got no answer."""
    return CloudUnreachable(
        f"RunPod did not {doing}: no answer",
        cause=_reason(error),
        remedy="check the network and status.runpod.io, and try again",
    )


def refusal(response: httpx.Response, doing: str) -> FinetuiError:
    """Return the error for an answer that is no success."""
    status, detail = response.status_code, _detail(response)
    if status >= 500 or status == 429 or _json(response) is None:
        return CloudUnreachable(
            f"RunPod did not {doing}",
            cause=f"HTTP {status}: {detail}",
            remedy="too many requests: wait a minute" if status == 429 else "try again in a minute",
        )
    if status == 401:
        return wrong_key(detail)
    if status == 402:
        return no_credit(detail)
    if status == 403:
        return Forbidden(
            f"the API key may not {doing}", cause=detail, remedy=f"give it that permission at {KEYS_PAGE}"
        )
    if status == 404:
        return NoSuchPod("RunPod knows no such pod", cause=detail, remedy="see finetui pods list")
    if status == 422:
        return Rejected(
            f"RunPod did not {doing}: it does not understand the request",
            cause=detail,
            remedy="its API may have changed: update finetui",
        )
    return explain(detail, doing)


def _passing(status: int) -> bool:
    return status == 429 or status >= 500


def _content(response: httpx.Response, doing: str) -> Any:
    if not response.is_success:
        raise refusal(response, doing)
    if response.status_code == 204:
        return None
    found = _json(response)
    if found is None:
        raise CloudUnreachable(
            f"RunPod did not {doing}: its answer is not JSON",
            cause=_detail(response),
            remedy="try again in a minute; a proxy or a login page in between answers like this too",
        )
    return found


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def _detail(response: httpx.Response) -> str:
    """The answer's own explanation, short and on one line; pages of HTML are cut to their beginning."""
    found = _json(response)
    if isinstance(found, dict):
        errors = found.get("errors")
        more = [str(item) for item in errors] if isinstance(errors, list) else []
        text = "; ".join([str(found.get("detail") or found.get("title") or "no reason given"), *more])
        return _one_line(text)[:500]
    return _one_line(response.text)[:120] or "an empty answer"


def _one_line(text: str) -> str:
    """Without what a terminal would obey."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(MAX_WAIT_S, float(text)) if text.isascii() and text.isdigit() else None


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
