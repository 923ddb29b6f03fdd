"""Networks: equilibrium models, their cells, their explicit controls, and how attacks see them."""
