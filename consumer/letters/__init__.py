"""Dead letters: what is written of a record that never decodes, and what is done with it later."""
