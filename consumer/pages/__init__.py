"""The status page: what an operator is shown in a browser. It reads; nothing can be done through it."""
