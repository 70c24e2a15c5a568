"""The laptop side of finetui: command line, terminal UI and what both stand on."""
