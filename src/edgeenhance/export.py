"""An enhancer as C source: `write_setup` (edgeenhance export) writes all that a C program needs beside the library.

NAME.h declares, NAME.c defines: the network's program, the tables of every look direction, the configuration, and the
function that starts an enhancer with them. The numbers are those that `Enhancer` gives the kernel, bit for bit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._files import atomic_path
from .beamform import design
from .chain import kernel_tables
from .enhancer import Enhancer
from .errors import EdgeEnhanceError
from .kernel import ffi, lib
from .nativenet import NativeNet
from .program import c_array

HEADER = """\
/*
 * {name}.h: {summary}.
 * Written by edgeenhance export; docs/c-guide.md shows how to use it. It and {name}.c go with edgeenhance {version}.
 */
#ifndef {NAME}_H
#define {NAME}_H

#include <edgeenhance.h>

#if EE_VERSION_MAJOR != {major} || EE_VERSION_MINOR != {minor}
#error "{name}.h was written for edgeenhance {version}; export it again"
#endif

#ifdef __cplusplus
extern "C" {{
#endif

#define {NAME}_SAMPLE_RATE {sample_rate}
#define {NAME}_MICS {mics} /* input channels */
#define {NAME}_EARS {ears} /* output channels */
#define {NAME}_HOP {hop} /* samples */
#define {NAME}_LOOKS {looks} /* directions: {directions} degrees; 0 front, 90 left */
#define {NAME}_BYTES {bytes} /* of memory for one enhancer */

extern const float {name}_degrees[{NAME}_LOOKS];
extern const ee_beam {name}_looks[{NAME}_LOOKS]; /* for ee_enhancer_set_beam */
extern const ee_config {name}_config; /* but for the mask, which init sets */
{model}
/* Start an enhancer, at the first look direction, in `bytes` bytes of memory, aligned or not. Again on the same memory:
 * it starts anew. Returns 0 or an error code, see ee_strerror. */
int {name}_init(ee_enhancer **out, void *memory, size_t bytes);

#ifdef __cplusplus
}}
#endif
#endif
"""

START = """
/* The enhancer lies first in the memory, 16-byte aligned{and_network}. */
int {name}_init(ee_enhancer **out, void *memory, size_t bytes)
{{
    ee_config config = {name}_config;
    if (!out || !memory) return EE_ERR_NULL;
    size_t skip = (16 - (uintptr_t)memory % 16) % 16;
    char *start = (char *)memory + skip;
    if (bytes < skip) return EE_ERR_MEMORY;
    bytes -= skip;
{network}    return ee_enhancer_init(out, start, bytes, &config, &{name}_looks[0]);
}}
"""

NETWORK = """\
    config.mask = ee_net_step;
    size_t size = ee_enhancer_size(&config);
    if (bytes < size) return EE_ERR_MEMORY;
    ee_net *net;
    int code = ee_net_init(&net, start + size, bytes - size, {name}_model, sizeof {name}_model);
    if (code) return code;
    config.mask_user = net;
