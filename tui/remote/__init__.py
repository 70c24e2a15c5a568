"""Talking to an agent: links, framing client, bootstrap, transfers; no Textual."""
