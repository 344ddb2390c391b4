"""Write the cffi module's C source from the headers: C and Python cannot drift.

usage: python binding.py edgeenhance.h host/live.h _kernel.c
"""

import re
import sys
from pathlib import Path

from cffi import FFI


def declarations(header: str) -> str:
    """The header as cffi's cdef takes it: no includes, guards or extern "C"; integer #defines stay."""
    header = re.sub(r"#ifdef __cplusplus.*?#endif", "", header, flags=re.S)
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    lines = header.splitlines()
    return "\n".join(x for x in lines if not x.startswith("#") or re.match(r"#define \w+ -?\d+\s*$", x))


def main() -> None:
    *headers, out = sys.argv[1:]
    ffi = FFI()
    for header in headers:
        ffi.cdef(declarations(Path(header).read_text(encoding="utf-8")))
    # The mask network of today runs in a TFLite runtime, called back from the kernel once per hop.
    ffi.cdef('extern "Python" int ee_python_mask(void *user, const int16_t *features, int16_t *gains);')
    includes = "".join(f'#include "{Path(header).name}"\n' for header in headers)
    ffi.set_source("edgeenhance._kernel", includes, py_limited_api=True)
    ffi.emit_c_code(out)


if __name__ == "__main__":
    main()
