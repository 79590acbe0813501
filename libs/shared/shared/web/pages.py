"""HTML pages for people, in the look of the verification page: plain, and readable on a telephone and on paper."""

from html import escape
from typing import Final

CSP: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The pages' Content-Security-Policy: no script, nothing from elsewhere, in nobody's frame."""

_STYLE: Final = """
  :root { color-scheme: light; --ink: #1c2330; --soft: #55607a; --line: #d9deea; --paper: #fff; --ground: #f3f5fa; }
  * { box-sizing: border-box; }
  body { margin: 0; background: var(--ground); color: var(--ink);
         font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
  main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
  .card { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: 1.5rem;
          margin: 0 0 1.25rem; }
  h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; }
  h2 { font-size: 1.15rem; margin: 0 0 .75rem; } p + h2 { margin-top: 1.5rem; }
  p { margin: 0 0 .75rem; } p:last-child { margin-bottom: 0; }
  .soft { color: var(--soft); }
  code { font: .875rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
  h1 code { font-size: 1.4rem; font-weight: 700; }
  dl { display: grid; grid-template-columns: minmax(8rem, auto) 1fr; gap: .4rem 1.25rem; margin: 0; }
  dt { color: var(--soft); } dd { margin: 0; }
  ul { margin: 0 0 1rem; padding: 0 0 0 1.25rem; } li { padding: .2rem 0; }
  table { width: 100%; border-collapse: collapse; }
  th, td { text-align: left; padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line); vertical-align: top; }
  th { font-weight: 400; } thead th { border-top: 0; color: var(--soft); }
  .number { text-align: right; padding: .45rem 0 .45rem 1rem; white-space: nowrap; }
  a { color: #1746a2; } a:focus-visible, summary:focus-visible { outline: 3px solid #1746a2; outline-offset: 2px; }
  @media (max-width: 32rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; }
    .card { padding: 1.1rem; } h1 { font-size: 1.45rem; } }
  @media print { body { background: #fff; font-size: 11pt; } .card { border: 0; padding: 0 0 1rem; } }
"""


def page(title: str, *cards: str) -> str:
    """Return a whole page of these cards; the title is plain text, a card is HTML already."""
    sections = "\n".join(f'<section class="card">\n{card}\n</section>' for card in cards)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
{sections}
</main>
</body>
</html>
"""


def whom_to_ask(contact: str) -> str:
    """Return the paragraph that says to which e-mail address questions, complaints and appeals go."""
    address = escape(contact)
    return (
        "<p>Whoever runs this installation, its registrar and its finance office are reached at "
        f'<a href="mailto:{address}">{address}</a>, for questions, complaints and appeals.</p>'
    )
