"""The last step of an environment's build: ``-m remote_agent.trainers.warm_up MODULE...``.

Imports the modules that must be there, and does what the first run would have to wait for: byte code is
written for what a training imports (LLaMA-Factory's import takes 16.7 s of CPU time without it, 6.5 s with
it), and DeepSpeed's extension for ranks on a CPU is compiled (50 s of CPU time).
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

from remote_agent.trainers.extensions import own_extensions
from remote_agent.trainers.files import say

#: What a first run imports beyond the trainer's own package.
MORE = {
    "llamafactory": (
        "llamafactory.train.tuner",
        "llamafactory.api.app",
        "transformers.models.llama.modeling_llama",
    ),
    "deepspeed": ("deepspeed.launcher.runner", "deepspeed.launcher.launch", "deepspeed.runtime.engine"),
}


def main(argv: list[str]) -> int:
    """Warm up; what is missing is raised, what only costs the first run its time is said."""
    for name in argv:
        importlib.import_module(name)
    for name in argv:
        for module in MORE.get(name, ()):
            importlib.import_module(module)
    if "deepspeed" in argv:
        compile_extension()
    return 0


def compile_extension() -> None:
    """Compile what ranks on a CPU talk through; where that fails, the first run tries again."""
    import torch

    if torch.cuda.is_available():
        return
    os.environ["DS_ACCELERATOR"] = "cpu"
    # torch looks for ninja there, as it will in a run.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])
    extensions = own_extensions()
    try:
        # By its full name: in deepspeed.comm the word torch means torch itself.
        importlib.import_module("deepspeed.comm.torch").build_shm_op()
    except (OSError, RuntimeError, AttributeError, subprocess.CalledProcessError) as error:
        say(f"DeepSpeed's extension for CPUs could not be compiled: {error}")
    finally:
        if extensions is not None:
            extensions.loaded()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
