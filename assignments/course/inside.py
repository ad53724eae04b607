"""What runs inside the sandbox: a student's cells, and calls of what they define.

Only plain data goes in and out: numbers, texts, lists, dicts, arrays of numbers. So nothing that a
student's objects do when they are compared, printed or unpickled can reach the checks, which run elsewhere.
"""

import base64
import io
import json
import os
import resource
import shutil
import signal
import sys
import traceback

import numpy as np

OUTPUT = 100_000  # characters a cell may print
SLEEP = 6  # seconds by the clock for one of the processor
ARRAY = 32 * 2**20  # bytes of an array that crosses


class Opaque:
    """An object that does not cross: checks see its type's name and nothing else."""

    def __init__(self, name):
        self.name = name


class TooLong(KeyboardInterrupt):
    """A cell ran out of time."""


def encode(value, keep, depth=0):
    """Return a value as something JSON can hold; callables are put into `keep` and cross as a number."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value if kind is not str or len(value) < OUTPUT else {"object": "very long text"}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"scalar": str(value.dtype), "value": value.item()}
    if kind is np.ndarray and value.dtype.kind in "biuf" and value.nbytes <= ARRAY:
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if depth < 6:
        for base, items in ((tuple, tuple.__iter__), (list, list.__iter__)):
            if isinstance(value, base):
                return {
                    base.__name__: [encode(item, keep, depth + 1) for item in items(value)][:9999]
                }
        if kind is set:
            return {"set": [encode(item, keep, depth + 1) for item in value][:9999]}
        if kind is dict:
            pairs = [[k, encode(v, keep, depth + 1)] for k, v in value.items() if type(k) is str]
            return {"dict": pairs[:9999]}
    if callable(value):
        keep.append(value)
        return {"call": len(keep) - 1, "name": str(getattr(value, "__name__", kind.__name__))[:80]}
    return {"object": kind.__name__[:80]}


def decode(value, call):
    """Return what `encode` was given. A callable becomes ``call(number, name)``."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"no numbers: {dtype}")
        flat = np.frombuffer(base64.b64decode(value["array"]), dtype)
        return flat.reshape(value["shape"]).copy()
    if "scalar" in value:
        dtype = np.dtype(value["scalar"])
        if dtype.kind not in "biuf":
            raise ValueError(f"no number: {dtype}")
        return dtype.type(value["value"])
    if "tuple" in value:
        return tuple(decode(item, call) for item in value["tuple"])
    if "list" in value:
        return [decode(item, call) for item in value["list"]]
    if "set" in value:
        return {decode(item, call) for item in value["set"]}
    if "dict" in value:
        return {key: decode(item, call) for key, item in value["dict"]}
    if "call" in value:
        return call(value["call"], value["name"])
    return type(str(value["object"]), (Opaque,), {})(value["object"])


class Printed(io.StringIO):
    """Standard output that stops keeping what is too much."""

    def write(self, text):
        room = OUTPUT - self.tell()
        if room > 0:
            super().write(
                text
                if len(text) <= room
                else text[:room] + "\n[The rest was cut: too much output.]\n"
            )
        return len(text)


class Server:
    """Answers requests, one at a time: run a cell, look up a name, call something."""

    def __init__(self):
        from IPython.core.interactiveshell import InteractiveShell

        self.shell = InteractiveShell.instance()
        self.shell.history_manager.enabled = False
        self.shell.showtraceback = self.shell.showsyntaxerror = lambda *args, **options: None
        self.kept = []

    def handle(self, request):
        try:
            return getattr(self, "do_" + request["do"])(request)
        except TooLong:
            return {"error": ["TooLong", "it ran out of time and was interrupted"]}
        except BaseException as error:  # SystemExit of a student's function, too
            return {"error": [type(error).__name__, str(error)[:500]]}

    def do_forget(self, request):
        """Start from nothing, which the tests do instead of starting a process."""
        self.shell.reset(new_session=False)
        self.kept.clear()
        return {"value": None}

    def do_run(self, request):
        from IPython.core.displayhook import CapturingDisplayHook
        from IPython.core.displaypub import CapturingDisplayPublisher

        shell, printed, shown = self.shell, Printed(), CapturingDisplayPublisher()
        shell.display_pub = shown
        shell.display_trap.hook = CapturingDisplayHook(shell, shown.outputs)
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = printed
        try:
            done = shell.run_cell(request["code"], store_history=False)
        finally:
            sys.stdout, sys.stderr = before
        outputs = []
        if printed.getvalue():
            outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
        for item in shown.outputs[:20]:
            data = {
                mime: text
                for mime, text in item["data"].items()
                if mime in ("text/plain", "image/png") and len(text) < 20 * OUTPUT
            }
            if isinstance(data.get("image/png"), bytes):
                data["image/png"] = base64.b64encode(data["image/png"]).decode()
            outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
        error = done.error_before_exec or done.error_in_exec
        if error is not None:
            lines = traceback.format_exception_only(type(error), error)
            outputs.append(
                {
                    "output_type": "error",
                    "ename": type(error).__name__,
                    "evalue": str(error)[:2000],
                    "traceback": ["".join(lines)[:4000]],
                }
            )
        return {"value": outputs}

    def do_get(self, request):
        space = self.shell.user_ns
        return {
            "value": {
                name: encode(space[name], self.kept) for name in request["names"] if name in space
            }
        }

    def do_call(self, request):
        def local(index, name):
            return self.kept[index]

        values = [decode(value, local) for value in request["values"]]
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = Printed()
        try:
            result = self.kept[request["call"]](*values)
        finally:
            sys.stdout, sys.stderr = before
        # The arrays that it was given come back, so that the checks see what it did to them.
        given = [encode(v, self.kept) if isinstance(v, np.ndarray) else None for v in values]
        return {"value": encode(result, self.kept), "given": given}


def limit(options):
    """Give up what root may do, and set the limits of this process and of all that it starts."""
    if os.getuid() == 0 and options["uid"]:
        os.setgroups([])
        os.setgid(options["uid"])
        os.setuid(options["uid"])
    for name, value in (
        ("AS", options["memory"]),
        ("NPROC", options["processes"]),
        ("FSIZE", options["disk"]),
        ("CORE", 0),
        ("NOFILE", 256),
    ):
        if value is not None:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def main():
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    options = json.loads(requests.readline())
    limit(options)
    for folder in ("mpl", "home", "work"):
        os.makedirs(f"{options['scratch']}/{folder}", exist_ok=True)
    if os.path.isdir(options["fonts"]):
        shutil.copytree(options["fonts"], f"{options['scratch']}/mpl", dirs_exist_ok=True)
    os.chdir(f"{options['scratch']}/work")
    sys.path[0] = options["helpers"]

    def stop(number, frame):
        raise TooLong("The cell ran out of time and was interrupted.")

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, stop)
    server = Server()
    replies.write(b'{"value": "ready"}\n')
    replies.flush()
    for line in requests:
        request = json.loads(line)
        try:
            # Of processor time, so that a busy machine costs nobody a mark; a cell that sleeps gets more.
            signal.setitimer(signal.ITIMER_PROF, request["seconds"])
            signal.setitimer(signal.ITIMER_REAL, SLEEP * request["seconds"])
            reply = server.handle(request)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except TooLong:
            reply = {"error": ["TooLong", "it ran out of time and was interrupted"]}
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()
