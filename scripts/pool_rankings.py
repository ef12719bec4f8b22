"""Pool rankings of the same policies and model from other starts each into one set of figures.

    worldsim rank experiment=push_pretrained starts.seed=400000 out=runs/a
    worldsim rank experiment=push_pretrained starts.seed=700000 out=runs/b
    python scripts/pool_rankings.py runs/a runs/b --out runs/both

Nothing is rolled out. Intervals are over all starts together, and over policies too. In one go,
`worldsim rank 'starts.seed=[400000,700000]' starts.count=128` does the same.
"""

import argparse
import sys
from pathlib import Path

from worldsim.cli.rank_report import ranking_json, section_of, write_page
from worldsim.errors import WorldsimError
from worldsim.files import write_json
from worldsim.ranking.pooling import pool_outcomes
from worldsim.reporting.terminal import print_ranking
from worldsim.rollout.results import read_outcomes


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of finished rankings")
    parser.add_argument("--out", type=Path, help="folder for ranking.json and report.html")
    arguments = parser.parse_args()
    try:
        outcomes = pool_outcomes([read_outcomes(folder) for folder in arguments.folders])
        command = " ".join(["python scripts/pool_rankings.py", *sys.argv[1:]])
        title = " and ".join(folder.name for folder in arguments.folders)
        section = section_of(outcomes, title)
        print_ranking(section.ranking)
        if arguments.out is not None:
            write_json(arguments.out / "ranking.json", ranking_json(outcomes, section.ranking))
            write_page(arguments.out / "report.html", title, [section], command)
            print(arguments.out / "report.html")
    except WorldsimError as error:
        print(f"pool_rankings: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
