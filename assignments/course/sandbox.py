"""A student's process: in a sandbox of bubblewrap, with limits on all that it could use up."""

import ast
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parents[1] / "lib" / "trainlab"

# For one submission. `memory` holds for one process and for all of them together.
LIMITS = {"memory": 3 * 2**30, "processes": 48, "disk": 64 * 2**20}
REPLY = 64 * 2**20  # bytes
SLEEP = 6  # as in inside.py
PATIENCE = 2.0  # seconds that a cell gets to react to its interruption
# Of the host, and only to be read: the interpreter and what it is linked with.
SYSTEM = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime"]


ENDLESS = "It ran out of time, could not be interrupted, and was ended."


class Died(Exception):
    """The student's process is gone. The text says why, for the student."""


def usable():
    """Return why there is no sandbox on this machine, or None."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (Debian, Ubuntu, Fedora: the package bubblewrap; on Windows in WSL; on a Mac in a Linux machine)"
    attempt = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"],
        capture_output=True,
        text=True,
    )
    return f"bubblewrap does not run: {attempt.stderr.strip()}" if attempt.returncode else None


def without(names, folder):
    """Copy the library to `folder`, with the functions and classes in `names` ("losses.regression:huber") emptied."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(LIBRARY, folder / "trainlab", ignore=ignore)
    for name in names:
        module, _, what = name.partition(":")
        path = folder / "trainlab" / (module.replace(".", "/") + ".py")
        tree = ast.parse(path.read_text("utf-8"))
        found = [node for node in tree.body if getattr(node, "name", None) == what]
        if not found:
            raise ValueError(f"the library has no {name}")
        for node in ast.walk(found[0]):
            if isinstance(node, ast.FunctionDef):
                text = f"{what} is what the task asks for, so it is not there"
                node.body = ast.parse(f"raise NotImplementedError({text!r})").body
        path.write_text(ast.unparse(tree), "utf-8")


