"""Every service that listens is in the table of docs/gateway.md, and nothing else listens."""

import asyncio
import dataclasses
import re
import typing
from pathlib import Path

from gateway.settings import Settings
from tests.gateway.peers import AgentProcess, City, ModbusPeer, free_port, running
from tests.gateway.test_agent_process import write_config

DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"
# Where others are called, not where we listen.
CALLED = {
    "modbus.port",
    "ais.udp",
    "open311.address",
    "siren.unit.port",
    "signs.board.port",
    "junction.neighbour.address",
}
_WORDS = re.compile(r"(^|_)(bind|listen|tcp|udp|port|address)$")


def table() -> dict[str, str]:
    """Setting to default, from the documentation."""
    part = DOCS.read_text().partition("## What listens")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", part, re.MULTILINE)
    return {name: default.strip() for name, default in rows}


def listening(cls: type, path: str = "") -> dict[str, str]:
    """Every setting that holds an address, with its default, by its name and its type."""
    found: dict[str, str] = {}
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name = f"{path}.{field.name}" if path else field.name
        kinds = [hints[field.name]]
        while kinds:
            kind = kinds.pop()
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                found |= listening(kind, name)
            kinds += typing.get_args(kind)
        if _WORDS.search(field.name) and hints[field.name] is str:
            has_default = field.default is not dataclasses.MISSING
            found[name] = str(field.default) if has_default else ""
    return found


def test_every_setting_that_listens_is_in_the_table_with_its_default() -> None:
    wanted = {name: one or "none" for name, one in listening(Settings).items()}
    documented = {n: d for n, d in table().items() if not n.startswith("DATA_DIR")}
    assert documented == {name: one for name, one in wanted.items() if name not in CALLED}


def test_by_default_only_this_machine_is_let_in() -> None:
    for name, default in table().items():
        assert default in ("none", "always") or default.startswith("127.0.0.1:"), name


def sockets(pids: list[int]) -> set[tuple[str, int]]:
    """What these processes listen on, as the kernel says it: protocol and port."""
    inodes: set[str] = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            match = re.match(r"socket:\[(\d+)\]", str(link.readlink()))
            if match:
                inodes.add(match.group(1))
    found: set[tuple[str, int]] = set()
    for kind, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and words[3] == state:
                found.add((kind[:3], int(words[1].rpartition(":")[2], 16)))
    return found


def test_what_listens_is_what_the_file_says_with_all_on_that_needs_no_key_or_plan(
    tmp_path: Path,
) -> None:
    ports = {name: free_port() for name in ("status", "broker", "udp", "station", "ais", "map")}
    ports["fleet"] = free_port()

    async def scenario(agent: AgentProcess) -> set[tuple[str, int]]:
        async with City(ports["broker"]).listening() as city:
            await city.until(lambda: len(city.rows) > 3)
        async with asyncio.timeout(20):
            wanted = len(ports)
            while len(found := sockets([agent.pid, *agent.children()])) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return found

    async def whole() -> set[tuple[str, int]]:
        peer = ModbusPeer()
        await peer.start()
        config = write_config(tmp_path, 'url = "embedded"', peer.port, units=1)
        text = config.read_text().replace(
            'status_bind = ""', f'status_bind = "127.0.0.1:{ports["status"]}"'
        )
        config.write_text(
            f'{text}[broker]\nbind = "127.0.0.1:{ports["broker"]}"\n'
            f'[lorawan]\nbind = "127.0.0.1:{ports["udp"]}"\n'
            f'station = {{ listen = "127.0.0.1:{ports["station"]}" }}\n'
            f'[ais]\ntcp = "127.0.0.1:{ports["ais"]}"\nudp = ""\n'
            f'[geojson]\nbind = "127.0.0.1:{ports["map"]}"\n'
            f'[gtfs]\nbind = "127.0.0.1:{ports["fleet"]}"\n'
        )
        try:
            async with running(config) as agent:
                return await scenario(agent)
        finally:
            await peer.stop()

    found = asyncio.run(whole())
    wanted = {("udp" if name == "udp" else "tcp", port) for name, port in ports.items()}
    assert found == wanted
