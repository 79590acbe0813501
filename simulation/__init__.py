"""The whole platform in one process, where one seed decides everything: time, order, delivery, crashes, people.

`python -m simulation` runs seeds; docs/testing.md says how to read, replay and extend them.
"""
