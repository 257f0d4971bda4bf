"""What becomes of stalled jobs, as people type it: ``retry``, ``retry,pay=fail``."""

from __future__ import annotations

import argparse

from procrastinate import jobs

#: What stands for the tasks that are not named.
OTHERS = "*"


def stalled_jobs(value: str) -> dict[str, jobs.StalledJobPolicy]:
    """
    Read the policy of each task that is named; a policy alone is that of all others.

    Raises
    ------
    argparse.ArgumentTypeError
        There is no such policy, or a task has two.
    """
    policies: dict[str, jobs.StalledJobPolicy] = {}
    for part in (stripped for part in value.split(",") if (stripped := part.strip())):
        before, equals, word = part.rpartition("=")
        task = before.strip() if equals else OTHERS
        if task in policies:
            raise argparse.ArgumentTypeError(f"two policies for {task}: {value!r}")
        try:
            policies[task] = jobs.StalledJobPolicy(word.strip())
        except ValueError:
            words = ", ".join(policy.value for policy in jobs.StalledJobPolicy)
            raise argparse.ArgumentTypeError(
                f"invalid policy: {part!r} ({words}; or for example retry,pay=fail)"
            ) from None
    if not policies:
        raise argparse.ArgumentTypeError(f"no policy: {value!r}")
    return policies
