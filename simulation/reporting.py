"""The exception by which an invariant reports that it is broken."""


class Broken(Exception):
    def __init__(self, what: str, details: object = "") -> None:
        super().__init__(what)
        self.what, self.details = what, f"{details}"[:600]
