"""Before/after pairs of objects in ProcTHOR houses: read from Causal Triplet's folders, or generated with AI2-THOR."""
