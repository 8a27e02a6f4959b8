"""What the problems of a run share.

pool      one budget for all
rounds    a search that goes on with more of it
beliefs   what moves gave on problems before
blocks    which problems start from what others gave
"""
