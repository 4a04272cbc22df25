"""pysnmp's manager as a process of its own: JSON requests on stdin, JSON answers on stdout."""

import asyncio
import json
import sys
from typing import Any

from pysnmp.hlapi.v3arch import asyncio as snmp

BASE = "1.3.6.1.4.1.1206.4.2.1"


def identity(who: list[str]) -> Any:
    if who[0] in ("v1", "v2c"):
        return snmp.CommunityData(who[1], mpModel=0 if who[0] == "v1" else 1)
    if len(who) == 2:
        return snmp.UsmUserData(who[1])
    return snmp.UsmUserData(
        who[1], who[2], who[3],
        authProtocol=snmp.USM_AUTH_HMAC192_SHA256, privProtocol=snmp.USM_PRIV_CFB128_AES,
    )  # fmt: skip


def shown(value: Any) -> Any:
    if isinstance(value, snmp.Integer32):
        return int(value)
    return bytes(value).hex() if isinstance(value, snmp.OctetString) else value.prettyPrint()


async def answer(engine: Any, port: int, request: dict[str, Any]) -> Any:
    target = await snmp.UdpTransportTarget.create(("127.0.0.1", port), timeout=1.5, retries=0)
    who, context = identity(request["who"]), snmp.ContextData()
    things = [
        snmp.ObjectType(snmp.ObjectIdentity(f"{BASE}.{o}".rstrip("."))) for o in request["oids"]
    ]
    what = request["do"]
    if what == "walk":
        found: dict[str, Any] = {}
        async for error, status, _, binds in snmp.walk_cmd(
            engine, who, target, context, things[0], lexicographicMode=False
        ):
            if error or status:
                return str(error or status.prettyPrint())
            found |= {str(name)[len(BASE) + 1 :]: shown(value) for name, value in binds}
        return found
    if what == "set":
        kind = snmp.Integer32 if isinstance(request["value"], int) else snmp.OctetString
        name = snmp.ObjectIdentity(f"{BASE}.{request['oids'][0]}")
        thing = snmp.ObjectType(name, kind(request["value"]))
        error, status, _, binds = await snmp.set_cmd(engine, who, target, context, thing)
    elif what == "bulk":
        error, status, _, binds = await snmp.bulk_cmd(
            engine, who, target, context, 0, request["value"], *things
        )
    else:
        error, status, _, binds = await snmp.get_cmd(engine, who, target, context, *things)
    if error or status:
        return str(error or status.prettyPrint())
    return [shown(value) for _, value in binds]


async def main(port: int) -> None:
    engines: dict[str, Any] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        engine = engines.setdefault(str(request["who"]), snmp.SnmpEngine())
        print(json.dumps(await answer(engine, port, request)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
