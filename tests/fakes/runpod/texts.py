"""The provider's own words, exactly: some refusals are told apart by nothing else."""

NO_INSTANCES = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
NO_RESOURCES = "This machine does not have the resources to deploy your pod. Please try a different machine"
NO_DISK_SPACE = "There are no longer any instances available with enough disk space."
NO_FREE_GPUS = "There are not enough free GPUs on the host machine to start this pod."
TRANSIENT = "Something went wrong. Please try again later or contact support."
NO_CREDIT = "Your balance is too low to rent this pod. Please add funds."
MISSING_DISK = "pod configuration is incomplete: pass a template id or a disk size"
UNKNOWN_GPU = "gpu type not found"
BAD_CUDA = "There are no longer any instances available with the requested CUDA version."
HTML_502 = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
