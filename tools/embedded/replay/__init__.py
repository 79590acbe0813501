"""Real registrations, replayed through the public API and reconciled: `python -m embedded.replay <folder>`.

The data set is the Open University Learning Analytics Dataset (Kuzilek, Hlosta, Zdrahal 2017, CC BY 4.0), read from
a folder; docs/decisions/0010 says what becomes of it.
"""
