"""What usage costs: `Usage` + model + time → `Cost`. Pure; the book is loaded once.

book     every dated price Metrion knows: `genai-prices` and our own overrides
sheet    the unit prices of one provider × model × tier × context at one time, in nano-dollars per million units
cost     integer nano-dollars, with where it came from (`cost_source`) and by which price (`price_ref`)
edit     adds to an operator's own prices; compare: the book beside a second table
"""
