"""Defenses, one file each: networks, and wrappers that change how one is trained or used."""
