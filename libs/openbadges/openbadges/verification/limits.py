"""Limits on what a stranger's document may take. Each default leaves an honest credential ample room."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one verification."""

    document_bytes: int = 1_000_000
    """A signed credential is some 5 KB, a transcript of a whole Master's some 100 KB."""
    image_bytes: int = 5_000_000
    """A badge's picture with the credential in it."""
    depth: int = 24
    """The levels of JSON within JSON; a badge within a transcript takes 12."""
    values: int = 20_000
    """Objects, lists and scalars together; a badge has some 150. It bounds what JSON-LD makes of each byte."""
    inner_credentials: int = 100
    """The credentials in a transcript, at all depths; a Master's is 12 courses."""
    seconds: float = 5.0
    """Processor seconds for one document and all that is asked about it; a badge takes 0.03, a transcript of 60 takes
    0.9."""
    slice_seconds: float = 0.25
    """Processor seconds after which a document makes room for those that have taken less."""
    bytes_a_second: int = 80_000
    """Bytes of a document for each processor second it is expected to take."""
    ageing: float = 20.0
    """Seconds by which each processor second puts a document behind others; those that come later than that are behind
    it."""
    patience: float = 60.0
    """Wall-clock seconds after which a process is given up: it stands still, or the machine does."""
    memory_bytes: int = 1_500_000_000
    """Address space of a process that computes; it uses a tenth of that."""
    workers: int = 2
    """Documents that compute at once, each in a process of its own; our own records are verified beside them."""
    niceness: int = 10
    """The niceness (as for `nice`) of processes for strangers' documents."""
    waiting: int = 48
    """Documents in hand at once; beyond that, those that take most are refused for now."""
    waiting_of_one: float = 8.0
    """Processor seconds that one client's documents in line may be expected to take: a badge 0.04, a transcript 1. They
    are worked on one after another, so a client holds one slot at a time."""
    answer_margin_seconds: float = 1.0
    """Seconds before the end of a request's time after which an answer comes too late, and is not worked out."""

    keys_tried: int = 4
    """Keys tried of those with the very name a signature gives; one is usual, two while a key is replaced."""
    report_bytes: int = 3_000_000
    """The size of the report about one document. It has a record twice, in whole and in parts; records within records
    more often."""
    answer_bytes: int = 262_144
    """The size of a DID document or key; a few kilobytes are usual. A status list is a credential, and bounded like
    one."""
    fetches: int = 24
    """Addresses one verification may fetch; a badge names three."""
    fetch_seconds: float = 5.0
    total_seconds: float = 20.0
    """Seconds for everything one verification fetches."""
    redirects: int = 3
    kept_document_bytes: int = 4_000_000
    """Bytes of lists and records of ours that are kept parsed; in memory they take some times that."""
    kept_document_seconds: float = 600.0
    kept_answers: int = 256
    kept_bytes: int = 16_000_000
    kept_seconds: float = 30.0
    """Seconds for which another issuer's key or list is used again: what a status list's own `ttl` usually allows."""
