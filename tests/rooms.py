"""The house: its rooms, and who imports whom. `python -m tests.rooms` prints it and draws docs/architecture.md anew.

A room is a file or folder directly under models/, and pages/ as one. The floors are those that
pyproject.toml states for import-linter; the arrows are read from the code, those of functions included.
"""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- python -m tests.rooms writes from here -->\n", "<!-- to here -->\n"
INTERFACE = "models"  # models/__init__.py, which stands on the loader
GROUND = {"errors", "schema"}  # under everything: an arrow to them says nothing


def floors() -> list[list[str]]:
    """The rooms that exist, floor by floor, the ground first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (stated,) = [
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("id") == "floors"
    ]
    command_line, *below = [[name.strip(" ()") for name in layer.split("|")] for layer in stated]
    built = [
        [room for room in layer if _file(room).is_file()] for layer in [command_line, [INTERFACE], *below]
    ]
    built[0].append("pages")
    return built[::-1]


def _file(room: str) -> Path:
    if room == INTERFACE:
        return ROOT / "models/__init__.py"
    folder = ROOT / "models" / room
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _purpose(room: str) -> str:
    """The first sentence of a room's docstring, without its full stop."""
    if room == "pages":  # a folder that must not be a package: Streamlit runs its files as scripts
        return "What people see: one short script per page, and in pages/shared what they share"
    said = ast.get_docstring(ast.parse(_file(room).read_text("utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split()).split(". ")[0].rstrip(".").replace("|", "\\|")


@dataclass(frozen=True)
class House:
    floors: list[list[str]]  # the ground first
    arrows: dict[str, set[str]]  # room: the rooms that it imports

    @cached_property
    def floor(self) -> dict[str, int]:
        return {room: number for number, rooms in enumerate(self.floors) for room in rooms}

    @property
    def rising(self) -> list[tuple[str, str]]:
        """Arrows that do not run down to a lower floor."""
        return sorted(
            (a, b) for a, below in self.arrows.items() for b in below if self.floor[b] >= self.floor[a]
        )

    @property
    def circling(self) -> set[str]:
        """Rooms that stand, in the end, on themselves."""
        return {room for room in self.arrows if room in self._under(room)}

    def needed(self, room: str) -> list[str]:
        """The rooms that a picture must join to this one: no others follow from them."""
        below = self.arrows[room] - GROUND
        return sorted(b for b in below if not any(b in self._under(other) for other in below))

    def _under(self, room: str) -> set[str]:
        found: set[str] = set()
        left = [*self.arrows[room]]
        while left:
            if (name := left.pop()) not in found:
                found.add(name)
                left += self.arrows[name]
        return found


def read() -> House:
    graph = grimp.build_graph("models", "pages", exclude_type_checking_imports=False, cache_dir=None)
    arrows: dict[str, set[str]] = {_room(name): set() for name in graph.modules}
    for name in graph.modules:
        arrows[_room(name)] |= {_room(other) for other in graph.find_modules_directly_imported_by(name)}
    placed = floors()
    if homeless := arrows.keys() - {room for rooms in placed for room in rooms}:
        raise LookupError(
            f"pyproject.toml, [tool.importlinter], has no floor for {', '.join(sorted(homeless))}."
        )
    return House(placed, {room: below - {room} for room, below in arrows.items()})


def _room(module: str) -> str:
    top, *rest = module.split(".")
    return rest[0] if top == "models" and rest else top


def summary(house: House) -> str:
    below = [room for room in house.arrows if room != "pages"]
    arrows = sum(map(len, house.arrows.values()))
    return (
        f"{len(below)} rooms in models/ and the pages, {len(house.floors)} floors, {arrows} arrows, "
        f"{len(house.rising)} arrows up, {len(house.circling)} rooms in circles"
    )


def drawn(house: House) -> str:
    """Picture and table, in Markdown."""
    return "\n".join([*_picture(house), "", *_table(house), "", f"{summary(house)}."]) + "\n"


def _picture(house: House) -> Iterator[str]:
    yield "```mermaid"
    yield "flowchart TD"
    for rooms in reversed(house.floors):
        for room in sorted(set(rooms) - GROUND):
            yield f'    {room}["{_shown(room)}"]'
            yield from (f"    {room} --> {other}" for other in house.needed(room))
    yield "```"


def _table(house: House) -> Iterator[str]:
    yield "| floor | room | what is done there | imports, beside `errors` and `schema` |"
    yield "| ---: | --- | --- | --- |"
    for number, rooms in reversed([*enumerate(house.floors)]):
        for room in sorted(rooms):
            below = sorted(house.arrows[room] - GROUND, key=lambda name: (-house.floor[name], name))
            yield f"| {number} | `{_shown(room)}` | {_purpose(room)} | {', '.join(map(_shown, below))} |"


def _shown(room: str) -> str:
    return {INTERFACE: "models/__init__", "__main__": "models/__main__", "pages": "pages/"}.get(room, room)


def split(page: str) -> tuple[str, str, str]:
    """What stands before, between and after the two marks of docs/architecture.md."""
    before, rest = page.split(BEGIN)
    between, after = rest.split(END)
    return before + BEGIN, between, END + after


def main() -> None:
    house = read()
    before, _, after = split(PAGE.read_text("utf-8"))
    PAGE.write_text(before + drawn(house) + after, "utf-8")
    for line in _table(house):
        print(line)
    print(summary(house))


if __name__ == "__main__":
    main()
