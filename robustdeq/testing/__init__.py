"""What a third party's tests need: the contracts of plug-ins, and problems with known answers."""
