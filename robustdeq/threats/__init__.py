"""Threat models: the set of inputs an attacker may choose from, one file per norm."""
