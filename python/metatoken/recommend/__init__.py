"""From users or histories to items, with titles: one request, many at once, or a file of users."""

from metatoken.recommend.answerer import Answerer
from metatoken.recommend.questions import Answered, Question
from metatoken.recommend.recommender import Recommender
from metatoken.recommend.requests import Answer, Model, Prepared, Recommendation, Request

__all__ = [
    "Answer",
    "Answered",
    "Answerer",
    "Model",
    "Prepared",
    "Question",
    "Recommendation",
    "Recommender",
    "Request",
]
