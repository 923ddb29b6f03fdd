"""What an attack climbs: one file per objective, all per row and larger = nearer to the goal."""
