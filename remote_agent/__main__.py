"""The roles of agent.pyz: ``relay MARK``, ``agentd``, ``supervise RUN``, ``guard``, ``environment NAME``."""

from __future__ import annotations

import sys

USAGE = "usage: agent.pyz relay MARKER | agentd | supervise RUN | guard | environment NAME ..."


def main(arguments: list[str]) -> int:
    """Run one role and return its exit status; a role's modules are imported only when it runs."""
    role, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if role == "relay":
        from remote_agent import relay

        return relay.main(rest)
    if role == "agentd":
        from remote_agent import agentd

        return agentd.main(rest)
    if role == "supervise":
        from remote_agent import supervise

        return supervise.main(rest)
    if role == "guard":
        from remote_agent import guard

        return guard.main(rest)
    if role == "environment":
        from remote_agent import environments

        return environments.main(rest)
    sys.stderr.write(USAGE + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
