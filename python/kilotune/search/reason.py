"""Why this set and not another: what a search says of its choice."""

from __future__ import annotations

from collections.abc import Sequence

from .candidates import Candidate
from .trials import BEHIND, CAUTION, CHANCE, TOLERANCE, Trial

LISTED = 3
"""Sets that the summary names."""


def verdicts(trials: Sequence[Trial]) -> dict[str, str]:
    """Name of each set that was trained -> why it was not taken. trials: of a race, the winner first."""
    winner, found = trials[0], dict[str, str]()
    for trial in trials:
        found.setdefault(trial.candidate.name, _verdict(trial, winner))
    return found


def _verdict(trial: Trial, winner: Trial) -> str:
    if trial is winner:
        return "chosen"
    lag, error = trial.lag(winner)
    shown = f"{lag:+.3f} ± {error:.3f}"
    if len(trial.outcomes) < len(winner.outcomes):
        return f"given up: {shown}"
    if lag > CAUTION * error + TOLERANCE:
        return f"behind: {shown}"
    return f"within noise: {shown}"


def reasons(best: Candidate, trials: Sequence[Trial], feasible: Sequence[Candidate], left_out: str = "") -> tuple[str, ...]:
    """Sentences. feasible: all that fit the budget. left_out: why the default recipe is not the anchor, where it is not."""
    if not trials:
        return (f"nothing was trained: of {len(feasible)} sets that fit, it promises most by its gradients", *filter(None, [left_out]))
    winner, anchor = trials[0], next(t for t in trials if t.anchor)
    trained = {t.candidate.name for t in trials}
    said = [
        f"{len(trained)} of {len(feasible)} sets that fit were trained, on parts of the samples, and judged on the others ({winner.samples} "
        f"predictions): by errors, and the loss in units of a guess's. After ± stands one standard error of the paired difference",
        *filter(None, [left_out]),
    ]
    if winner is anchor:
        said.append("it is what one would train without a search within this budget, at the usual rate: " + _luck(trials))
    else:
        lag, error = winner.lag(anchor)
        gain = f"it is better than what one would train without a search within this budget, {anchor.name}, by {-lag:.3f} ± {error:.3f}"
        said.append(f"{gain}; as one of {len(trials) - 1} trainings, {_expected(winner)}")
    alike = _within(trials, winner)
    if alike:
        shown = ", ".join(f"{t.name} ({_score(t)}, {t.candidate.bytes:,} bytes)" for t in alike[:LISTED])
        more = f" and {len(alike) - LISTED} more" if len(alike) > LISTED else ""
        said.append(f"within noise of it: {shown}{more}")
    elif len(trained) == 1:
        said.append("no other set was trained")
    else:
        said.append(f"every other set was behind it by more than {_margin()}, or given up early, {BEHIND:g} standard errors behind the best")
    return tuple(said)


def _luck(trials: Sequence[Trial]) -> str:
    """Why the anchor, the first, stays: what is to be expected of what looked best."""
    anchor, *others = trials
    ahead = [t for t in others if t.chance is not None and len(t.outcomes) == len(anchor.outcomes) and t.lag(anchor)[0] < -TOLERANCE]
    if not ahead:
        return f"no other was better by more than {TOLERANCE:g}"
    best = max(ahead, key=lambda t: t.expected or 0.0)
    lag, error = best.lag(anchor)
    return (
        f"the best of the others, {best.name}, is better by {-lag:.3f} ± {error:.3f} on these samples, but as one of {len(others)} trainings, "
        f"{_expected(best)}, and it has to be more than {TOLERANCE:g}, at a chance of {CHANCE:.0%} at most"
    )


def _expected(trial: Trial) -> str:
    if trial.expected is None or trial.chance is None:
        return "nothing is known of it"
    return f"{trial.expected:.3f} are to be expected of it, and none or less at a chance of {100 * trial.chance:.2g} %"


def _within(trials: Sequence[Trial], winner: Trial) -> list[Trial]:
    """The best trial of each other set that the noise does not tell from the winner, highest score first."""
    found: dict[str, Trial] = {}
    for trial in trials:
        whole = len(trial.outcomes) == len(winner.outcomes) and trial.candidate is not winner.candidate
        if whole and _verdict(trial, winner).startswith("within"):
            found.setdefault(trial.candidate.name, trial)
    return sorted(found.values(), key=lambda t: (t.lag(winner)[0], t.candidate.bytes))


def _margin() -> str:
    return f"{'one standard error' if CAUTION == 1 else f'{CAUTION:g} standard errors'} and {TOLERANCE:g}"


def _score(trial: Trial) -> str:
    return f"loss {trial.loss:.3f}" if trial.accuracy is None else f"{trial.accuracy:.3f}"
