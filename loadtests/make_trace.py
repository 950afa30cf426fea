"""Write a trace of Poisson arrivals, for `make load SHAPE=replay TRACE=...` and for comparisons on equal arrivals.

python loadtests/make_trace.py --rate 5 --duration 120 --seed 1 arrivals.csv
"""

import argparse
from pathlib import Path

from load.trace import poisson, write_trace


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a trace of independent (Poisson) arrivals.")
    parser.add_argument("path", type=Path, help="the CSV file to write")
    parser.add_argument("--rate", type=float, required=True, help="arrivals a second, on average")
    parser.add_argument("--duration", type=float, required=True, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.rate <= 0 or options.duration <= 0:
        parser.error("--rate and --duration must be above 0")
    arrivals = poisson(options.rate, options.duration, options.seed)
    write_trace(options.path, arrivals)
    print(f"{len(arrivals)} arrivals in {options.duration:g} s written to {options.path}")


if __name__ == "__main__":
    main()
