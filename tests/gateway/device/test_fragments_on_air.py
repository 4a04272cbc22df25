"""The embedded network server sends a release, from the job's files to the antenna."""

import asyncio
import base64
from pathlib import Path

from gateway.lorawan.embedded import EmbeddedService
from gateway.lorawan.fragments import FragmentService, Job, Jobs
from gateway.lorawan.model import Uplink
from protocols.update import fragment
from tests.gateway.lorawan.ends import EndDevice
from tests.gateway.lorawan.test_embedded import Forwarder, configuration


def test_set_up_and_fragments_leave_in_answer_to_uplinks(tmp_path: Path) -> None:
    node = EndDevice(1)
    package = bytes(range(250)) * 2
    Jobs(tmp_path / "updates").save(Job(node.name, node.dev_eui, 9, len(package), 1), package)
    config = configuration(tmp_path, node)
    got: list[Uplink] = []

    async def keep(uplink: Uplink) -> None:
        got.append(uplink)

    async def scenario() -> None:
        embedded = EmbeddedService(config, tmp_path)
        service = FragmentService(embedded, tmp_path, config)
        task = asyncio.create_task(service.run(keep))
        try:
            await embedded.ready.wait()
            assert embedded.udp_address is not None
            forwarder = Forwarder(embedded.udp_address)
            await forwarder.pull()
            await forwarder.hear(node.join_request(), 1000)
            node.take_accept(base64.b64decode((await forwarder.downlink())["data"]))

            async def uplink(payload: bytes, port: int, tmst: int) -> bytes:
                await forwarder.hear(node.uplink(payload, port), tmst)
                down = node.read(base64.b64decode((await forwarder.downlink())["data"]))
                assert down.f_port == fragment.PORT
                return down.payload

            setup = await uplink(b"3.2 m", 1, 10_000_000)
            size = setup[4]
            assert setup == fragment.setup_request(len(package), size, 9) and size > 40
            first = await uplink(b"\x02\x00", fragment.PORT, 20_000_000)
            assert first == fragment.fragment_message(1, package[:size])
            second = await uplink(b"3.3 m", 1, 30_000_000)
            assert second == fragment.fragment_message(2, package[size : 2 * size])
            assert (await service.status()).devices == 1
            forwarder.socket.close()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            service.close()

    asyncio.run(scenario())
    assert [one.payload for one in got] == [b"3.2 m", b"3.3 m"]
    job = Jobs(tmp_path / "updates").load(node.dev_eui)
    assert job is not None and (job.phase, job.next, job.sent) == ("send", 3, 2)
