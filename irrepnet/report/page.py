"""The pieces of a report's HTML: every text is escaped here, and nothing refers to anything outside the page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape

__all__ = [
    "Html",
    "badge",
    "document",
    "figure",
    "heading",
    "link",
    "navigation",
    "paragraph",
    "preformatted",
    "script",
    "section",
    "table",
    "text",
    "tiles",
    "view_box",
]

# The policy makes browsers hold the page to its promise: no request to anywhere, and no script but those whose SHA-256
# it names. Scripts that draw need pictures they make themselves (blob:).
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_DRAWING_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {hashes}"

_SHOWN = 0.72  # of its pixels: 1400 of them are as wide as the page

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #f6f8fa; --card: #ffffff; --line: #d8dee4;
  --good: #0a5c3e; --good-back: #d9f2e6; --bad: #8a1c0c; --bad-back: #fde3dd; --link: #0059a3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa6b2; --page: #0d1117; --card: #161b22;
  --line: #30363d; --good: #7ee2b8; --good-back: #0f3a2a; --bad: #ffb4a4; --bad-back: #4a1710; --link: #79c0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 0 0 .6rem; }
p { margin: .4rem 0; max-width: 60rem; }
a { color: var(--link); }
nav { margin: .8rem 0 1.2rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.2rem;
  margin: 0 0 1.1rem; }
.soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .8rem;
  margin: .8rem 0 0; padding: 0; }
.tiles > div { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .7rem; }
.tiles dt { color: var(--soft); font-size: .875rem; }
.tiles dd { margin: 0; font-size: 1.1rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles small { font-size: .7rem; white-space: nowrap; }
.tiles dd.note { font-size: .875rem; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; min-width: min(100%, 26rem); margin-top: .5rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; padding: .32rem .9rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; vertical-align: bottom; }
.badge { display: inline-block; border-radius: 99px; padding: .02rem .6rem; font-size: .875rem; font-weight: 650;
  white-space: nowrap; }
.good { background: var(--good-back); color: var(--good); }
.bad { background: var(--bad-back); color: var(--bad); }
figure { margin: .6rem 0 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 8px; padding: .4rem; }
figcaption { color: var(--soft); font-size: .925rem; margin-top: .45rem; }
pre { margin: .4rem 0 0; overflow-x: auto; columns: 20rem;
  font: .875rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
.view { height: min(80vh, 46rem); background: #fff; border: 1px solid var(--line); border-radius: 8px;
  margin: .8rem 0; }
@media print { body { background: #fff; } section { break-inside: avoid; } nav { display: none; } }
"""


class Html(str):
    """A text that is HTML already; any other text is escaped before it enters the page.

    Example:
        >>> paragraph("1 < 2"), paragraph(Html("<b>1</b>"))
        ('<p>1 &lt; 2</p>', '<p><b>1</b></p>')
    """

    __slots__ = ()

    def __add__(self, other: str) -> Html:
        return Html(super().__add__(text(other)))


