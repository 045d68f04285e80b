# SPDX-License-Identifier: MIT
"""What the benchmark writes: tables in Markdown, every single measurement as JSON, and a chart for the README."""

import html
import statistics

from cases import CASES, FIGURES, RSS_MAX_KIB

LIMITS = ("wire", "ext4", "in memory", "mailfs, idle")  # not what anybody would use instead: what can not be beaten
CHARTED = ("list", "grep", "grep-50M", "stored", "pop3")
CUT = 8  # a bar longer than so many of mailfs is cut


class Results:
    """Measurements as they come: dicts with case, contestant, round, and what was Taken, or an error."""

    def __init__(self):
        self.rows = []

    def add(self, case, contestant, number, taken=None, error=None):
        row = {"case": case, "contestant": contestant, "round": number}
        row.update(taken.plain() if taken else {"error": error})
        self.rows.append(row)

    def of(self, case, contestant):
        return [row for row in self.rows if row["case"] == case and row["contestant"] == contestant and "error" not in row]

    def contestants(self, case):
        return list(dict.fromkeys(row["contestant"] for row in self.rows if row["case"] == case))

    def failed(self, case):
        return any(row["case"] == case and row["contestant"].startswith("mailfs") for row in self.errors())

    def errors(self):
        return [row for row in self.rows if "error" in row]

    def median(self, case, contestant, key="value", add=None):
        """None: nothing was measured."""
        values = [row[key] + (row.get(add) or 0 if add else 0) for row in self.of(case, contestant) if row.get(key) is not None]
        return statistics.median(values) if values else None

    def peak_rss_kib(self):
        return max((row["rss_kib"] for row in self.rows if "rss_kib" in row), default=None)


def number(value, unit="s"):
    if value is None:
        return "–"
    if unit == "s":
        return "%.3f s" % value if value < 1 else "%.2f s" % value if value < 100 else "%.0f s" % value
    shown = "%.1f" % value if value != int(value) and value < 1000 else "{:,}".format(int(value))
    return "%s %s" % (shown, unit) if unit else shown


def size(count):
    if count is None:
        return "–"
    return "%.1f MB" % (count / 1e6) if count >= 1e5 else "%.1f kB" % (count / 1e3)


def compared(results):
    """Each figure that has been measured: a dict with the ratio (or the value), and whether it is as it must be."""
    units = {case.name: case.unit for case in CASES}
    for figure in FIGURES:
        unit = units[figure.case]
        own = results.median(figure.case, figure.subject, add="mount_s" if figure.with_mount else None)
        other = results.median(figure.case, figure.reference) if figure.reference else None
        if not any(row["case"] == figure.case and row["contestant"] == figure.subject for row in results.rows) and not results.failed(figure.case):
            continue
        known = own is not None and (other is not None or not figure.reference)
        value = (own / other if figure.reference else own) if known else None
        verdict = ""
        if figure.limit is not None:
            verdict = "not measured" if not known else "ok" if value <= figure.limit + figure.slack else "**missed**"
        yield {"case": figure.case, "title": figure.title, "subject": figure.subject, "own": own, "reference": figure.reference, "other": other,
               "value": value, "limit": figure.limit, "slack": figure.slack, "unit": unit, "verdict": verdict}


