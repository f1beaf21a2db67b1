"""How much our request layer costs beside the bare client and beside distilabel.

    python benchmarks/llm_requests.py --peer PYTHON      # a Python that has distilabel

The same calls go to one scripted server on the loopback (in a process of its own), each contender
in a process of its own, one after the other. Prints a Markdown table: wall time over the ideal
(calls x latency / in flight), CPU per call (the contender's processes, user + system, from the
first call to the last reply) and peak resident memory. Ratios within one run are what counts.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
KEY, MODEL = "sk-scripted-0123456789abcdef", "scripted-1"
SCHEMA = {
    "name": "answer",
    "schema": {
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
        "additionalProperties": False,
    },
}
#: About as long as a prompt of ours.
PROMPT = "Rewrite the answer so that it names the patient. Keep every clinical word. " * 30


class Cost(NamedTuple):
    wall: float  # seconds
    cpu: float  # seconds, with child processes
    rss: int  # MB, of the largest process
    versions: str


def prompt(number: int) -> str:
    return f"{PROMPT}\nQuestion {number}: which organ is it?"


def _check(texts: set[str], calls: int) -> None:
    if len(texts) != calls:
        raise SystemExit(f"{len(texts)} different replies to {calls} calls")


def ours(url: str, calls: int, in_flight: int) -> None:
    from mllmu_med.llm.chat import Request
    from mllmu_med.llm.client import Client
    from mllmu_med.llm.concurrency import run_all
    from mllmu_med.llm.reply_cache import ReplyCache
    from mllmu_med.llm.settings import Settings

    def request(number: int) -> Request:
        messages = ({"role": "user", "content": prompt(number)},)
        return Request(MODEL, messages, SCHEMA, {"temperature": 0.7}, "bench/1")

    async def main() -> None:
        settings = Settings(MODEL, url, concurrency=in_flight)
        async with Client(settings, cache) as client:
            replies = await run_all(client, client.ask, map(request, range(calls)))
        _check({reply.text for reply in replies}, calls)

    with (
        tempfile.TemporaryDirectory() as folder,
        ReplyCache(Path(folder) / "requests.sqlite") as cache,
    ):
        asyncio.run(main())


def bare(url: str, calls: int, in_flight: int) -> None:
    from openai import AsyncOpenAI

    async def main() -> None:
        slots = asyncio.Semaphore(in_flight)
        async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:

            async def ask(number: int) -> str:
                async with slots:
                    done = await client.chat.completions.create(
                        model=MODEL,
                        messages=[{"role": "user", "content": prompt(number)}],
                        temperature=0.7,
                        response_format={"type": "json_schema", "json_schema": SCHEMA},  # type: ignore[typeddict-item]
                    )
                return done.choices[0].message.content or ""

            texts = await asyncio.gather(*map(ask, range(calls)))
        _check(set(texts), calls)

    asyncio.run(main())


def distilabel(url: str, calls: int, in_flight: int) -> None:
    """Its own way: a pipeline with one text generation, which has batches of calls in flight."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with tempfile.TemporaryDirectory() as cache:
        with Pipeline(name="bench", cache_dir=cache) as pipeline:
            rows = [{"instruction": prompt(number)} for number in range(calls)]
            load = LoadDataFromDicts(data=rows, batch_size=in_flight)
            llm = OpenAILLM(
                model=MODEL,
                base_url=url,
                api_key=KEY,
                max_retries=0,
                generation_kwargs={"temperature": 0.7},
            )
            load >> TextGeneration(llm=llm, input_batch_size=in_flight)
        dataset = pipeline.run(use_cache=False)["default"]["train"]
        _check({row["generation"] for row in dataset}, calls)


CONTENDERS = {"ours": ours, "bare": bare, "distilabel": distilabel}


def measure(name: str, url: str, calls: int, in_flight: int) -> Cost:
    """Run one contender in this process; its imports do not count."""
    if name == "ours":
        import openai
        import tenacity

        import mllmu_med.llm.client

        names = [openai.__name__, tenacity.__name__]
        if mllmu_med.llm.client.__file__ != str(ROOT / "mllmu_med" / "llm" / "client.py"):
            raise SystemExit("not this checkout's client")
    elif name == "bare":
        import openai

        names = [openai.__name__]
    else:
        import distilabel.pipeline

        names = [distilabel.__name__, "openai", "datasets"]
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)

    def cpu() -> float:
        return sum(sum(resource.getrusage(one)[:2]) for one in who)

    before, started = cpu(), time.perf_counter()
    CONTENDERS[name](url, calls, in_flight)
    wall, used = time.perf_counter() - started, cpu() - before
    rss = max(resource.getrusage(one).ru_maxrss for one in who) // 1024
    return Cost(wall, used, rss, ", ".join(f"{name} {version(name)}" for name in names))


def contender(name: str, python: str, options: argparse.Namespace, url: str) -> Cost | str:
    words = [python, __file__, "--contender", name, "--url", url]
    words += ["--calls", str(options.calls), "--in-flight", str(options.in_flight)]
    env = {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds a reply takes")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has distilabel")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measure(options.contender, options.url, options.calls, options.in_flight)))
        return
    server = ROOT / "tests" / "scripted_server.py"
    words = [sys.executable, str(server), "--latency", str(options.latency), "--key", KEY]
    pythons = {"bare": sys.executable, "ours": sys.executable, "distilabel": options.peer}
    ideal = options.calls * options.latency / options.in_flight
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        url = run.stdout.readline().strip() if run.stdout else ""
        print(f"{options.calls:,} calls of {options.latency:g} s, {options.in_flight} in flight:")
        print(f"ideal {ideal:.1f} s. Python {platform.python_version()}, {os.cpu_count()} cores.\n")
        print("| | wall, s | wall / ideal | CPU a call, ms | peak memory, MB | versions |")
        print("| --- | ---: | ---: | ---: | ---: | --- |")
        for name, python in pythons.items():
            if python is None:
                continue
            cost = contender(name, python, options, url)
            if isinstance(cost, str):
                print(f"| {name} | failed: {cost} | | | | |", flush=True)
                continue
            each = cost.cpu / options.calls * 1000
            print(
                f"| {name} | {cost.wall:.1f} | {cost.wall / ideal:.2f} | {each:.2f} | {cost.rss} "
                f"| {cost.versions} |",
                flush=True,
            )
        run.communicate()


if __name__ == "__main__":
    main()
