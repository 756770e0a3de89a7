"""What a run will cost: observations of small runs, a fit, and a forecast of larger ones."""