def document(title: str, *body: Html, scripts: Sequence[str] = ()) -> Html:
    """Return a whole page.

    Args:
        title: Shown by the browser.
        body: Its pieces.
        scripts: JavaScript that runs after the body was read, in order; no other script can run in the page.

    Raises:
        ValueError: If a script cannot stand in a page as it is: it ends its own element, or has other line ends.

    Example:
        >>> document("a < b", paragraph("hi")).splitlines()[0]
        '<!DOCTYPE html>'
        >>> "script-src &#x27;sha256-" in document("a", scripts=["1 + 1"])
        True
    """
    for code in scripts:
        if "</script" in code.lower() or "<!--" in code or "\r" in code:
            raise ValueError(r"a script in a page needs to be without '</script', '<!--' and '\r'; found one of them")
    policy = _DRAWING_POLICY.format(hashes=" ".join(map(_hash, scripts))) if scripts else _POLICY
    content = "\n".join([*body, *(f"<script>{code}</script>" for code in scripts)])
    return Html(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{content}
</body>
</html>
""")


def heading(title: str) -> Html:
    """Return the heading of the page.

    Example:
        >>> heading("O & H")
        '<h1>O &amp; H</h1>'
    """
    return Html(f"<h1>{text(title)}</h1>")


def navigation(sections: Mapping[str, str]) -> Html:
    """Return links to sections of the page: anchor -> heading.

    Example:
        >>> navigation({"errors": "Errors"})
        '<nav aria-label="Sections"><a href="#errors">Errors</a></nav>'
    """
    links = " ".join(f'<a href="#{escape(anchor)}">{text(name)}</a>' for anchor, name in sections.items())
    return Html(f'<nav aria-label="Sections">{links}</nav>')


def section(anchor: str, title: str, *content: Html) -> Html:
    """Return a titled part of the page.

    Example:
        >>> section("errors", "Errors & spreads", paragraph("none"))
        '<section id="errors">\\n<h2>Errors &amp; spreads</h2>\\n<p>none</p>\\n</section>'
    """
    lines = [f'<section id="{escape(anchor)}">', f"<h2>{text(title)}</h2>", *content, "</section>"]
    return Html("\n".join(lines))


def paragraph(words: str, *, soft: bool = False) -> Html:
    """Return a paragraph.

    Example:
        >>> paragraph("r < 4 Å")
        '<p>r &lt; 4 Å</p>'
    """
    start = '<p class="soft">' if soft else "<p>"
    return Html(f"{start}{text(words)}</p>")


def badge(is_good: bool, word: str) -> Html:
    """Return a mark whose word says it all; the colour only helps.

    Example:
        >>> badge(False, "FAILED")
        '<span class="badge bad">✗ FAILED</span>'
    """
    kind, mark = ("good", "✓") if is_good else ("bad", "✗")
    return Html(f'<span class="badge {kind}">{mark} {text(word)}</span>')


def tiles(items: Iterable[tuple[str, str, str, str]]) -> Html:
    """Return key numbers: label, value, unit, and a note in small print.

    Example:
        >>> tiles([("Force RMSE", "45", "meV/Å", "5 % of the spread")]).splitlines()[1]
        '<div><dt>Force RMSE</dt><dd>45 <small>meV/Å</small></dd><dd class="note">5 % of the spread</dd></div>'
    """
    cells = (
        f"<div><dt>{text(label)}</dt><dd>{text(value)} <small>{text(unit)}</small></dd>"
        f'<dd class="note">{text(note)}</dd></div>'
        for label, value, unit, note in items
    )
    return Html("\n".join(['<dl class="tiles">', *cells, "</dl>"]))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> Html:
    """Return a table.

    Args:
        caption: Above it.
        head: Names of the columns.
        rows: Cells.
        numbers: Columns that are set flush right.

    Example:
        >>> print(table("Versions", ["package", "version"], [["torch", "2.13"]], numbers=[1]))
        <div class="scroll"><table>
        <caption>Versions</caption>
        <thead><tr><th scope="col">package</th><th scope="col" class="number">version</th></tr></thead>
        <tbody>
        <tr><td>torch</td><td class="number">2.13</td></tr>
        </tbody>
        </table></div>
    """
    kinds = [' class="number"' if index in numbers else "" for index in range(len(head))]
    names = "".join(f'<th scope="col"{kind}>{text(name)}</th>' for kind, name in zip(kinds, head, strict=True))
    lines = ['<div class="scroll"><table>', f"<caption>{text(caption)}</caption>", f"<thead><tr>{names}</tr></thead>"]
    lines.append("<tbody>")
    for row in rows:
        cells = "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    return Html("\n".join([*lines, "</tbody>", "</table></div>"]))


def figure(png: bytes, alt: str, caption: str) -> Html:
    """Return a picture that is part of the page.

    Example:
        >>> figure(b"png", "a curve", "falls")[:42]
        '<figure><img src="data:image/png;base64,cG'
    """
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    # The header of a PNG holds its width; shown smaller than it is, a picture is sharp on every screen.
    size = f' width="{round(_SHOWN * int.from_bytes(png[16:20], "big"))}"' if png.startswith(b"\x89PNG") else ""
    picture = f'<img src="{source}" alt="{escape(alt)}"{size}>'
    return Html(f"<figure>{picture}<figcaption>{text(caption)}</figcaption></figure>")


def script(content: str, *, kind: str, anchor: str) -> Html:
    """Return data that a script of the page reads: they are not run.

    Args:
        content: Text; JSON by custom.
        kind: Media type, other than JavaScript.
        anchor: By which the script finds it.

    Example:
        >>> script('{"a": "</script>"}', kind="application/json", anchor="data")
        '<script type="application/json" id="data">{"a": "\\\\u003c/script>"}</script>'
    """
    # In JSON "<" stands in texts only, where it may be written by its number; as it is it could end the element.
    safe = content.replace("<", "\\u003c")
    return Html(f'<script type="{escape(kind)}" id="{escape(anchor)}">{safe}</script>')


def view_box(anchor: str, alt: str) -> Html:
    """Return the place in which a script draws.

    Example:
        >>> view_box("view", "a molecule")
        '<div id="view" class="view" role="img" aria-label="a molecule"></div>'
    """
    return Html(f'<div id="{escape(anchor)}" class="view" role="img" aria-label="{escape(alt)}"></div>')


def link(target: str, words: str) -> Html:
    """Return a link to a file beside the page.

    Example:
        >>> link("report_3d.html", "in 3-D")
        '<a href="report_3d.html">in 3-D</a>'
    """
    return Html(f'<a href="{escape(target)}">{text(words)}</a>')


def preformatted(words: str) -> Html:
    """Return a text whose spaces and line ends count.

    Example:
        >>> preformatted("cutoff: 4.0")
        '<pre>cutoff: 4.0</pre>'
    """
    return Html(f"<pre>{text(words)}</pre>")


def text(words: str) -> Html:
    """Return words as HTML: escaped, unless they are HTML already.

    Example:
        >>> text("1 < 2"), text(Html("<b>1</b>"))
        ('1 &lt; 2', '<b>1</b>')
    """
    return words if isinstance(words, Html) else Html(escape(words))


def _hash(code: str) -> str:
    """Return how a policy names a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