"""


def write_setup(
    enhancer: Enhancer,
    folder: str | os.PathLike[str],
    looks: Sequence[float] | None = None,
    name: str = "ee_setup",
    *,
    network: bool = True,
) -> list[Path]:
    """Write folder/NAME.c and folder/NAME.h; returns their paths. The folder is made where it is missing.

    looks : degrees, the directions to choose from, the first one at the start; None: the enhancer's own
    name : of the files, and what all names in them begin with
    network : False leaves the network out, for programs that have it from elsewhere; its bands stay
    Raises ValueError for names that C does not take, EdgeEnhanceError where the network does not run in C or the files
    cannot be written.
    """
    looks = [enhancer.look] if looks is None else [float(look) for look in looks]
    if not looks or not np.all(np.isfinite(looks)):
        raise ValueError(f"got look directions {looks}; pass one or more, in degrees, 0 = front, anticlockwise")
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or hasattr(lib, f"{name}_init"):
        raise ValueError(f"got name={name!r}; pass a name for C that the library does not have, such as ee_setup")
    net = enhancer._mask
    if net is not None and not isinstance(net, NativeNet):
        raise EdgeEnhanceError("the network runs in Python; give the Enhancer a model's name or file, backend 'native'")
    net = net if network else None
    texts = {f"{name}.c": _source(enhancer, net, looks, name), f"{name}.h": _header(enhancer, net, looks, name)}
    paths = [Path(folder) / file for file in texts]
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeEnhanceError(f"cannot make the folder {folder}: {error.strerror}") from error
    for path, text in zip(paths, texts.values()):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="ascii", errors="replace")
    return paths


def _header(enhancer: Enhancer, net: NativeNet | None, looks: list[float], name: str) -> str:
    config = enhancer._chain.config
    model = f"extern const uint32_t {name}_model[{len(net.program) // 4}]; /* the network's program */\n" if net else ""
    summary = (
        f"{enhancer.array.name}, profile {enhancer.profile.name}, beamformer {enhancer._beamformer.name}, "
        f"model {net.name if net else 'none'}, {' and '.join(enhancer.ears)} ear"
    )
    return HEADER.format(
        name=name, NAME=name.upper(), summary=summary.replace("*", ""), major=lib.EE_VERSION_MAJOR,
        minor=lib.EE_VERSION_MINOR, version=f"{lib.EE_VERSION_MAJOR}.{lib.EE_VERSION_MINOR}", model=model,
        sample_rate=config.sample_rate, mics=config.mics, ears=config.ears, hop=enhancer.profile.hop, looks=len(looks),
        directions=", ".join(f"{look:g}" for look in looks),
        bytes=lib.ee_enhancer_size(config) + (net.memory if net else 0) + 15,
    )  # fmt: skip


def _source(enhancer: Enhancer, net: NativeNet | None, looks: list[float], name: str) -> str:
    config = enhancer._chain.config
    centers = ", ".join(str(config.centers[band]) for band in range(config.bands))
    parts = [f'/* {name}.c: tables, see {name}.h. */\n#include "{name}.h"\n']
    if net:
        parts.append(c_array(net.program, f"const uint32_t {name}_model"))
    beams = [_tables(enhancer, look, f"look_{n}", parts) for n, look in enumerate(looks)]
    parts.append(f"const float {name}_degrees[{len(looks)}] = {{{', '.join(_float(look) for look in looks)}}};\n")
    parts.append(f"const ee_beam {name}_looks[{len(looks)}] = {{\n{''.join(beams)}}};\n")
    parts.append(f"static const int16_t centers[{config.bands}] = {{{centers}}};\n")
    parts.append(f"const ee_config {name}_config = {{\n{_settings(config)}}};\n")
    network = NETWORK.format(name=name) if net else ""
    start = START.format(name=name, network=network, and_network=", the network after it" if net else "")
    return "\n".join(parts) + start


def _tables(enhancer: Enhancer, look: float, prefix: str, parts: list[str]) -> str:
    """Adds the arrays that a look direction needs to parts; returns the ee_beam that names them."""
    config = enhancer._chain.config
    tables = kernel_tables(design(enhancer.array, enhancer._beamformer, look, enhancer.profile, enhancer.ears))
    needed = {"weights", "noise", "sum", "ear"}
    needed |= {"steering", "prior"} if config.beamformer == lib.EE_BEAM_MVDR else set()
    needed |= {"turn"} if config.look_steps else set()
    names = [name for name in tables if name in needed]
    for name in names:
        values = [_float(value) for value in tables[name].ravel().tolist()]
        lines = ",\n    ".join(", ".join(values[n : n + 8]) for n in range(0, len(values), 8))
        parts.append(f"static const float {prefix}_{name}[{len(values)}] = {{\n    {lines},\n}};\n")
    return "    {" + ", ".join(f".{name} = {prefix}_{name}" for name in names) + "},\n"


def _settings(config: Any) -> str:
    """The fields of an ee_config as designated initializers, but for the mask."""
    lines = []
    for name, field in ffi.typeof("ee_config").fields:
        value = getattr(config, name)
        if name == "centers":
            text = "centers"
        elif name == "beamformer":
            text = "EE_BEAM_MVDR" if value == lib.EE_BEAM_MVDR else "EE_BEAM_FIXED"
        elif field.type.kind == "array":
            text = f"{{{', '.join(str(number) for number in value)}}}"
        elif field.type.kind == "primitive":
            text = _float(value) if field.type.cname == "float" else str(value)
        else:  # mask, mask_user
            continue
        lines.append(f"    .{name} = {text},\n")
    return "".join(lines)


def _float(value: float) -> str:
    """A float32 literal that reads back as the same bits."""
    return f"{value:.8e}f"
