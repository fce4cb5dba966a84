"""Measures a model under several settings and says which serves best: what `bellhousing tune` does.

`space` makes the candidates, `trial` starts a server for each and loads it as `workload` says, `report` draws the
frontier and recommends.
"""
