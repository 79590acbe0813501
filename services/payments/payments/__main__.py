"""The commands of payments: those of every service, and the numbers of receipts after a database was restored."""

from payments.app import build
from payments.commands.receipts import go_on_after, last_receipt
from payments.settings import Settings
from shared.cli import main
from shared.restored import AcceptStep

RECEIPTS = AcceptStep(
    "--last-receipt",
    "the highest receipt number anybody was given, by the e-mails that were sent: MC-<year>-<number>",
    go_on_after,
    last_receipt,
)

if __name__ == "__main__":
    main(Settings, build, accepting=RECEIPTS)
