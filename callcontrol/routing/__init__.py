"""The routing language: a company's YAML file, read, checked and turned into values.

``files`` finds companies in a directory, ``nodes`` reads YAML into texts with places, ``kinds`` reads texts into
values, ``hours`` knows when, ``load`` puts a company together, ``checks`` looks at the whole, ``model`` is what comes
out.  Pure: no clock, no log; only ``files`` reads files.
"""
