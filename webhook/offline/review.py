"""`python -m webhook review`: answers AdmissionReviews from files, by the code that answers the API server."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from webhook.app import respond
from webhook.offline.objects import BadObjects, Objects, read
from webhook.reviews import binding
from webhook.reviews.json_value import BadReview
from webhook.reviews.profile_bindings import Policies
from webhook.reviews.review import Decision, Request, decode

OK, BAD_REVIEW, BAD_USAGE = 0, 1, 2


def main(argv: list[str]) -> int:
    """Answer each review; 1 if one could not be read, 2 for wrong usage or objects that cannot be read."""
    args = _parser().parse_args(argv)
    try:
        objects = read(args.objects)
    except BadObjects as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    code = OK
    for file in args.reviews:
        try:
            answer = _answer(file, objects, args)
        except (OSError, BadReview) as error:
            print(f"{file}: {error}", file=sys.stderr)
            code = BAD_REVIEW
        else:
            print(answer)
    return code


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m webhook review",
        description="Answer AdmissionReviews of new pods and ephemeral containers without a cluster, as the webhook "
        "would: one answer a line.",
    )
    add = options.add_argument
    add(
        "reviews", nargs="+", type=Path, metavar="REVIEW", help="JSON file with an AdmissionReview; - is standard input"
    )
    objects_help = "YAML file with the Namespaces, ProfileBindings and SeccompProfiles that apply"
    add("--objects", type=Path, required=True, metavar="FILE", help=objects_help)
    add("--explain", action="store_true", help="say in words what becomes of each container, and why")
    unconfined_help = "let the namespace label choose process-audit-only, too, as with profiles.allowUnconfined"
    add("--allow-unconfined", action="store_true", help=unconfined_help)
    namespace_help = "the release's namespace, in which no pod is changed (default $POD_NAMESPACE, or exectrail)"
    add("--namespace", default=os.environ.get("POD_NAMESPACE", "exectrail"), help=namespace_help)
    return options


def _answer(file: Path, objects: Objects, args: argparse.Namespace) -> str:
    def policies(request: Request) -> Policies:
        return objects.policies(request.namespace, allow_unconfined=args.allow_unconfined)

    body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if args.explain:
        request = decode(body)
        decided = binding.explained(request, policies(request), args.namespace)
        return "\n".join(_words(file, request, *decided))

    def decide(request: Request) -> Decision:
        return binding.decide(request, policies(request), args.namespace)

    return respond("binding", decide, body).decode()


def _words(file: Path, request: Request, decision: Decision, chosen: list[binding.Chosen]) -> Iterator[str]:
    yield f"{file}: pod {request.namespace}/{request.name or '(new)'}: {decision.reason}"
    for each in chosen:
        got = f"Localhost {each.choice.path}, by" if each.choice.path else "stays as it is:"
        yield f"  container {each.container.name!r} ({each.container.image}): {got} {each.choice.why}"
    yield from (f"  warning: {warning}" for warning in decision.warnings)
