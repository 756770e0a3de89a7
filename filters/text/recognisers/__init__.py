"""Text recognisers: one file each, named in the field `recogniser` of the scorer `ocr`."""
