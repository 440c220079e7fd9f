"""One file a network: what others call our parameters, as (their name, layout) by our flat path.

A path joins the keys of a parameter or a statistic with slashes: "backbone/conv1/norm/mean".
"""
