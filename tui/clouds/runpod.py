"""The user's RunPod account through the API that the settings name."""

from __future__ import annotations

from tui.clouds.base import Cloud
from tui.clouds.runpod_account import api_base, load_key
from tui.config import load_config


def open_account() -> Cloud:
    """Return the account; no request is made yet. Raises NoKey, InvalidInput.

    With ``runpod_api = "graphql"`` it imports the SDK, which takes 2 s.
    """
    key, base = load_key(), api_base()
    if load_config().runpod_api == "graphql":
        from tui.clouds.runpod_graphql import RunPodGraphql
        from tui.clouds.runpod_http import RunPodHttp
        from tui.clouds.runpod_sdk import Sdk

        return RunPodGraphql(key, Sdk(key), RunPodHttp(key, base))
    from tui.clouds.runpod_v2 import RunPodV2

    return RunPodV2(key, base)
