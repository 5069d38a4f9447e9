"""The program that `stackledger worker start` becomes, once it has found what a worker has to know.

It is begun in the environment in which steps find themselves, and knows no secret yet. So what executes steps can be a
fork of it, with which it shares its memory; only then it takes what it was handed, through the descriptor in argv. The
command line and the client, which are not needed any more, are never loaded.
"""

from __future__ import annotations

import sys

from stackledger.cli.talk import Log, LogFormat, complain
from stackledger.domain.errors import StackledgerError
from stackledger.workers.fleet.execution.nursery import forked
from stackledger.workers.fleet.trust.folder import key_file
from stackledger.workers.fleet.trust.keys import read_key
from stackledger.workers.fleet.working import handed, load, work


def main() -> None:
    """Be a worker, and end with the status of a command."""
    load()
    nursery = forked()
    given = handed(int(sys.argv[1]))
    log = Log("worker", LogFormat(given.log_format))
    try:
        with log.to_the_end():
            work(
                given.join,
                given.config,
                read_key(key_file(given.home, given.key_id)),
                given.service,
                home=given.home,
                tell=log.news,
                trouble=log.trouble,
                nursery=nursery,
            )
    except StackledgerError as error:
        complain(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
