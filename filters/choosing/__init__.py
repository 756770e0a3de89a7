"""The arithmetic of keeping: ranking, cuts, resampling, quotas, normalising and composition."""
