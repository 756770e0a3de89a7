"""The comparison of filters: what each keeps, what models learn from it, and which differences are real."""
