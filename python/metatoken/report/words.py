"""The findings in plain words: how good a run is, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

from metatoken.evaluate.significance import JUDGED
from metatoken.predict.fusion import Fusion
from metatoken.report.results import signed, told, verdict

if TYPE_CHECKING:
    from metatoken.report.subject import Subject
    from metatoken.report.tokens import TokenFindings

UNEVEN = 0.6  # evenness of a level below which its tokens are used too differently
COLD = 0.05  # share of targets that training has never seen, from which on it is worth a word
FEW = 1000  # users below which a difference is hard to tell from chance


def summary(subject: Subject) -> dict[str, Any]:
    """A headline, sentences and key figures for somebody who reads nothing else.

    Args:
        subject: The run.
    """
    if subject.main is None:
        return {"headline": "Nothing was ranked", "verdict": "even", "sentences": [NOT_RANKED], "figures": []}
    metrics, users = subject.main["metrics"], len(subject.targets)
    hit = metrics["hr@10"]["mean"]
    part = "validation part, on which choices were made" if subject.part == "validation" else "test part"
    about = f"{users:,} users of the {part}, {subject.data.split.log.n_items:,} items, model {subject.main['model']}"
    said = f"For {_of_hundred(hit)} users, one of ten recommended items is the one that they took next"
    sentences = [f"{said} (HR@10 {hit:.4f}; {about})."]
    figures = [("HR@10", f"{hit:.3f}"), ("NDCG@10", f"{metrics[JUDGED]['mean']:.3f}"), ("users", f"{users:,}")]
    if subject.rival is None:
        return {
            "headline": "No baseline to compare with", "verdict": "even", "sentences": sentences, "figures": figures
        }  # fmt: skip
    found = subject.main["against"]["metrics"][JUDGED]
    base, standing = subject.rival["metrics"][JUDGED]["mean"], verdict(found)
    share = signed(found["difference"] / base, "+.1%") if base else ""
    figures.insert(2, ("NDCG@10 against the best baseline", share or signed(found["difference"])))
    sentences += [*_against(subject.rival, hit, told(found), share), MEANINGS[standing]]
    return {"headline": HEADLINES[standing], "verdict": standing, "sentences": sentences, "figures": figures}


def _against(rival: Mapping[str, Any], hit: float, words: Mapping[str, str], share: str) -> Iterator[str]:
    """How the run stands against the best baseline."""
    theirs = rival["metrics"]["hr@10"]["mean"]
    many = "as many" if _of_hundred(theirs) == _of_hundred(hit) else _of_hundred(theirs)
    yield f"The best baseline, {rival['model']}, finds it for {many} (HR@10 {theirs:.4f})."
    more = f" ({share})" if share else ""
    yield (
        f"In NDCG@10, which rewards high places, the model differs from it by {words['difference']}{more}; the 95 % "
        f"interval is {words['interval']}, {words['p']} (paired bootstrap over users)."
    )


NOT_RANKED = "The run has no task that ranks items; its answers stand below beside those of the baselines."
HEADLINES = {
    "better": "Better than the best baseline",
    "even": "Not told apart from the best baseline",
    "worse": "Worse than the best baseline",
}
MEANINGS = {
    "better": "The gain is more than the chance of which users there are; another seed or log may still differ.",
    "even": "The interval holds 0: among so many users, a difference of this size may be chance.",
    "worse": "The loss is more than chance: for this log the baseline is the better choice as it stands.",
}


class Step(NamedTuple):
    """Something to do next, with the command that does it where there is one."""

    what: str
    command: str = ""


def next_steps(subject: Subject, found: TokenFindings, warnings: list[str]) -> list[Step]:
    """What to do next, the most useful first.

    Args:
        subject: The run.
        found: About its tokens.
        warnings: Of the audit of its log.
    """
    return [*_about_data(subject, warnings), *_about_model(subject), *_about_tokens(found), *_to_use(subject)]


def _about_data(subject: Subject, warnings: list[str]) -> Iterator[Step]:
    if warnings:
        yield Step("Look at the warnings about the log first: what is wrong there spoils every number here.")
    cold = float((subject.popularity[subject.targets.items] == 0).mean()) if len(subject.targets) else 0.0
    if cold > COLD:
        yield Step(
            f"{cold:.0%} of the held-out items were never seen in training. Give an item table with categories, or "
            "vectors of their texts (metatoken text-vectors), so that they can be found at all."
        )


def _about_model(subject: Subject) -> Iterator[Step]:
    place, record = quote(str(subject.folder.path)), subject.record
    if Fusion.load(subject.folder.fusion).idle:
        said = "The model has next to no weight in the fused list."
        yield Step(f"{said} Train it longer or with more data, or use the baseline.")
    if subject.main is not None and not subject.folder.baselines.is_dir():
        fit = f"metatoken baseline {place} && metatoken evaluate {place}"
        yield Step("Compare with baselines that are fitted, too (SASRec, item-kNN, EASE).", fit)
    if record is not None and record.kept_epoch == record.epochs == record.max_epochs:
        longer = f"metatoken train config.yaml -o longer --set trainer.max_epochs={2 * record.max_epochs}"
        yield Step(f"The last of {record.epochs:,} epochs was the best one, so more of them may help.", longer)
    if subject.rival is not None and subject.main is not None:
        standing = verdict(subject.main["against"]["metrics"][JUDGED])
        if standing == "even" and (users := len(subject.targets)) < FEW:
            yield Step(f"{users:,} users seldom tell a small difference from chance; use a longer log.")
        if standing == "worse":
            yield Step("See for which users the model loses (hits by popularity and by history), and change that.")
    said = f"One seed is one draw. Train others (this one is seed {subject.data.config.seed}) and compare them."
    yield Step(said, "metatoken train config.yaml -o seeds --seeds 0,1,2")


def _about_tokens(found: TokenFindings) -> Iterator[Step]:
    for reason in found.due:
        yield Step(f"The tokens have aged ({reason}): make them anew.", "metatoken rebuild RUN -o NEW")
    for level in found.levels:
        if level.entropy < UNEVEN:
            said = f"Level {level.level} uses its tokens unevenly (evenness {level.entropy:.2f})."
            yield Step(f"{said} Fewer tokens there, or another clustering method, may tell items apart better.")


def _to_use(subject: Subject) -> Iterator[Step]:
    place = quote(str(subject.folder.path))
    if subject.main is not None:
        user = subject.data.split.log.users.raw[0]
        plain = quote(user) if user.isprintable() and not user.startswith("-") else "ID"
        yield Step("Recommend to a user.", f"metatoken recommend {place} --user {plain}")
        yield Step("Try it in a browser.", f"metatoken serve {place}")


def _of_hundred(share: float) -> str:
    """A share as people say it: `73 of 100`, `8 of 1,000`."""
    return f"{100 * share:.0f} of 100" if share >= 0.095 else f"{1000 * share:.0f} of 1,000"
