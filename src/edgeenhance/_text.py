"""Tables for the terminal, the same for every command."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Columns aligned with spaces; the first `left` columns flush left, the others right."""
    cells, widths = _aligned(header, rows, left)
    lines = ["  ".join(row) for row in cells]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """The same as a Markdown table, which can be read as it is, too."""
    cells, widths = _aligned(header, rows, left)
    cells.insert(1, ["-" * w if c < left else "-" * (w - 1) + ":" for c, w in enumerate(widths)])
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _aligned(header: Sequence[str], rows: Sequence[Sequence[object]], left: int) -> tuple[list[list[str]], list[int]]:
    """All cells, padded to the columns' widths, and these; 3 at least, as Markdown wants."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[c]) for row in cells)) for c in range(len(header))]
    return [[_pad(cell, w, c < left) for c, (cell, w) in enumerate(zip(row, widths))] for row in cells], widths


def _pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
