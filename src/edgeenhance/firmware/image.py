"""Memory images: a list of parts, (address, bytes). ELF is read, Intel HEX and UF2 are written.

Sources: the ELF specification 1.2; Intel's hexadecimal object file format; UF2, github.com/microsoft/uf2.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from ..errors import EdgeEnhanceError

Parts = list[tuple[int, bytes]]
UF2_PAYLOAD = 256
UF2_FAMILY_GIVEN = 0x2000
_GAP = 256  # bytes between sections that alignment leaves: less than this joins them
_LOAD, _ALLOCATED = 1, 2


@dataclass(frozen=True)
class Elf:
    """entry : address where it starts · parts : what is written into flash · sections : name -> bytes in memory"""

    entry: int
    parts: Parts
    sections: dict[str, int]


def read_elf(path: str | os.PathLike[str]) -> Elf:
    """A 32-bit little-endian program; EdgeEnhanceError where it is missing or something else."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error.strerror}; edgeenhance firmware build makes it") from error
    if content[:6] != b"\x7fELF\x01\x01":
        raise EdgeEnhanceError(f"{path} is not a 32-bit little-endian ELF file")
    entry, programs, headers = struct.unpack_from("<III", content, 24)
    program_size, count, size, number, names = struct.unpack_from("<HHHHH", content, 42)
    segments = [struct.unpack_from("<IIIII", content, programs + n * program_size) for n in range(count)]
    loaded = [(paddr, content[at : at + length]) for kind, at, _, paddr, length in segments if kind == _LOAD and length]
    sections = [struct.unpack_from("<IIIIII", content, headers + n * size) for n in range(number)]
    text = content[sections[names][4] :]
    kept = {
        text[name : text.index(b"\0", name)].decode(): length
        for name, _, flags, _, _, length in sections
        if flags & _ALLOCATED
    }
    return Elf(entry, joined(loaded), kept)


def joined(parts: Parts) -> Parts:
    """Sorted parts, with zeros in the gaps that alignment leaves."""
    out: Parts = []
    for address, content in sorted(parts):
        gap = address - (out[-1][0] + len(out[-1][1])) if out else _GAP
        if 0 <= gap < _GAP:
            out[-1] = (out[-1][0], out[-1][1] + bytes(gap) + content)
        else:
            out.append((address, content))
    return out


def hex_text(parts: Parts) -> str:
    """Intel HEX, 16 bytes a line."""
    lines = []
    for address, content in parts:
        high = -1
        for n in range(0, len(content), 16):
            here = address + n
            if here >> 16 != high:
                high = here >> 16
                lines.append(_hex_line(4, 0, high.to_bytes(2, "big")))
            line = content[n : n + min(16, 65536 - (here & 0xFFFF))]
            lines.append(_hex_line(0, here & 0xFFFF, line))
    return "\n".join([*lines, _hex_line(1, 0, b""), ""])


def _hex_line(kind: int, address: int, content: bytes) -> str:
    raw = struct.pack(">BHB", len(content), address, kind) + content
    return f":{raw.hex().upper()}{-sum(raw) % 256:02X}"


def uf2(parts: Parts, family: int) -> bytes:
    """UF2 blocks of 256 bytes, on addresses that are multiples of it; the rest of a block is zeros."""
    pages: dict[int, bytearray] = {}
    for address, content in parts:
        for n, byte in enumerate(content, address):
            pages.setdefault(n // UF2_PAYLOAD, bytearray(UF2_PAYLOAD))[n % UF2_PAYLOAD] = byte
    blocks = []
    for number, page in enumerate(sorted(pages)):
        head = (0x0A324655, 0x9E5D5157, UF2_FAMILY_GIVEN, page * UF2_PAYLOAD, UF2_PAYLOAD, number, len(pages), family)
        blocks.append(struct.pack("<8I476sI", *head, bytes(pages[page]), 0x0AB16F30))
    return b"".join(blocks)
