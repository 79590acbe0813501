"""Learners who were anonymised."""

from shared.errors import Gone


class HolderAnonymised(Gone):
    """Who was anonymised says nothing more here: nothing is shared, claimed or applied for."""

    remedy = "It stays so. To study again, open a new account and register anew."
