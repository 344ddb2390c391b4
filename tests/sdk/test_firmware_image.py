"""Memory images: what is written is read back by small readers of the formats."""

import struct

import pytest

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.firmware.image import hex_text, joined, read_elf, uf2

PARTS = [(0x1000FFF0, bytes(range(256)) * 2), (0x10200010, b"model" * 100)]


def memory(parts):
    return {address + n: byte for address, content in parts for n, byte in enumerate(content)}


def read_hex(text: str) -> dict[int, int]:
    out, high = {}, 0
    for line in text.splitlines():
        raw = bytes.fromhex(line.removeprefix(":"))
        count, address, kind, content = raw[0], int.from_bytes(raw[1:3], "big"), raw[3], raw[4:-1]
        assert sum(raw) % 256 == 0 and count == len(content) <= 16
        if kind == 4:
            high = int.from_bytes(content, "big") << 16
        elif kind == 0:
            assert address + count <= 65536  # a line does not run over the end of its segment
            out |= {high + address + n: byte for n, byte in enumerate(content)}
    assert kind == 1
    return out


def read_uf2(content: bytes, family: int) -> dict[int, int]:
    out, blocks = {}, [content[n : n + 512] for n in range(0, len(content), 512)]
    for n, block in enumerate(blocks):
        first, second, flags, address, size, number, count, found = struct.unpack_from("<8I", block)
        assert (first, second, block[-4:]) == (0x0A324655, 0x9E5D5157, struct.pack("<I", 0x0AB16F30))
        assert (flags, size, number, count, found) == (0x2000, 256, n, len(blocks), family)
        assert len(block) == 512 and address % 256 == 0 and address not in out
        out |= {address + k: byte for k, byte in enumerate(block[32 : 32 + size])}
    return out


def test_hex_holds_every_byte_at_its_address():
    assert read_hex(hex_text(PARTS)) == memory(PARTS)


def test_uf2_holds_every_byte_at_its_address_and_zeros_around():
    found, expected = read_uf2(uf2(PARTS, 0xE48BFF59), 0xE48BFF59), memory(PARTS)
    assert {address: found[address] for address in expected} == expected
    assert not any(byte for address, byte in found.items() if address not in expected)
    assert len(found) == 256 * (3 + 3)  # the pages that the two parts touch


def test_parts_with_a_gap_of_alignment_become_one():
    assert joined([(108, b"cd"), (100, b"abcde")]) == [(100, b"abcde\0\0\0cd")]
    assert joined([(0, b"a"), (4096, b"b")]) == [(0, b"a"), (4096, b"b")]


def elf(segments, sections, entry=0x41):
    """A 32-bit ELF file of (paddr, bytes) and (name, flags, bytes in memory)."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections) + b".shstrtab\0"
    body, at, programs = b"", 52 + 32 * len(segments), b""
    for paddr, content in segments:
        programs += struct.pack("<8I", 1, at + len(body), paddr + 0x1000, paddr, len(content), len(content), 5, 4)
        body += content
    headers, offset = b"", 1
    for name, flags, size in sections:
        headers += struct.pack("<10I", offset, 1, flags, 0, 0, size, 0, 0, 4, 0)
        offset += len(name) + 1
    headers += struct.pack("<10I", offset, 3, 0, 0, at + len(body), len(names), 0, 0, 1, 0)
    start = at + len(body) + len(names)
    head = struct.pack("<4s12xHHIIIIIHHHHHH", b"\x7fELF", 2, 40, 1, entry, 52, start, 0, 52, 32, len(segments), 40,
                       len(sections) + 1, len(sections))  # fmt: skip
    return head[:4] + b"\x01\x01\x01" + head[7:] + programs + body + names + headers


def test_an_elf_file_gives_its_load_addresses_and_the_sizes_of_what_it_allocates(tmp_path):
    sections = [(".text", 6, 8), (".bss", 3, 4000), (".debug", 0, 99)]
    (tmp_path / "a.elf").write_bytes(elf([(0x2000, b"abcd"), (0x100, b"12345678"), (0x300, b"")], sections))
    read = read_elf(tmp_path / "a.elf")
    assert read.entry == 0x41
    assert read.parts == [(0x100, b"12345678"), (0x2000, b"abcd")]
    assert read.sections == {".text": 8, ".bss": 4000}


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.elf").write_bytes(b"MZ" + bytes(100))
    with pytest.raises(EdgeEnhanceError, match="not a 32-bit little-endian ELF"):
        read_elf(tmp_path / "a.elf")
    with pytest.raises(EdgeEnhanceError, match="edgeenhance firmware build makes it"):
        read_elf(tmp_path / "b.elf")
