"""The PDF label: its table of objects is right, and the code in it is the code that was given."""

import re

from gateway.device.label import pdf_label


def test_every_offset_leads_to_its_object_and_the_stream_has_its_length() -> None:
    content = pdf_label([b"\x01\x00", b"\x00\x01"], ["bridge (1) \\ a", "DevEUI 70B3"])
    assert content.startswith(b"%PDF-1.4\n") and content.endswith(b"%%EOF\n")
    (start,) = re.findall(rb"startxref\n(\d+)\n", content)
    table = content[int(start) :]
    assert table.startswith(b"xref\n0 6\n")
    rows = re.findall(rb"(\d{10}) \d{5} n \n", table)
    for number, row in enumerate(rows, 1):
        assert content[int(row) :].startswith(b"%d 0 obj\n" % number)
    length, stream = re.findall(rb"/Length (\d+) >>\nstream\n(.*?)\nendstream", content, re.S)[0]
    assert len(stream) == int(length)
    assert rb"(bridge \(1\) \\ a) Tj" in stream


def test_dark_modules_are_where_the_code_has_them() -> None:
    matrix = [bytes(int(c) for c in row) for row in ("1101", "0010", "1000", "0111")]
    content = pdf_label(matrix, [])
    side = len(matrix) + 8
    seen = {(int(x), int(y)) for x, y in re.findall(rb"^(\d+) (\d+) 1 1 re$", content, re.M)}
    expected = {
        (x + 4, side - 5 - y) for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark
    }
    assert seen == expected and len(seen) == 8
