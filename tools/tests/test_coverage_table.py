"""What `make coverage` shows."""

from embedded.coverage import by_package, table


def file(statements: int, lines: int, branches: int, taken: int) -> dict:
    names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
    return {"summary": dict(zip(names, (statements, lines, branches, taken), strict=True))}


def test_files_are_counted_together_by_package():
    measured = {
        "services/payments/payments/jobs/asking.py": file(10, 9, 4, 1),
        "services/payments/payments/app.py": file(10, 6, 0, 0),
        "libs/shared/shared/ids.py": file(4, 4, 2, 2),
        "gateway/gateway/app.py": file(3, 0, 0, 0),
    }
    shown = [line.split() for line in table(by_package({"files": measured})).splitlines()]
    assert shown == [
        ["lines", "branches"],
        ["gateway", "0.0%", "0.0%"],
        ["libs/shared", "100.0%", "100.0%"],
        ["services/payments", "75.0%", "25.0%"],
    ]
