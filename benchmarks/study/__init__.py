"""Why an action is recognised on things never seen: hundreds of heads, trained on features that are kept once."""
