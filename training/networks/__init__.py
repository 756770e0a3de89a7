"""Networks that systems are made of; they know no objective."""
