"""What runs the project somewhere: the local stack, images, units, manifests, rules."""
