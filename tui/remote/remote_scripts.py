"""The three POSIX sh scripts that run on a machine before the agent does.

The login shell (bash, fish, csh ...) sees ``LOADER`` only, in which there is nothing to quote. The script
and its arguments follow on stdin, one line each; ``read`` takes them byte by byte, so that the rest of stdin
stays for whoever comes next. Each answer is a line with a random marker: rc files may print around it.
"""

from __future__ import annotations

from collections.abc import Sequence

from presets.errors import InvalidInput

LOADER = "exec sh -c 'IFS= read -r s; eval \"$s\"'"

#: Dash's echo would expand a backslash in a path.
_SAY = r"""say() { printf "%s\n" "$m $*"; };"""

#: The rule of ``remote_agent.places``, which the relay is then told outright.
_STATE_DIR = """
s="$FINETUI_STATE_DIR";
if [ -z "$s" ]; then
    if [ -d /workspace ] && [ -w /workspace ]; then s=/workspace/.finetui;
    else s="$HOME/.local/state/finetui"; fi;
fi;
"""

#: Arguments: marker, build. Becomes the relay, or says ``absent`` when that build is not there.
START = f"""
IFS= read -r m; IFS= read -r b;
{_SAY}
{_STATE_DIR}
a="$s/agent/$b"; p="";
if [ -r "$a/python" ]; then IFS= read -r p < "$a/python"; fi;
if [ -f "$a/agent.pyz" ] && [ -x "$p" ]; then
    FINETUI_STATE_DIR="$s"; export FINETUI_STATE_DIR; exec "$p" -I "$a/agent.pyz" relay "$m";
fi;
say "absent";
"""

#: What agent.pyz imports; a Python without it (Debian's minimal one, say) is passed over.
_SUITABLE = (
    "import sys, asyncio, ctypes, fcntl, hashlib, json, ssl, subprocess, zipimport, zlib;"
    " sys.version_info >= (3, 10) or sys.exit(1); print(sys.executable)"
)
_PYTHONS = (
    "python3.12 python3.11 python3.13 python3.10 python3 python /opt/conda/bin/python3 /venv/main/bin/python3"
    " /usr/local/bin/python3 $HOME/miniconda3/bin/python3 $HOME/.local/bin/python3"
)

#: Argument: marker. Finds a Python and makes the agent's folder.
PROBE = f"""
IFS= read -r m;
{_SAY}
{_STATE_DIR}
say "system $(uname -s) $(uname -m)";
say "state $s";
for p in {_PYTHONS}; do
    v=$(command -v "$p" 2>/dev/null) || continue;
    x=$("$v" -I -S -c "{_SUITABLE}" 2>/dev/null </dev/null) && [ -x "$x" ] && say "python $x" && break;
    say "unsuitable $v $("$v" -V 2>&1 </dev/null)";
done;
w="$s/agent/.probe.$$";
if e=$(umask 077; (mkdir -p "$s/agent" && : > "$w" && rm -f "$w") 2>&1); then
    say "writable";
else
    say "unwritable $e";
fi;
say "end";
"""

_HASH = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"

#: Arguments: marker, build folder, python, SHA-256; then the file. Two clients at once both succeed.
UPLOAD = f"""
IFS= read -r m; IFS= read -r d; IFS= read -r p; IFS= read -r h;
{_SAY}
umask 077; t="$d/.upload.$$";
trap "rm -f \\"$t\\"" EXIT; trap "exit 1" HUP INT TERM PIPE;
mkdir -p "$d" || {{ say "failed"; exit 1; }};
cat > "$t" || {{ say "failed"; exit 1; }};
g=$("$p" -I -S -c "{_HASH}" < "$t");
[ "$g" = "$h" ] || {{ say "torn"; exit 1; }};
mv -f "$t" "$d/agent.pyz" && printf "%s\\n" "$p" > "$t" && mv -f "$t" "$d/python" ||
    {{ say "failed"; exit 1; }};
say "stored";
"""


def script_input(script: str, *arguments: str) -> bytes:
    """Return what to write to ``LOADER``'s stdin; raises InvalidInput for an argument with a newline."""
    for argument in arguments:
        if "\n" in argument:
            raise InvalidInput(f"a path with a line break can't be used: {argument!r}")
    lines = (" ".join(line.strip() for line in script.splitlines()).strip(), *arguments)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def answers(output: bytes, marker: str) -> Sequence[tuple[str, str]]:
    """Return the answers (word, rest) among the noise in ``output``."""
    found = []
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        _, separator, answer = line.partition(f"{marker} ")
        if separator:
            word, _, rest = answer.strip().partition(" ")
            found.append((word, rest))
    return found
