"""Public data sets with one interface: where they are, what they measure, and frames in eV and Å."""
