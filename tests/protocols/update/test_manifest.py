"""Manifest and package: one encoding, every bound, and nothing but RemoteError for rubbish."""

from protocols.errors import LocalError, RemoteError
from protocols.update.manifest import FILES_MAX, SIZE_MAX, Manifest, build, message_of, parse
from protocols.update.package import assemble, manifest_size, next_file

SIGNATURE = bytes(range(64))


def example():
    manifest = Manifest("pico-waveshare", 7, 6)
    manifest.add("firmware/main.mpy", 5, b"\x11" * 32)
    manifest.add("protocols/ticks.mpy", 0, b"\x22" * 32)
    return manifest


def code_of(data):
    try:
        parse(data)
    except RemoteError as error:
        return error.code
    return ""


def refused(manifest):
    try:
        build(manifest)
    except LocalError as error:
        return error.code
    return ""


def test_golden_layout():
    head = b"TUKM\x01\x0epico-waveshare\x00\x00\x00\x07\x06\x00\x02"
    first = b"\x11firmware/main.mpy\x00\x00\x00\x05" + b"\x11" * 32
    second = b"\x13protocols/ticks.mpy\x00\x00\x00\x00" + b"\x22" * 32
    assert build(example()) == head + first + second


def test_parse_gives_back_what_was_built():
    data = build(example()) + SIGNATURE
    found = parse(data)
    assert (found.model, found.version, found.mpy) == ("pico-waveshare", 7, 6)
    assert found.names == ["firmware/main.mpy", "protocols/ticks.mpy"]
    assert found.sizes == [5, 0] and found.total == 5
    assert build(found) + SIGNATURE == data


def test_every_truncation_and_any_byte_more_is_refused():
    data = build(example()) + SIGNATURE
    for cut in range(len(data)):
        assert code_of(data[:cut]) != "", cut
    assert code_of(data + b"\x00") in ("trailing", "short")


def test_names_that_leave_the_slot_are_refused():
    for name in (
        "../main.py",
        "/boot.py",
        "a//b",
        "a/./b",
        "a/../../b",
        "",
        "a\\b",
        "a b",
        "x" * 65,
    ):
        manifest = Manifest("m", 1)
        manifest.add(name, 0, bytes(32))
        assert refused(manifest) == "name", name
    # The same on the wire, where nobody asked `build`.
    good = build(example()) + SIGNATURE
    evil = good.replace(b"firmware/main.mpy", b"../../../main.mpy")
    assert code_of(evil) == "name"
    assert code_of(good.replace(b"firmware/main.mpy", b"firmware\xff\xfeain.mpy")) == "name"


def test_order_counts_and_sizes():
    manifest = example()
    manifest.add("protocols/ticks.mpy", 0, bytes(32))
    assert refused(manifest) == "order"
    assert refused(Manifest("m", 1)) == "count"
    for version in (0, 1 << 30):
        manifest = Manifest("m", version)
        manifest.add("a", 0, bytes(32))
        assert refused(manifest) == "version"
    manifest = Manifest("", 1)
    manifest.add("a", 0, bytes(32))
    assert refused(manifest) == "model"
    manifest = Manifest("m", 1)
    for number in range(5):
        manifest.add("f%d" % number, 262_144, bytes(32))
    assert refused(manifest) == "size"
    manifest = Manifest("m", 1)
    for number in range(FILES_MAX + 1):
        manifest.add("%03d" % number, 0, bytes(32))
    assert refused(manifest) == "count"
    assert code_of(bytes(SIZE_MAX + 1)) == "long"


def test_other_magic_and_layout():
    data = build(example()) + SIGNATURE
    assert code_of(b"TUKX" + data[4:]) == "magic"
    assert code_of(data[:4] + b"\x02" + data[5:]) == "layout"


def test_rubbish_never_does_more_than_remote_error():
    data = bytearray(build(example()) + SIGNATURE)
    seed = 12345
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(1 + seed % 3):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            changed[seed % len(data)] = (seed >> 16) & 0xFF
        try:
            found = parse(bytes(changed))
        except RemoteError:
            continue
        assert build(found) == bytes(changed[:-64])


def test_the_message_is_one_block_of_sha512_with_r_and_the_key():
    assert 32 + 32 + len(message_of(bytes(32))) + 17 == 128


def test_a_package_holds_the_files_that_changed():
    manifest = example()
    signed = build(manifest) + SIGNATURE
    package = assemble(signed, manifest, {"firmware/main.mpy": b"12345"})
    size = manifest_size(package[:6])
    assert package[6 : 6 + size] == signed
    assert package[6 + size :] == b"\x00\x0012345"
    assert next_file(manifest, b"\x00\x01", 0) == 1
    for row, after in ((b"\x00\x00", 0), (b"\x00\x02", -1), (b"\xff", -1)):
        try:
            next_file(manifest, row, after)
        except RemoteError:
            continue
        raise AssertionError(row)
