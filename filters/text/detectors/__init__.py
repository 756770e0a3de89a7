"""Text detectors: one file each, named in the field `detector` of the scorer `text_boxes`."""