def peak_row(results):
    peak = results.peak_rss_kib()
    if peak is None:
        return []
    return [["peak RSS during all of it", "mailfs", "%.1f MiB" % (peak / 1024), "", "", "≤ %d MiB" % (RSS_MAX_KIB // 1024),
             "ok" if peak <= RSS_MAX_KIB else "**missed**"]]


def figure_rows(results):
    for figure in compared(results):
        times = "" if figure["value"] is None or not figure["reference"] else "%.2f ×" % figure["value"]
        must = "" if figure["limit"] is None else "≤ %g%s%s" % (figure["limit"], " ×" if figure["reference"] else "",
                                                                " + %g of news" % figure["slack"] if figure["slack"] else "")
        against = "%s: %s" % (figure["reference"], number(figure["other"], figure["unit"])) if figure["reference"] else ""
        yield [figure["title"], figure["subject"], number(figure["own"], figure["unit"]), against, times, must, figure["verdict"]]
    yield from peak_row(results)


def detail_rows(results):
    for case in CASES:
        for name in results.contestants(case.name):
            rows = results.of(case.name, name)
            if not rows:
                continue
            values = [row["value"] for row in rows]
            median = {key: results.median(case.name, name, key) for key in ("cpu_s", "received", "sent", "round_trips", "mount_s")}
            rss = max((row["rss_kib"] for row in rows if "rss_kib" in row), default=None)
            yield [case.title, name, number(statistics.median(values), case.unit), "%s – %s" % (
                number(min(values), case.unit), number(max(values), case.unit)), str(len(rows)), number(median["mount_s"]),
                   number(median["cpu_s"]), "–" if rss is None else "%.1f MiB" % (rss / 1024), size(median["received"]), size(median["sent"]),
                   number(median["round_trips"], ""), rows[-1].get("note", "")]


def table(head, rows):
    """A table in Markdown that can be read as it is."""
    rows = [head, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| %s |" % " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    lines.insert(1, "|%s|" % "|".join("-" * (width + 2) for width in widths))
    return "\n".join(lines) + "\n"


def figures_markdown(results, meta):
    """What the README shows."""
    out = ["Measured %s on Linux %s, %d CPUs (%s), Dovecot %s; medians of at most %d rounds.\n" % (
        meta["date"], meta["kernel"], meta["cpus"], meta["cpu"], meta["dovecot"], meta["rounds"])]
    out += ["Small: %s. Real: %s.\n" % tuple("%s (SHA-256 %s)" % (meta["mail"][name], meta["corpora"][name]["sha256"]) for name in ("small", "real"))]
    out += ["The lines: %s.\n" % meta["lines"]]
    out.append(table(["work", "who", "took", "against", "ratio", "must", ""], list(figure_rows(results))))
    return "\n".join(out)


def details_markdown(results):
    return table(["case", "who", "median", "range", "rounds", "mounting", "CPU", "peak RSS", "received", "sent", "round trips", ""],
                 list(detail_rows(results)))


def markdown(results, meta):
    out = [figures_markdown(results, meta), details_markdown(results)]
    failed = ["- %s, %s, round %d: %s" % (row["case"], row["contestant"], row["round"], row["error"]) for row in results.errors()]
    if failed:
        out.append("Not measured:\n\n%s\n" % "\n".join(failed))
    return "\n".join(out)


# --- the chart ---

STYLE = """\
text { font: 13px sans-serif; fill: #1f2328 } .title { font-weight: bold } .small { font-size: 11px; fill: #59636e }
.own { fill: #1f6feb } .limit { fill: #8c959f } .peer { fill: #d4812f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .own { fill: #4493f8 } .limit { fill: #656c76 } .peer { fill: #db8f45 } }"""
WIDTH, LEFT, BAR, GAP = 760, 190, 16, 5


def kind(name):
    return "own" if name.startswith("mailfs") else "limit" if name.startswith(LIMITS) else "peer"


def bars(results, case, top):
    """One group: (elements, height)."""
    found = [(name, results.median(case.name, name)) for name in results.contestants(case.name)]
    found = sorted(((name, value) for name, value in found if value is not None), key=lambda pair: pair[1])
    own = results.median(case.name, "mailfs") or found[0][1]
    longest = min(found[-1][1], CUT * own)
    out = ['<text class="title" x="0" y="%d">%s</text>' % (top + 14, html.escape(case.title.replace("`", "")))]
    y = top + 24
    for name, value in found:
        mounting = results.median(case.name, name, "mount_s") or 0 if case.mount_apart else 0
        length, more = (max(1.0, min(part, longest) / longest * (WIDTH - LEFT - 190)) for part in (value, mounting))
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (LEFT - 8, y + 13, html.escape(name)))
        out.append('<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>' % (kind(name), LEFT, y, length, BAR))
        label = number(value, case.unit) + (" →" if value > longest else "")
        if mounting:
            out.append('<rect class="%s" opacity="0.4" x="%.1f" y="%d" width="%.1f" height="%d"/>' % (kind(name), LEFT + length, y, more, BAR))
            label += " + %s mounting" % number(mounting)
            length += more
        out.append('<text class="small" x="%.1f" y="%d">%s</text>' % (LEFT + length + 6, y + 13, label))
        y += BAR + GAP
    return out, y + 14 - top


def chart(results, meta):
    """SVG; None: nothing to show."""
    parts, top = [], 44
    for case in CASES:
        if case.name in CHARTED and any(results.of(case.name, name) for name in results.contestants(case.name)):
            group, height = bars(results, case, top)
            parts += group
            top += height
    if not parts:
        return None
    legend = ('<text class="small" x="0" y="12">Seconds, less is better; blue: mailfs, grey: the limits, orange: what people use instead.</text>\n'
              '<text class="small" x="0" y="28">Small: %(small)s. Real: %(real)s, with attachments up to 30 MB.</text>' % meta["mail"])
    return '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">\n<style>%s</style>\n%s\n%s\n</svg>\n' % (
        WIDTH, top, WIDTH, top, STYLE, legend, "\n".join(parts))
