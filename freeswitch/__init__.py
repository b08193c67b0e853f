"""The switch's side of Cordboard: the configuration we ship to it, and a stand-in for it.

`conf/` is what a real FreeSWITCH loads, `simulator` is a switch without a telephone network, `QUIRKS.md` is
what real switches taught us.  Nothing in here imports `callcontrol`: the stand-in would otherwise share the
misunderstandings of the program that it is there to test.
"""
