"""Immutable snapshots, series, the log spool and the history on disk; no Textual."""
