"""The page around HTML tables: style and sorting, inside the file, so that it loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dmd_repro.render.strip import STYLE as STRIP

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1600px; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 2px solid #ddd; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .3rem 0 .8rem; }
th, td { padding: .22rem .5rem; border-bottom: 1px solid #e6e6e6; text-align: left; white-space: nowrap; }
th { background: #f5f5f7; cursor: pointer; user-select: none; font-weight: 600; }
th { white-space: normal; vertical-align: bottom; }
th:focus-visible { outline: 2px solid #1f5fa8; }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
td.r, th.r { text-align: right; }
tr:hover td { background: #fafafa; }
svg { display: block; }
.mark { background: #b3261e; color: white; padding: .3rem .7rem; display: inline-block; border-radius: 4px; }
.v { border-radius: 4px; padding: .05rem .45rem; background: #ececef; }
.v.reproduced, .v.within { background: #cfe9d3; }
.v.worse, .v.better { background: #f7d3cf; }
.v.inconclusive, .v.straddles { background: #fdeec2; }
.answer { margin: .4rem 0; max-width: 75ch; }
small, li { color: #3a3a3c; font-size: .86rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 900px) {
  body { padding: .6rem .6rem 3rem; }
  table { font-size: 12.5px; }
  th, td { padding: .18rem .28rem; }
  svg { width: 105px; height: 15px; }
}
"""
SCRIPT = """
document.querySelectorAll('table.sort th').forEach(function (head) {
  function sort() {
    var table = head.closest('table'), i = [].indexOf.call(head.parentNode.children, head);
    var body = table.tBodies[0], up = head.getAttribute('aria-sort') !== 'ascending';
    head.parentNode.querySelectorAll('th').forEach(function (other) { other.removeAttribute('aria-sort'); });
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    function key(row) {
      var cell = row.children[i];
      return cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent;
    }
    function compare(a, b) {
      var x = key(a), y = key(b), nx = parseFloat(x), ny = parseFloat(y);
      if (isNaN(nx) && isNaN(ny)) { return x.localeCompare(y); }
      if (isNaN(nx) || isNaN(ny)) { return isNaN(nx) ? 1 : -1; }
      return nx - ny;
    }
    [].slice.call(body.rows).sort(function (a, b) {
      return up ? compare(a, b) : -compare(a, b);
    }).forEach(function (row) { body.appendChild(row); });
  }
  head.tabIndex = 0;
  head.addEventListener('click', sort);
  head.addEventListener('keydown', function (event) { if (event.key === 'Enter') { sort(); } });
});
"""


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole page: style and script inside, no other file needed."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}{STRIP}</style></head><body>",
            f"<h1>{escape(title)}</h1><small>Click a heading to sort.</small>",
            *body,
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
    )
