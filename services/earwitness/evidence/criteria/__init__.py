"""Which criterion should choose the settings of a search, measured on sweeps that are done."""
