"""Users of an OpenAI-compatible cascade server, for locust; `make load` runs it headless.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8000 -u 4 -t 60 --shape ramp

Closed-loop shapes have users that ask, wait for the answer, and ask again. `--shape replay` sends each request of a
trace at its time, whether or not the ones before it were answered. Locust's own statistics (web page, --csv) have,
besides whole latencies, the rows `TTFT`, `TPOT` (ms), `DEFERRED` and `COST` (mean: percent); its totals leave them out.

With several processes or machines (`--processes 4`, or `--master --expect-workers 4` and `--worker`), the workers send
their results to the master, which writes the log, the summary and the exit code. A trace is dealt out in turn, and its
time begins on each worker with its first user; machines need clocks that agree, and the files at the same paths.
"""

import logging
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Group
from load import LoadError
from load.gates import judge, read_gates
from load.log import Log, Result, read_log
from load.options import DURATION_S, Plan, add_options, read_options, signature
from load.schedule import users_at
from load.server import check_ready, look
from load.summary import progress, summarize, text
from load.trace import Arrival
from load.wire import send
from locust import FastHttpUser, LoadTestShape, events, runners, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

SAMPLE_S = 2.0
PROGRESS_S = 5.0
BACKOFF_S = 1.0
"""What a user waits after a failure: a server that is down would be asked thousands of times a second."""
SPAWN_RATE = 100.0
"""Users a second, at most: what locust can start. Shapes say how many there should be."""

# Seconds without a sign of life after which a master gives a worker up; locust's 3 are few on a machine under load.
runners.HEARTBEAT_LIVENESS = 30


class Session:
    """What one process knows of its run."""

    plan: Plan
    numbers: "count[int]"
    log: Log | None = None

    def __init__(self) -> None:
        self.unsent: list[Result] = []  # what a worker has not yet reported to its master
        self.recent: list[Result] = []  # since the last line of progress
        self.ended_count = 0


session = Session()


@events.init_command_line_parser.add_listener
def options(parser: ArgumentParser) -> None:
    add_options(parser)


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Refuse at once what cannot run; workers take their orders from the master."""
    options = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner):
        return
    try:
        session.plan = read_options(options)
        check_ready(environment.host or "", session.plan.mix.models)
    except LoadError as error:
        if isinstance(environment.runner, MasterRunner):
            environment.runner.quit()  # or its workers would wait for it
        sys.exit(str(error))
    options.num_users, options.run_time = options.num_users or 1, options.run_time or DURATION_S
    environment.stop_timeout = environment.stop_timeout or options.request_timeout
    if options.headless and not options.locust_tables:
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
        logging.getLogger("locust").setLevel(logging.WARNING)


@events.test_start.add_listener
def start(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):  # which has its master's options only now
        session.plan = read_options(environment.parsed_options)
    session.numbers = count(*_position(environment))
    Asker.network_timeout = Replayer.network_timeout = session.plan.timeout_s
    if isinstance(environment.runner, WorkerRunner):
        return
    session.log = Log(Path(environment.parsed_options.log))
    session.log.open(time.time(), signature(environment.host, environment.parsed_options))
    environment.runner.greenlet.spawn(_watch, environment, session.log)
    environment.runner.greenlet.spawn(_tell, environment)


def _position(environment: Environment) -> tuple[int, int]:
    """Return the index of this process among those that send requests, and their number."""
    if isinstance(environment.runner, WorkerRunner):
        return environment.runner.worker_index, environment.parsed_options.expect_workers
    return 0, 1


def _ask(user: FastHttpUser, number: int, arrival: Arrival | None = None, late_s: float | None = None) -> Result:
    ask = session.plan.mix.ask(number, arrival.max_tokens if arrival else None)
    result = send(user.client, ask, session.plan.timeout_s, late_s)
    _count(user.environment, result)
    if isinstance(user.environment.runner, WorkerRunner):
        session.unsent.append(result)
    else:
        _collect([result])
    return result


def _collect(results: list[Result]) -> None:
    if session.log is not None:  # before the run there are none
        session.log.requests(results)
        session.recent += results
        session.ended_count += len(results)


def _count(environment: Environment, result: Result) -> None:
    """Add rows for locust beside the latency; `log` of a row leaves locust's totals alone, which count requests."""
    rows = {
        "TTFT": result.first_token_s and result.first_token_s * 1000,
        "TPOT": result.token_s and result.token_s * 1000,
        "DEFERRED": None if result.deferred is None else 100 * result.deferred,
        "COST": 100 * result.flops / result.target_flops if result.flops and result.target_flops else None,
    }
    for method, value in rows.items():
        if value is not None and result.failure is None:
            environment.stats.get(result.model, method).log(value, 0)


