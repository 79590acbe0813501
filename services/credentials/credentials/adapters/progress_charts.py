"""Progress charts and pictures of awards, as SVG: readable on a telephone, in the dark, on paper and aloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

from credentials.adapters.lettering import wrap

WIDTH = 360
"""The width in user units; the picture scales with its surroundings."""
MARGIN, BLOCK, GAP, LINE = 16, 24, 4, 18
PER_ROW = (WIDTH - 2 * MARGIN + GAP) // (BLOCK + GAP)
_COLOURS = 8
_LINE_EMS = (WIDTH - 2 * MARGIN) / 13
_TITLE_EMS = (WIDTH - 2 * MARGIN) / 20
"""The room for a title, in ems of the font size in progress_chart_style.svg."""

_environment = Environment(
    loader=PackageLoader("credentials", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class SubjectProgress:
    """One subject's modules: passed, being studied, and those that would come next."""

    subject: str
    earned: int
    studying: int = 0
    next: int = 0


@dataclass(frozen=True)
class Step:
    """The progress towards one level, in credits, and the titles held at it."""

    label: str
    credits: int
    counting: int
    held: Sequence[str] = ()


@dataclass(frozen=True)
class _Block:
    x: int
    y: int
    kind: str


@dataclass
class _Row:
    colour: int
    name: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    blocks: list[_Block] = field(default_factory=list[_Block])


def draw_progress_chart(
    subjects: Sequence[SubjectProgress], steps: Sequence[Step], *, module_credits: int, next_words: Sequence[str]
) -> bytes:
    """Return a chart of what a learner holds by subject, how far each level is, and the next step in words."""
    y = 64
    rows: list[_Row] = []
    for colour, subject in enumerate(subjects):
        row, y = _row(subject, colour % _COLOURS, y)
        rows.append(row)
    y += 8
    bars: list[dict[str, object]] = []
    for step in steps:
        words = wrap("; ".join(step.held), _LINE_EMS) if step.held else []
        held = [(y + 38 + n * LINE, line) for n, line in enumerate(words)]
        filled = round((WIDTH - 2 * MARGIN) * min(step.counting, step.credits) / step.credits)
        bars.append({"y": y, "step": step, "filled": filled, "held": held})
        y += 40 + LINE * len(held)
    y += 8
    lines: list[tuple[int, str]] = []
    for words in next_words:
        for line in wrap(words, _LINE_EMS):
            lines.append((y + LINE, line))
            y += LINE
        y += 6
    return _draw(
        "progress_chart.svg",
        height=y + MARGIN,
        rows=rows,
        bars=bars,
        lines=lines,
        earned=module_credits * sum(subject.earned for subject in subjects),
        description=_described(subjects, steps, module_credits, next_words),
    )


def draw_award(
    title: str, *, level: str, modules: Mapping[str, int], module_credits: int, state: str, awarding_body: str
) -> bytes:
    """Return a picture of what an award is made of. It shows no name, no mark and no number."""
    titles = wrap(title, _TITLE_EMS)
    y = 76 + 28 * len(titles)
    largest_first = sorted(modules.items(), key=lambda item: (-item[1], item[0].casefold()))
    rows: list[_Row] = []
    for colour, (subject, count) in enumerate(largest_first):
        row, y = _row(SubjectProgress(subject, count), colour % _COLOURS, y)
        rows.append(row)
    total = module_credits * sum(modules.values())
    made_of = ", ".join(f"{count * module_credits} credits in {subject}" for subject, count in largest_first)
    return _draw(
        "award.svg",
        height=y + 52,
        rows=rows,
        titles=[(72 + 28 * n, line) for n, line in enumerate(titles)],
        title=title,
        level=level,
        total=total,
        state=state,
        awarding_body=awarding_body,
        description=f"{title}, {state}: {total} credits, made of {made_of}. Awarded by {awarding_body}.",
    )


def _row(subject: SubjectProgress, colour: int, y: int) -> tuple[_Row, int]:
    row = _Row(colour)
    for line in wrap(subject.subject, _LINE_EMS):
        row.name.append((y + 14, line))
        y += LINE
    kinds = ["earned"] * subject.earned + ["studying"] * subject.studying + ["next"] * subject.next
    for n, kind in enumerate(kinds):
        x = MARGIN + (n % PER_ROW) * (BLOCK + GAP)
        row.blocks.append(_Block(x, y + 4 + (n // PER_ROW) * (BLOCK + GAP), kind))
    return row, y + -(-len(kinds) // PER_ROW) * (BLOCK + GAP) + 14


def _described(
    subjects: Sequence[SubjectProgress], steps: Sequence[Step], module_credits: int, next_words: Sequence[str]
) -> str:
    said: list[str] = []
    for subject in subjects:
        studying = f", {subject.studying * module_credits} being studied" if subject.studying else ""
        if subject.earned or subject.studying:
            said.append(f"{subject.subject}: {subject.earned * module_credits} credits{studying}")
    said = said or ["No credit yet"]
    said += [f"{step.label}: {min(step.counting, step.credits)} of {step.credits} credits" for step in steps]
    said += [f"Held: {'; '.join(step.held)}" for step in steps if step.held]
    return ". ".join([*said, *(words.rstrip(".") for words in next_words)]) + "."


def _draw(template: str, **values: object) -> bytes:
    return _environment.get_template(template).render(width=WIDTH, margin=MARGIN, block=BLOCK, **values).encode()
