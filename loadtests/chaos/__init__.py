"""Faults at random under steady load, over several raylets on this machine: `python -m loadtests.chaos` (make chaos).

schedule.py draws the faults from a seed, faults.py causes them, raylets.py is the cluster, backend.py the endpoint
whose answers break (a test double of models; engine, router and proxies are the real ones), load.py the clients,
judge.py says whether every request ended as it should, report.py writes the tables.
"""
