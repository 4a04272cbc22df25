"""`tukad decode`: batches from files or a live broker, as NDJSON, CSV or Influx line protocol."""

import asyncio
import contextlib
import csv
import io
import json
import random
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt
import rich_click as click

from gateway.codec import BatchError, Catalogue, Decoder, Event, Reading, Refusal

Item = Reading | Event | Refusal


def _iso(time_ms: int) -> str:
    try:
        when = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""  # beyond year 9999; time_ms is there too
    return f"{when}.{time_ms % 1000:03d}Z"


def ndjson(item: Item) -> Iterator[str]:
    """One JSON object a line; `kind` is reading, alarm or health."""
    if isinstance(item, Event):
        # `kind` says what the line is; a body with a `kind` of its own keeps it in `alarm_kind`.
        body = {f"{item.kind}_kind" if k == "kind" else k: v for k, v in item.body.items()}
        yield json.dumps({"kind": item.kind, "site": item.site} | body, ensure_ascii=False)
    elif isinstance(item, Reading):
        body: dict[str, object] = {
            "kind": "reading",
            "site": item.site,
            "class": item.klass,
            "device": item.device,
            "stream": item.stream,
            "sequence": item.sequence,
            "time": _iso(item.time_ms),
            "time_ms": item.time_ms,
            "time_source": item.time_source,
            "quality": item.quality,
            "values": item.values,
        }
        if item.revised:
            body["revised"] = True
        yield json.dumps(body, ensure_ascii=False)


CSV_HEAD = (
    "site", "class", "device", "stream", "sequence", "time", "time_source", "quality",
    "channel", "value", "unit",
)  # fmt: skip


def csv_rows(item: Item) -> Iterator[str]:
    """One line a value, because devices differ in their channels; alarms have no lines."""
    if not isinstance(item, Reading):
        return
    units = {channel.name: channel.unit for channel in item.channels}
    for name, value in item.values.items():
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(
            (
                item.site, item.klass, item.device, item.stream, item.sequence,
                _iso(item.time_ms), item.time_source, item.quality, name, value, units[name],
            )
        )  # fmt: skip
        yield buffer.getvalue()


def _escaped(text: str, also: str = ",= ") -> str:
    text = text.replace("\\", "\\\\").replace("\n", " ")
    for character in also:
        text = text.replace(character, "\\" + character)
    return text


def influx(item: Item) -> Iterator[str]:
    """Line protocol: measurement = stream, tags site and device; alarms have no lines."""
    if not isinstance(item, Reading):
        return
    fields = [f"{_escaped(name)}={float(value)!r}" for name, value in item.values.items()]
    fields.append(f"quality={item.quality}i")
    if item.sequence is not None:
        fields.append(f"sequence={item.sequence}i")
    measurement = _escaped(item.stream or "reading", ", ")
    tags = "".join(
        f",{key}={_escaped(tag)}"
        for key, tag in (("site", item.site), ("device", item.device))
        if tag
    )
    yield f"{measurement}{tags} {','.join(fields)} {item.time_ms * 1_000_000}"


FORMATS: dict[str, Callable[[Item], Iterator[str]]] = {
    "ndjson": ndjson,
    "csv": csv_rows,
    "influx": influx,
}


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Output:
    """Writes items to standard output, a flush per line, and refusals to standard error."""

    def __init__(self, form: str, limit: int | None) -> None:
        self._lines = FORMATS[form]
        self._left = limit
        self.refused = 0
        if form == "csv":
            _print(",".join(CSV_HEAD))

    def write(self, item: Item) -> bool:
        """Returns False when enough readings were written."""
        if isinstance(item, Refusal):
            self.refused += 1
            click.echo(f"refused {item.topic}: {item.code}: {item.detail}", err=True)
            return True
        for line in self._lines(item):
            _print(line)
        if self._left is not None and isinstance(item, Reading):
            self._left -= 1
            return self._left > 0
        return True


