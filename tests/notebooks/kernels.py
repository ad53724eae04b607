"""Kernels that talk through files. TCP ports are drawn before they are bound, so two kernels that start together may draw the same.

As a pytest plugin (-p kernels) it gives nbval such kernels.
"""

import itertools
import tempfile

from jupyter_client.manager import KernelManager

FOLDER = tempfile.TemporaryDirectory(prefix="kernels-")
COUNT = itertools.count()


def own_files():
    """Options of a kernel manager: where its kernel talks, and nobody else."""
    return {"transport": "ipc", "ip": f"{FOLDER.name}/{next(COUNT)}"}


def pytest_configure(config):
    import nbval.kernel

    nbval.kernel.KernelManager = lambda **options: KernelManager(**own_files(), **options)
