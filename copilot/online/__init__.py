"""Online reinforcement learning on execution rewards: PPO and GRPO, multi-turn, token-exact.

:mod:`loop` reads like a page; advantages, surrogates, divergence, importance and aggregation are pure functions on
flat tensors of trained tokens; model, scoring and collector are the edges.
"""
