"""The part of finetui that runs on the machine with the GPUs."""

VERSION = "0.1.0"
