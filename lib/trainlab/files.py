"""Files of arrays that are whole or not there: what checkpoints and sweeps are kept in."""

import contextlib
import os
import zipfile

import numpy as np


def write_arrays(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write a dict of arrays to exactly `path`, as an uncompressed ``.npz``, without pickle.

    The file appears under its name only when its last byte is on the disk; killed before that,
    the process leaves what was there before. A symbolic link stays one: the file it leads to is
    written.

    Raises
    ------
    OSError
        If the disk is full, or the folder missing; nothing has changed then.
    """
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"{path} is no file to write to")  # a device, say, which would be replaced
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy's stub has no room for names
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the dict of arrays that ``write_arrays`` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or something else; the arrays are under a checksum.
    """
    try:
        # Opened here, because np.load leaves the file of a broken archive open.
        with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
            # By the full name in the archive: NumPy would take "a" for "a.npy", where both are
            # there.
            return {name: file[f"{name}.npy"] for name in file.files}
    except (FileNotFoundError, PermissionError):
        raise
    # A flipped bit can also announce a compression, an encryption or a place that does not exist.
    except (
        zipfile.BadZipFile,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:
        raise ValueError(f"{path} is not a whole file of arrays: {error}") from error
