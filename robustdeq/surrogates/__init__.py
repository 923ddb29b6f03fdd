"""Surrogates: the differentiable views an attacker takes of a defended model, one file each."""
