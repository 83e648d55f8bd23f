"""What the notebooks import, and which needs it. A module imports only modules above it in this list.

messages                how far long work is; a sentence where a notebook fails
manifest                the table that every step takes and returns: one row per image
page                    one HTML page from figures and tables
data          01        find and read images in any layout, labels, audit, splits; data.sample draws the sample
figures                 figures that several notebooks share
parameters              what a notebook's parameters may be
processes               notebooks in a process of their own; one writer at a time
runs                    a run folder: its parameters, what is done in it, what one notebook needs of another
augmentation  02        fill classes with Augmentor
training      03 04 06  from images to batches; go on where a stopped training was
evaluation    05 06 07  scores with intervals, the camera or the lesion, decisions, heatmaps, the report
batch                   run, sweep and build notebooks from the command line: python -m helpers
"""
