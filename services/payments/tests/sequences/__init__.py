"""Random lives of orders, what must hold of them at rest, and the faults that they must see."""
