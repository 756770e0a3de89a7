"""Sets of held-out pictures: one file for each layout that people have on their disks."""
