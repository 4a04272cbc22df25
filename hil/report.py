"""Results for machines and for people: JUnit XML, JSON to keep, one self-contained HTML page.

Public: `junit`, `html`, `save`, `load_results`.
"""

import dataclasses
import html as escaping
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from hil.expectations import Verdict
from hil.run import NodeReport, Result

_STYLE = """
:root{--ink:#1c2b33;--soft:#5f7480;--line:#d9e2e6;--good:#1b7f5c;--bad:#c0392b;--water:#2a7fb8;
--page:#f6f9fa;--card:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e4edf1;--soft:#93a7b1;--line:#30434c;--good:#4cc79a;
--bad:#ff7b6b;--water:#5fb2e6;--page:#141d22;--card:#1c282f}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:19px;margin:0}p{margin:4px 0 12px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px;
margin:18px 0}
.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}
table{border-collapse:collapse;width:100%;margin:8px 0}
td,th{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft)}td.n,th.n{text-align:right}
code{background:var(--page);border:1px solid var(--line);border-radius:5px;padding:2px 6px}
svg{width:100%;height:auto;display:block;margin:10px 0}svg text{fill:var(--soft);font-size:11px}
"""
_STAGES = (("Waspada", "#e0b000"), ("Siaga", "#e07b00"), ("Awas", "#c0392b"))


