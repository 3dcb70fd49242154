"""MLaroundHPC: learned surrogates of simulations."""
