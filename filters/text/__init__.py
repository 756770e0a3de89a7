"""Text in pictures and words in captions: find it, read it, mask it, match it."""
