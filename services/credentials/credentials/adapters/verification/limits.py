"""How much a stranger may ask of us. Each default leaves an honest credential ample room."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """MC_VERIFICATION='{"document_bytes": …}' changes some of them."""

    document_bytes: int = 1_000_000
    """A signed credential is some 5 KB, a transcript of a whole Master's some 100 KB."""
    image_bytes: int = 5_000_000
    """A badge's picture with the credential in it."""
    depth: int = 24
    """JSON within JSON; a badge within a transcript takes 12."""
    values: int = 20_000
    """Objects, lists and scalars together; a badge has some 150. Bounds what JSON-LD makes of each byte."""
    inner_credentials: int = 100
    """In a transcript, at all depths; a Master's is 12 courses."""
    seconds: float = 5.0
    """Of a processor, for one document and all that is asked about it; a badge takes 0.03, a transcript of 60 0.9."""
    slice_seconds: float = 0.25
    """Of a processor, after which a document makes room for those that have taken less."""
    bytes_a_second: int = 80_000
    """Of a document, as a guess at what it will take."""
    ageing: float = 20.0
    """By how many seconds each second of a processor puts a document behind others; they come before it until then."""
    patience: float = 60.0
    """Seconds on the clock after which a process is given up: with that it stands still, or the machine does."""
    memory_bytes: int = 1_500_000_000
    """Address space of a process that computes; it takes a tenth of that."""
    workers: int = 2
    """Documents that compute at once; each has a process of its own, and our own records are examined beside them."""
    niceness: int = 10
    """How far strangers' documents stand back where processors are short."""
    waiting: int = 48
    """Documents in hand; of further ones those that take most are told to come again."""
    waiting_of_one: int = 4
    """Of those, one client's: they are examined one after another, so a client holds one place at a time."""
    answer_margin_seconds: float = 1.0
    """An answer that comes later than this before the end of a request's time is of no use, and is not worked out."""

    keys_tried: int = 4
    """Of those with the very name a signature gives; one is usual, two while a key is replaced."""
    report_bytes: int = 3_000_000
    """Of what is told about one document. A record is told of twice, in whole and in parts; records within records
    more often."""
    answer_bytes: int = 262_144
    """Of a DID document or key; a few kilobytes are usual. A status list is a credential, and bounded like one."""
    fetches: int = 24
    """Addresses one verification may ask; a badge names three."""
    fetch_seconds: float = 5.0
    total_seconds: float = 20.0
    """For everything one verification fetches."""
    redirects: int = 3
    kept_document_bytes: int = 4_000_000
    """Of lists and records of ours that were examined and are kept; in memory they take some times that."""
    kept_document_seconds: float = 600.0
    kept_answers: int = 256
    kept_bytes: int = 16_000_000
    kept_seconds: float = 30.0
    """How long another's key or list is used again: what a status list's own `ttl` usually allows."""