@events.report_to_master.add_listener
def report(data: dict[str, Any], **_: Any) -> None:
    data["results"] = [asdict(result) for result in session.unsent]
    session.unsent = []


@events.worker_report.add_listener
def receive(data: dict[str, Any], **_: Any) -> None:
    _collect([Result(**result) for result in data["results"]])


class Asker(FastHttpUser):
    """Closed loop: asks, waits, thinks, asks again."""

    def wait_time(self) -> float:
        return session.plan.think_s

    @task
    def ask(self) -> None:
        if _ask(self, next(session.numbers)).failure:
            gevent.sleep(BACKOFF_S)


class Replayer(FastHttpUser):
    """Open loop: one greenlet for each request of the trace, started at its time."""

    concurrency = 100_000  # connections: arrivals never wait for one another

    @task
    def replay(self) -> None:
        index, workers = _position(self.environment)
        start, group = time.perf_counter(), Group()
        for number in range(index, len(session.plan.trace), workers):
            arrival = session.plan.trace[number]
            gevent.sleep(max(0.0, start + arrival.time_s - time.perf_counter()))
            late_s = time.perf_counter() - start - arrival.time_s
            group.spawn(_ask, self, number, arrival, late_s)
        group.join()
        raise StopUser


class Shape(LoadTestShape):
    use_common_options = True

    def reset_time(self) -> None:
        super().reset_time()
        self.begun = False

    def tick(self) -> tuple[int, float, list[type[FastHttpUser]]] | None:
        options = self.runner.environment.parsed_options
        if options.shape == "replay":
            if session.ended_count == len(session.plan.trace) or (self.begun and self.runner.user_count == 0):
                return None
            self.begun = self.runner.user_count > 0
            workers = options.expect_workers if isinstance(self.runner, MasterRunner) else 1
            return workers, SPAWN_RATE, [Replayer]
        users = users_at(options.shape, self.get_run_time(), options.num_users, options.run_time)
        return None if users is None else (users, SPAWN_RATE, [Asker])


def _watch(environment: Environment, log: Log) -> None:
    while True:
        log.sample(time.time(), users=environment.runner.user_count, **look(environment.host))
        gevent.sleep(SAMPLE_S)


def _tell(environment: Environment) -> None:
    begun, planned = time.perf_counter(), len(session.plan.trace)
    while True:
        gevent.sleep(PROGRESS_S)
        recent, session.recent = session.recent, []
        status = f"{session.ended_count} of {planned} done" if planned else f"{session.ended_count} done"
        users = "" if planned else f"   {environment.runner.user_count} users"
        print(f"{time.perf_counter() - begun:6.0f} s{users}   {status}   {progress(recent, PROGRESS_S)}", flush=True)


@events.quitting.add_listener
def finish(environment: Environment, **_: Any) -> None:
    """Print summary and gates, and set the exit code. Failed requests alone do not set it: a gate has their limit."""
    if session.log is None:
        return
    environment.runner.quit()  # the last results come in
    session.log.close(time.time())
    summary = summarize(read_log(session.log.path))
    print(f"\n{text(summary)}\n\nlog        {session.log.path}", flush=True)
    environment.process_exit_code = 0 if summary.requests else 1
    if path := environment.parsed_options.slo:
        verdicts = judge(read_gates(Path(path)), summary)
        print("\n".join([f"gates      {path}", *(f"  {verdict}" for verdict in verdicts)]), flush=True)
        environment.process_exit_code = int(not all(verdict.passed for verdict in verdicts))