def command(python, library, helpers, uid):
    """Return the command that runs inside.py in a sandbox."""
    wrap = ["bwrap", "--die-with-parent", "--new-session", "--clearenv", "--unshare-pid"]
    wrap += ["--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if uid is None:  # root leaves the user namespace out and becomes somebody else inside
        wrap += ["--unshare-user", "--cap-drop", "ALL"]
    for path in SYSTEM:
        wrap += ["--ro-bind-try", path, path]
    prefix, base = (
        subprocess.run(
            [python, "-c", "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"],
            capture_output=True,
            text=True,
            check=True,
        )
        .stdout.strip()
        .split("\n")
    )
    # Folders on the way have to be open to others than root, too.
    for folder in [*reversed(list(Path(base).parents)[:-1]), Path("/book")]:
        wrap += ["--perms", "0755", "--dir", str(folder)]
    if not base.startswith("/usr"):
        wrap += ["--ro-bind", base, base]
    inner = python
    if prefix != base:
        wrap += ["--ro-bind", prefix, "/book/env"]
        inner = "/book/env/bin/python"
    wrap += ["--ro-bind", str(library), "/book/lib", "--ro-bind", str(helpers), "/book/helpers"]
    wrap += ["--ro-bind", str(HERE / "inside.py"), "/book/inside.py"]
    wrap += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp"):
        wrap += ["--perms", "1777", "--size", str(LIMITS["disk"]), "--tmpfs", folder]
    wrap += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in surroundings("/tmp", "/book/lib").items():
        wrap += ["--setenv", name, value]
    return [*wrap, inner, "-B", "/book/inside.py"]


def surroundings(scratch, library):
    names = {"PATH": "/usr/bin:/bin", "HOME": f"{scratch}/home", "TMPDIR": scratch}
    names |= {"PYTHONPATH": library, "MPLCONFIGDIR": f"{scratch}/mpl", "IPYTHONDIR": f"{scratch}/i"}
    names |= {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONHASHSEED": "0"}
    names |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    return names | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "LOKY_MAX_CPU_COUNT": "1"}


class Process:
    """The student's side of the grading: answers requests as inside.py does, or dies.

    Parameters
    ----------
    python : str
        The interpreter of the book's environment.
    helpers : folder
        Files that come with the assignment.
    missing : list of str
        What the library lacks in there: the task asks for it.
    sandbox : bool
        False runs the code with the rights of whoever grades. It is for trying things out.
    fonts : folder, optional
        Matplotlib's list of fonts, which takes seconds to make.
    """

    def __init__(self, python, helpers, missing=(), sandbox=True, fonts=None):
        self.python, self.sandbox, self.helpers, self.fonts = python, sandbox, helpers, fonts
        self.scratch = Path(tempfile.mkdtemp(prefix="trainlab-"))
        self.library = self.scratch / "lib"
        without(missing, self.library)
        (self.scratch / "helpers").mkdir()
        for path in Path(helpers).iterdir():
            if path.suffix in (".py", ".json", ".csv", ".txt"):
                shutil.copy(path, self.scratch / "helpers")
        if fonts and Path(fonts).is_dir():
            shutil.copytree(fonts, self.scratch / "helpers" / "fonts", dirs_exist_ok=True)
        for path in (self.scratch, *self.scratch.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.child = None

    def start(self):
        self.stop()
        # A user of its own for each, so that one's processes do not count against another's limit.
        uid = 100_000 + os.getpid() % 400_000 if self.sandbox and os.getuid() == 0 else None
        if self.sandbox:
            line = command(self.python, self.library, self.scratch / "helpers", uid)
            scratch, helpers, environment = "/tmp", "/book/helpers", {"PATH": os.environ["PATH"]}
        else:
            line = [self.python, "-B", str(HERE / "inside.py")]
            scratch, helpers = str(self.scratch / "tmp"), str(self.scratch / "helpers")
            environment = surroundings(scratch, str(self.library))
        self.reason, self.used, self.allowed = None, 0.0, 60.0
        self.child = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        threading.Thread(target=self._watch, args=(self.child,), daemon=True).start()
        options = LIMITS | {"uid": uid, "scratch": scratch, "helpers": helpers}
        if not self.sandbox:  # where the limit would count all that the user runs
            options["processes"] = None
        self._send(options | {"fonts": f"{helpers}/fonts"})
        self._receive(time.monotonic() + 60)  # that it is ready
        return self

    def request(self, seconds, **request):
        """Send a request, and return the reply, a dict; or raise Died."""
        if self.child is None:
            raise Died("The process was not running any more.")
        self.allowed = self.used + seconds + PATIENCE
        self._send(request | {"seconds": seconds})
        return self._receive(time.monotonic() + SLEEP * seconds + PATIENCE)

    def stop(self, reason=None):
        if self.child is None:
            return
        self.reason = self.reason or reason
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        self.child = None

    def close(self):
        self.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _send(self, request):
        try:
            self.child.stdin.write(json.dumps(request).encode() + b"\n")
            self.child.stdin.flush()
        except OSError:
            self._died()

    def _receive(self, deadline):
        reply, selector = bytearray(), selectors.DefaultSelector()
        selector.register(self.child.stdout, selectors.EVENT_READ)
        while not reply.endswith(b"\n"):
            if not selector.select(max(0, deadline - time.monotonic())):
                self._died(ENDLESS)
            part = os.read(self.child.stdout.fileno(), 2**20)
            if not part:
                self._died()
            reply += part
            if len(reply) > REPLY:
                self._died("It returned more data than is allowed, and was ended.")
        try:
            answer = json.loads(reply)
            if not isinstance(answer, dict) or not {"value", "error"} & set(answer):
                raise ValueError
            return answer
        except (ValueError, RecursionError):
            self._died("It disturbed the channel that its answers are read from.")

    def _died(self, reason=None):
        if reason is None and self.reason is None:
            try:
                status = self.child.wait(2)
            except subprocess.TimeoutExpired:
                status = None
            if status is None:
                reason = "It closed the channel that its answers are read from."
            elif status in (137, -9):
                reason = "It was ended by the system: it may have used too much memory."
            elif status < 0 or status > 128:
                number = -status if status < 0 else status - 128
                name = signal.Signals(number).name if number in set(signal.Signals) else number
                reason = f"It crashed ({name})."
            else:
                reason = f"It ended itself (exit status {status})."
        self.stop(reason)
        raise Died(self.reason)

    def _watch(self, child):
        """End the child when all its processes together use too much memory or processor time."""
        page, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        while child.poll() is None:
            parents, sizes, times = {}, {}, {}
            for path in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
                try:
                    fields = path.read_text().rpartition(")")[2].split()
                    pid = int(path.parent.name)
                    parents[pid], sizes[pid] = int(fields[1]), int(fields[21]) * page
                    times[pid] = sum(map(int, fields[11:15])) / ticks
                except (OSError, ValueError, IndexError):
                    pass
            family, size = {child.pid}, 0
            while len(family) != size:
                size = len(family)
                family |= {pid for pid, parent in parents.items() if parent in family}
            if child is self.child:
                self.used = max(self.used, sum(times.get(pid, 0) for pid in family))
            large = sum(sizes.get(pid, 0) for pid in family) > LIMITS["memory"]
            if large or (child is self.child and self.used > self.allowed):
                self.reason = ENDLESS if not large else "It used too much memory, and was ended."
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                return
            time.sleep(0.2)
