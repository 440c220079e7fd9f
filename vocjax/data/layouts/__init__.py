"""How data lies on disk: a module for each layout, which gives a `devkit.Source`."""
