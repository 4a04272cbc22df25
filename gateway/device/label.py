"""The label as PDF, of the size it is printed at: `pdf_label`. One page, vector, no library.

Source: PDF 1.4 reference, 3.4 (file structure), 4.4 (paths), 5.2 (text); Courier is one of the 14
fonts every reader has.
"""

_QUIET = 4
_POINTS_MM = 72 / 25.4


def _text(line: str) -> bytes:
    """A PDF string in WinAnsi; what it cannot hold becomes a question mark."""
    out = line.encode("cp1252", "replace")
    for mark in (b"\\", b"(", b")"):
        out = out.replace(mark, b"\\" + mark)
    return b"(" + out + b")"


def pdf_label(matrix: list[bytes], lines: list[str], module_mm: float = 0.8) -> bytes:
    """A page with the code in its quiet zone and the lines of text beside it."""
    side = len(matrix) + 2 * _QUIET
    width, scale = side + 62, module_mm * _POINTS_MM
    drawn = [f"{scale:.4f} 0 0 {scale:.4f} 0 0 cm".encode()]
    for y, row in enumerate(matrix):
        for x, dark in enumerate(row):
            if dark:
                drawn.append(f"{x + _QUIET} {side - _QUIET - 1 - y} 1 1 re".encode())
    drawn += [b"f", b"BT /F 3.6 Tf"]
    for at, line in enumerate(lines):
        place = f"1 0 0 1 {side} {side - _QUIET - 4 - 5 * at} Tm ".encode()
        drawn.append(place + _text(line) + b" Tj")
    content = b"\n".join([*drawn, b"ET"])
    box = f"[0 0 {width * scale:.2f} {side * scale:.2f}]".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox " + box + b" /Contents 4 0 R"
        b" /Resources << /Font << /F 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
    ]
    out = b"%PDF-1.4\n"
    starts: list[int] = []
    for number, one in enumerate(objects, 1):
        starts.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        len(out),
    )
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end
