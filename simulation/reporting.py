"""The exception by which an invariant reports that it is broken."""


class Broken(Exception):
    def __init__(self, what: str, told: object = "") -> None:
        super().__init__(what)
        self.what, self.told = what, f"{told}"[:600]
