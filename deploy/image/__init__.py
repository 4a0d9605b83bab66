"""How our image is built, and what is written of it."""