def junit(results: list[Result]) -> str:
    """JUnit XML: a suite for each scenario, a case for each expectation and node."""
    root = ET.Element("testsuites")
    for result in results:
        failed = sum(not v.held for v in result.verdicts)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"{result.name}@{result.target}",
            tests=str(len(result.verdicts) + len(result.skipped)),
            failures=str(failed),
            skipped=str(len(result.skipped)),
            time=f"{result.wall_s:.3f}",
        )
        for verdict in result.verdicts:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"hil.{result.name}",
                name=" ".join(filter(None, (verdict.what, verdict.node))),
            )
            if not verdict.held:
                failure = ET.SubElement(case, "failure", message=verdict.found)
                failure.text = f"{verdict.found}\nrepeat: {result.again}"
        for text in result.skipped:
            name, _, reason = text.partition(": ")
            case = ET.SubElement(suite, "testcase", classname=f"hil.{result.name}", name=name)
            ET.SubElement(case, "skipped", message=reason)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def save(result: Result, folder: Path) -> Path:
    """Keep a result as JSON in `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}-{result.target}-{result.seed}.json"
    path.write_text(json.dumps(dataclasses.asdict(result)))
    return path


def load_results(folder: Path) -> list[Result]:
    """Every result kept in `folder`, by name. Raises ValueError for a file that is not one."""
    results: list[Result] = []
    for path in sorted(folder.glob("*.json")):
        try:
            tree: dict[str, Any] = json.loads(path.read_text())
            tree["verdicts"] = [Verdict(**v) for v in tree["verdicts"]]
            tree["nodes"] = [NodeReport(**n) for n in tree["nodes"]]
            results.append(Result(**tree))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{path}: not a result of `tukad hil run`: {error}") from None
    return results


def html(results: list[Result]) -> str:
    """One page without any reference to elsewhere."""
    failed = [r for r in results if not r.held]
    title = f"{len(results)} scenarios, {len(failed)} failed" if results else "No results"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>Tukad: {title}</title><style>{_STYLE}</style><main>",
        f"<h1>{title}</h1><p class=soft>Firmware on simulated hardware, in virtual time.</p>",
    ]
    parts += [_scenario(result) for result in failed + [r for r in results if r.held]]
    return "".join(parts) + "</main></html>\n"


def _scenario(result: Result) -> str:
    mark = "<span class=good>held</span>" if result.held else "<span class=bad>failed</span>"
    speed = result.duration_s / max(result.wall_s, 1e-9)
    out = [
        f"<section><h2>{_e(result.title)}: {mark}</h2><p>{_e(result.about)}</p>",
        f"<p class=soft>{_duration(result.duration_s)} of simulated time in {result.wall_s:.1f} s",
        f" ({speed:,.0f} times real time), seed {result.seed}, trace {result.digest[:12]}</p>",
        f"<p>To repeat it: <code>{_e(result.again)}</code></p>",
        *(f"<p>skipped: {_e(text)}</p>" for text in result.skipped),
        "<table><tr><th>must hold<th>node<th>found<th></tr>",
    ]
    for v in sorted(result.verdicts, key=lambda v: v.held):
        word = "<td class=good>held" if v.held else "<td class=bad>failed"
        out.append(f"<tr><td>{_e(v.what)}<td>{_e(v.node)}<td>{_e(v.found)}{word}</tr>")
    out.append("</table>")
    for node in result.nodes[:12]:
        out.append(_timeline(result, node))
    out.append(_accounts(result))
    if result.faults:
        out.append("<p class=bad>Wrong use of hardware:</p><ul>")
        out += [f"<li>{_e(fault)}" for fault in result.faults]
        out.append("</ul>")
    return "".join(out) + "</section>"


def _timeline(result: Result, node: NodeReport) -> str:
    width, height, left, top = 960, 170, 46, 22
    values = [v for _, v in node.truth] + [v for _, v in node.reported] + [0.0]
    high = max(max(values), result.stages_mm[0]) * 1.08
    low = min(values)

    def x(t: float) -> float:
        return left + (width - left - 8) * t / result.duration_s

    def y(v: float) -> float:
        return top + (height - top - 34) * (1 - (v - low) / max(high - low, 1))

    out = [f"<svg viewBox='0 0 {width} {height}' role=img aria-label='{_e(node.name)}'>"]
    out.append(f"<text x=0 y=12>{_e(node.name)}</text>")
    if node.role == "flood":
        for (name, colour), limit in zip(_STAGES, result.stages_mm, strict=True):
            if low <= limit <= high:
                out.append(
                    f"<line x1={left} x2={width} y1={y(limit):.1f} y2={y(limit):.1f} "
                    f"stroke='{colour}' stroke-dasharray='4 4'/>"
                    f"<text x={left + 4} y={y(limit) - 3:.1f}>{name}</text>"
                )
        for level in (low, high / 2, high / 1.08):
            out.append(f"<text x=0 y={y(level) + 4:.1f}>{level / 1000:.1f} m</text>")
    truth = node.truth[:: max(1, len(node.truth) // 1200)]
    line = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in truth)
    out.append(f"<polyline points='{line}' fill=none stroke='var(--water)' stroke-width=2 />")
    dots = "".join(
        f"M{x(t):.0f} {y(v):.0f}h0" for t, v in node.reported[:: max(1, len(node.reported) // 800)]
    )
    ticks = "".join(
        f"M{x(t):.0f} {height - 28}v8" for t in node.frames[:: max(1, len(node.frames) // 800)]
    )
    out.append(
        f"<path d='{dots}' stroke='var(--ink)' stroke-width=3.5 stroke-linecap=round />"
        f"<path d='{ticks}' stroke='var(--soft)'/>"
    )
    for t, stage in node.alarms:
        colour = _STAGES[max(stage, 1) - 1][1]
        out.append(
            f"<line x1={x(t):.1f} x2={x(t):.1f} y1={top} y2={height - 20} stroke='{colour}'/>"
            f"<text x={x(t) + 3:.1f} y={top}>alarm {stage}</text>"
        )
    for t, what in result.events[:200]:
        out.append(f"<path d='M{x(t):.1f} {height - 14} l4 8 h-8z' fill='var(--bad)'>"
                   f"<title>{_e(what)}</title></path>")  # fmt: skip
    for i in range(5):
        t = result.duration_s * i / 4
        out.append(f"<text x={min(x(t), width - 40):.1f} y={height}>{_duration(t)}</text>")
    return "".join(out) + "</svg>"


def _accounts(result: Result) -> str:
    out = [
        "<table><tr><th>node<th class=n>starts<th class=n>frames<th class=n>heard",
        "<th class=n>readings<th class=n>missing<th class=n>airtime<th class=n>duty, worst hour",
        "<th class=n>mean current<th class=n>calls</tr>",
    ]
    for n in result.nodes:
        cells = (
            f"{n.boots}", f"{n.sent}", f"{n.heard}", f"{n.readings}", f"{n.missing}",
            f"{n.airtime_s:.1f} s", f"{n.duty_percent:.2f} %", f"{n.average_ma:.2f} mA",
            f"{n.calls:,}",
        )  # fmt: skip
        out.append(f"<tr><td>{_e(n.name)}" + "".join(f"<td class=n>{c}" for c in cells) + "</tr>")
    lost = ", ".join(f"{why} {count}" for why, count in result.lost.items() if count) or "none"
    return "".join(out) + f"</table><p class=soft>Lost at a receiver: {lost}.</p>"


def _duration(seconds: float) -> str:
    if seconds >= 86_400:
        return f"{seconds / 86_400:.1f} d"
    if seconds >= 7_200:
        return f"{seconds / 3_600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _e(text: str) -> str:
    return escaping.escape(text, quote=True)
