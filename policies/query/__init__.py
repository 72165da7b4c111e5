"""Query languages of CRMs: which columns a query uses and how, where its operands stand, and the same query asked anew.

Everything here is pure. A language module turns a text into a `Query` (`parsed.py`); `rewrite.py` writes it again with
other operands and changes nothing else. What is not understood is `QueryInvalid`, never passed over.
"""
