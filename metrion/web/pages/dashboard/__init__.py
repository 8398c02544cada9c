"""The dashboard: one file for each tab, which asks storage for its figures and makes cards and charts of them.

board       what all tabs share: the range, the filters, the links between them, live updates
question    what a tab is asked: whose figures, of which span, in which money and colours
"""
