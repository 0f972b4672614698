"""Answers the controller's question whether the webhook is reached (`exectrail.contracts.canary`)."""

from exectrail.contracts.canary import ANSWERED, ASKED
from webhook.reviews.review import Decision, Operation, Request

_PATH = f"/metadata/annotations/{ANSWERED.replace('/', '~1')}"


def decide(request: Request) -> Decision:
    """Write the word of the question into the answer.

    Raises:
        BadReview: The request's object has no readable annotations.

    """
    (metadata,) = request.object.required().members("metadata")
    (annotations,) = metadata.members("annotations")
    (asked,) = annotations.members(ASKED)
    if asked.absent:
        return Decision("no-canary")
    return Decision("answered", [Operation(_PATH, asked.text())])
