"""Ratios against limits measured in the same run: what our shapes cost over the bare parts they are made of."""
