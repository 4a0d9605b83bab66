"""What was found, as tables, text, figures and pages: values in, values out, but for the chronicle, which reads."""
