"""The rules of assessment: regulations, windows, attempts, files and marks. Pure: no I/O, no clock."""
