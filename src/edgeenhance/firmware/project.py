"""A firmware project: a folder that CMake and a compiler turn into firmware, with or without Python.

`new` writes it: kernel, startup and linker script as they are in csrc, tables and model as const arrays, main loop.
`Project` is such a folder again, for build, run and flash.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import _umask
from .._toml import load_toml
from ..arrays import MicArray
from ..enhancer import Enhancer
from ..errors import EdgeEnhanceError
from ..export import write_setup
from ..nativenet import NativeNet
from ..profiles import profile as profile_named
from ..program import c_array
from .boards import Board, board_named, memory_map

DEFAULTS = {
    "profile": "assist", "beamformer": "mvdr", "look": 0.0, "strength": 1.0, "ears": "left", "cues": 0.0,
    "ceiling": -1.0,
}  # fmt: skip
SHARED = ("arm-none-eabi.cmake", "sections.ld", "board.h", "board_cortexm.c")
MODEL_MEMORY = 4096  # bytes that main.c has for a network's state
MODEL = """\
/* model.c: the network in its own region of the flash (board/{script}), where it can be exchanged alone. */
#include <stdint.h>

const char firmware_about[] = "{about}";
"""


@dataclass(frozen=True)
class Project:
    """folder : as `new` made it · board · settings : of the Enhancer, but array and model"""

    folder: Path
    board: Board
    settings: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | os.PathLike[str] = ".") -> Project:
        """Raises EdgeEnhanceError for a folder that `new` has not made."""
        path = Path(folder).resolve()
        if not (path / "firmware.toml").is_file():
            make = "make one with edgeenhance firmware new DIR --board NAME"
            raise EdgeEnhanceError(f"{path} is not a firmware project; {make}")
        facts = load_toml(path / "firmware.toml")
        if set(facts) != {"board", *DEFAULTS}:
            raise EdgeEnhanceError(f"{path / 'firmware.toml'} does not have the keys board, {', '.join(DEFAULTS)}")
        return cls(path, board_named(facts.pop("board")), facts)

    def enhancer(self) -> Enhancer:
        """What the firmware computes, in Python."""
        model = self.folder / "model.eebin"
        return _enhancer(self.folder / "array.toml", model if model.is_file() else "none", self.settings)

    @property
    def elf(self) -> Path:
        return self.folder / "build" / "firmware.elf"

    @property
    def memory(self) -> dict[str, tuple[int, int]]:
        """Region -> (origin, bytes), as the linker script has it."""
        return memory_map(self.folder / "board" / self.board.script)


def new(
    folder: str | os.PathLike[str], board: str, array: str | os.PathLike[str] | MicArray, model: str, **settings: Any
) -> Path:
    """Write a project; returns its folder. An existing folder must be empty; nothing is written when anything is wrong.

    board : a name of `BOARDS` · array, model, settings : as for `Enhancer` (profile, beamformer, look, strength, ears,
    cues, and ceiling, which is -1 dBFS where none is given); blocks are one hop
    Raises ValueError for wrong arguments, EdgeEnhanceError for files and folders.
    """
    chosen = board_named(board)
    settings = DEFAULTS | {name: value for name, value in settings.items() if value is not None}
    written = MicArray.load(array).to_toml()
    array = MicArray.from_toml_text(written)  # its positions as `Project.enhancer` reads them
    enhancer = _enhancer(array, model, settings)
    with _new_folder(Path(folder).resolve()) as place:
        _copy_sources(place, chosen)
        write_setup(enhancer, place / "setup", network=False)
        _write_model(place, chosen, enhancer)
        (place / "array.toml").write_text(written, encoding="utf-8")
        (place / "firmware.toml").write_text(_facts(chosen, settings), encoding="utf-8")
    return Path(folder)


def check_model(project: Project, net: NativeNet) -> None:
    """EdgeEnhanceError where the firmware would refuse this network."""
    _, room = project.memory["MODEL"]
    if net.profile != project.settings["profile"]:
        raise EdgeEnhanceError(
            f"model {net.name} is for profile {net.profile!r}, the firmware for {project.settings['profile']!r}"
        )
    if len(net.program) > room or net.memory > MODEL_MEMORY:
        raise EdgeEnhanceError(
            f"model {net.name} needs {len(net.program)} bytes of flash and {net.memory} of RAM; "
            f"the board's region has {room}, the firmware {MODEL_MEMORY}"
        )


def _enhancer(array: Any, model: Any, settings: Mapping[str, Any]) -> Enhancer:
    return Enhancer(array, model=model, block=profile_named(settings["profile"]).hop, **settings)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, renamed when all went well and removed when not."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise EdgeEnhanceError(f"{folder} exists and is not an empty folder; choose another name, or remove it")
    try:
        place = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        sentence = f"cannot write {folder}: {error.strerror}; choose a folder in one that exists"
        raise EdgeEnhanceError(sentence) from error
    try:
        yield place
        place.chmod(0o777 & ~_umask())
        os.replace(place, folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sources() -> Path:
    """The folder csrc: in the installed package, or in the source tree of an editable install."""
    package = Path(__file__).parents[1]
    for place in (package / "csrc", package.parents[1] / "csrc"):
        if (place / "ports").is_dir():
            return place
    raise EdgeEnhanceError("this installation is without the C sources; install edgeenhance again")


def _copy_sources(place: Path, board: Board) -> None:
    csrc = _sources()
    for name in ("kernel/include", "board", "setup"):
        (place / name).mkdir(parents=True)
    for path in [*csrc.glob("*.[ch]"), *csrc.glob("include/*.h")]:
        shutil.copyfile(path, place / "kernel" / path.relative_to(csrc))
    for name in (*SHARED, board.toolchain, board.script, *([board.chip] if board.chip else [])):
        shutil.copyfile(csrc / "ports" / name, place / "board" / name)
    for name in ("main.c", "audio.c", "audio.h", "CMakeLists.txt", "README.md"):
        text = (csrc / "ports/firmware" / name).read_text(encoding="utf-8")
        text = text.replace("@TOOLCHAIN@", board.toolchain).replace("@BOARD@", f"{board.name} ({board.title})")
        (place / name).write_text(text, encoding="utf-8")


def _write_model(place: Path, board: Board, enhancer: Enhancer) -> None:
    ears = " and ".join(enhancer.ears)
    names = f"profile {enhancer.profile.name}, beamformer {enhancer._beamformer.name}"
    about = f"{enhancer.array.name}, {names}, {ears} ear"
    text, net = MODEL.format(script=board.script, about=about.replace('"', "'").replace("\\", "/")), enhancer._mask
    if net is not None:
        check_model(Project(place, board, {"profile": enhancer.profile.name}), net)
        (place / "model.eebin").write_bytes(net.program)
        section = '__attribute__((section(".model"), used)) const uint32_t model'
        text += "\n" + c_array(net.program, section)
    (place / "setup/model.c").write_text(text, encoding="ascii", errors="replace")


def _facts(board: Board, settings: Mapping[str, Any]) -> str:
    values = {"board": board.name} | {name: settings[name] for name in DEFAULTS}
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in values.items()]
    return "\n".join(["# What edgeenhance firmware new was asked for. Make another project to change it.", *lines, ""])
