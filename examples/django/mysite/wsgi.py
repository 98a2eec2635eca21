"""What gunicorn serves."""

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_wsgi_application()

# Django imports URLs and views at the first request. Its checks import them
# now, so that one that is broken fails while the old generation serves.
call_command("check")
