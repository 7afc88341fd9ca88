"""The house rules as functions from sources to findings; tests/test_house_rules.py runs them."""
