"""What to run: the catalogue of presets, run specs, rendering, datasets and sizing; pure."""
