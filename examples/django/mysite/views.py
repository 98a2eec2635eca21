"""What the site answers."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(settings.GREETING + "\n", content_type="text/plain")
