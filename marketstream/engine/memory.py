"""Give free memory back to the system.

Python and the C library keep what a flood made them take: objects that know each other until there are a
hundred thousand new ones, and free blocks between others for good.
"""

import ctypes
import gc


def release() -> None:
    """Return free memory to the system; takes milliseconds, so only for the end of something unusual."""
    # The oldest generation holds every connected client: looking through it would stop the loop for long.
    gc.collect(1)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        # Only glibc has it, and only it needs it.
        trim(0)
