"""What attacks see of a network: values and gradients, counted, for any rule of its gradient."""