def _payloads(paths: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    """The files, and those of folders by name."""
    for path in paths:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                yield file, file.read_bytes()
            except OSError as error:
                raise click.ClickException(f"{file}: {error.strerror}") from None


def _site(data: bytes) -> str:
    """The site that a catalogue names; none if it is no catalogue."""
    try:
        return Catalogue.from_json(data).site
    except BatchError:
        return ""


def decode_files(paths: Sequence[Path], site: str, klass: str, output: Output) -> None:
    """Files of one payload each; those that begin with a brace are catalogues, and go first."""
    decoder = Decoder()
    payloads = list(_payloads(paths))
    if site == "+":
        site = next((_site(data) for _, data in payloads if data.startswith(b"{")), "")
    for catalogue_turn in (True, False):
        for path, data in payloads:
            if data.startswith(b"{") is not catalogue_turn:
                continue
            topic = f"tukad/{site}/catalogue" if catalogue_turn else f"tukad/{site}/batch/{klass}"
            for item in decoder.feed(topic, data):
                if isinstance(item, Refusal):
                    item = Refusal(str(path), item.code, item.detail)
                if not output.write(item):
                    return


def _broker(url: str) -> tuple[str, int, str | None, str | None, bool]:
    parts = urlsplit(url if "://" in url else "mqtt://" + url)
    secure = parts.scheme in ("mqtts", "ssl", "tls")
    try:
        port = parts.port or (8883 if secure else 1883)
    except ValueError:
        port = 0
    if parts.scheme not in ("mqtt", "tcp", "mqtts", "ssl", "tls") or not parts.hostname or not port:
        raise click.ClickException(f"--mqtt {url}: not a broker; example: mqtt://broker.city:1883")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return parts.hostname, port, user, password, secure


async def follow(
    url: str,
    site: str,
    output: Output,
    *,
    client_id: str | None,
    tls: ssl.SSLContext | None,
    acknowledge: bool,
) -> None:
    """Subscribe and write until enough was written; come back after a lost connection."""
    host, port, user, password, secure = _broker(url)
    decoder = Decoder()
    connected = False
    wait_s = 1.0
    while True:
        try:
            async with aiomqtt.Client(
                host,
                port,
                username=user,
                password=password,
                identifier=client_id,
                clean_session=client_id is None,
                tls_context=(tls or ssl.create_default_context()) if secure else None,
                timeout=10,
            ) as client:
                connected, wait_s = True, 1.0
                # The catalogue first, so that its retained message comes first.
                await client.subscribe(f"tukad/{site}/catalogue", qos=1)
                for part in ("batch/+", "alarm/#", "health"):
                    await client.subscribe(f"tukad/{site}/{part}", qos=1)
                async for message in client.messages:
                    topic = str(message.topic)
                    known = decoder.counts["batches"]
                    builds_on_lost = False
                    for item in decoder.feed(topic, message.payload):
                        builds_on_lost |= isinstance(item, Refusal) and item.code == "reference"
                        if not output.write(item):
                            return
                    name = topic.split("/")[1]
                    if acknowledge and builds_on_lost:
                        body = json.dumps({"refused": "reference"})
                        await client.publish(f"tukad/{name}/acknowledged", body, qos=1)
                    if acknowledge and decoder.counts["batches"] > known:
                        newest = decoder.references(name)[:1]
                        for batch in newest:
                            body = json.dumps({"batch": batch.number, "check": batch.check})
                            await client.publish(f"tukad/{name}/acknowledged", body, qos=1)
        except aiomqtt.MqttError as error:
            if not connected:
                raise click.ClickException(f"cannot reach broker {host}:{port}: {error}") from None
            click.echo(f"connection to {host}:{port} lost ({error}), retrying", err=True)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, 30.0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--mqtt", "url", help="Broker to follow, such as mqtt://user:secret@host:1883.")
@click.option("--site", default="+", help="Site to follow (default: all), or name for FILES.")
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), default="ndjson")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many readings.")
@click.option("--client-id", help="Keep a session at the broker under this name.")
@click.option("--ca", type=click.Path(exists=True, path_type=Path), help="CA for mqtts.")
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="Own certificate.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Own key.")
@click.option("--acknowledge", is_flag=True, help="Tell the gateway what was decoded.")
def decode(
    files: tuple[Path, ...],
    url: str | None,
    site: str,
    form: str,
    count: int | None,
    client_id: str | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    acknowledge: bool,
) -> None:
    """Read batches from FILES (or folders) or from a broker, and print each reading once.

    FILES hold one payload each: batches, and the catalogue that they need. Readings go to
    standard output, a line each; payloads that cannot be used go to standard error with the
    reason, and the exit code is 1 if there were any among FILES.
    """
    if bool(files) == bool(url):
        raise click.UsageError("give either FILES or --mqtt URL")
    output = Output(form, count)
    if url is None:
        decode_files(files, site, "live", output)
        if output.refused:
            sys.exit(1)
        return
    tls = None
    if ca or cert:
        try:
            tls = ssl.create_default_context(cafile=ca)
            if cert:
                tls.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise click.ClickException(f"certificate or key: {error}") from None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            follow(url, site, output, client_id=client_id, tls=tls, acknowledge=acknowledge)
        )
