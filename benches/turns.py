"""Compares two builds of xtask by turns: inputs per second of whole towers in f32, with the ratios new / old.

    python benches/turns.py OLD_XTASK NEW_XTASK MODEL,MODEL... [ROUNDS [SECONDS [THREADS]]]

Each round runs both builds, in alternating order. Use it on a quiet machine, or give it priority over other work.
"""

import json
import statistics
import subprocess
import sys


def measure(program, model, seconds, threads):
    command = [program, "bench", "engine", "--model", model, "--inputs", "image,text", "--batches", "1,8",
               "--seconds", seconds, "--threads", threads]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {(case["input"], case["batch"]): case["per_second"] for case in json.loads(output)["cases"]}


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    programs = sys.argv[1:3]
    rounds, seconds, threads = (*sys.argv[4:], *["5", "1", "1"][len(sys.argv) - 4:])
    print("| model | input | batch | before | now | ratio of bests | ratio of medians |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in sys.argv[3].split(","):
        runs = [[], []]
        for turn in range(int(rounds)):
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                runs[which].append(measure(programs[which], model, seconds, threads))
        for kind in runs[0][0]:
            old, new = ([run[kind] for run in side] for side in runs)
            medians = statistics.median(new) / statistics.median(old)
            print(f"| {model} | {kind[0]} | {kind[1]} | {max(old):.2f} | {max(new):.2f} "
                  f"| {max(new) / max(old):.3f} | {medians:.3f} |", flush=True)


if __name__ == "__main__":
    main()
