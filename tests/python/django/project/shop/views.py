"""Views that order, and defer what is to be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import http
from django.db import transaction

from tests.python.django.project.shop import models, tasks

if TYPE_CHECKING:
    from django.http import HttpRequest


class RefusedError(Exception):
    """The view gives up after it has deferred."""


def order(request: HttpRequest) -> http.HttpResponse:
    """Order, in one transaction with the job; or fail after it."""
    name = request.GET["name"]
    with transaction.atomic():
        job_id = tasks.send.defer(order=name)
        models.Order.objects.create(name=name, job_id=job_id)
        if "fail" in request.GET:
            raise RefusedError(name)
    return http.HttpResponse(str(job_id))


def order_then_fail(request: HttpRequest) -> http.HttpResponse:
    """Fail after a defer that nothing but ATOMIC_REQUESTS makes part of a transaction."""
    tasks.send.defer(order=request.GET["name"])
    raise RefusedError


async def order_async(request: HttpRequest) -> http.HttpResponse:
    """Order, from an event loop."""
    job_id = await tasks.send.defer_async(order=request.GET["name"])
    return http.HttpResponse(str(job_id))
