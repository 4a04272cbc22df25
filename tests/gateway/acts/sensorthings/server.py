"""A SensorThings 1.1 server of others, `django-ogc-sensorthings`, as a process of its own.

Runs with `.peers/bin/python`: server.py DATABASE PORT [QUIRK]. The quirk "mute" makes the server do
what it is told and close the connection without an answer, as a line that breaks does, while a file
DATABASE.mute exists.
"""

import contextlib
import socket
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from types import ModuleType
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

DATABASE, PORT = Path(sys.argv[1]), int(sys.argv[2])

current = threading.local()
urls = ModuleType("tukad_test_urls")


def main() -> None:
    """Serve until killed."""
    settings.configure(
        DEBUG=False,
        SECRET_KEY="test",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=urls,
        USE_TZ=True,
        INSTALLED_APPS=[
            "sensorthings.versions.v1_1",
            "sensorthings.versions.v1_1.backends.django",
            "sensorthings.versions.v1_1.extensions.dataarray",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(DATABASE),
                "OPTIONS": {"timeout": 20},
            }
        },
        SENSORTHINGS_V1_1_SERVICE_URL=f"http://127.0.0.1:{PORT}/sta",
        SENSORTHINGS_V1_1_BACKEND_ADAPTER=(
            "sensorthings.versions.v1_1.backends.django.adapter.DjangoBackendAdapter"
        ),
        SENSORTHINGS_V1_1_ID_TYPE=UUID,
        SENSORTHINGS_V1_1_ID_DELIMITER="'",
    )
    is_new = not DATABASE.exists()
    django.setup()
    urls.__dict__["urlpatterns"] = [path("sta/", include("sensorthings.versions.v1_1.urls"))]
    if is_new:
        call_command("migrate", verbosity=0)
    application = get_wsgi_application()
    mute = Path(f"{DATABASE}.mute")

    def serve(environ, start_response):
        answer = application(environ, start_response)
        if mute.exists() and environ["REQUEST_METHOD"] == "POST":
            mute.unlink()
            current.connection.shutdown(socket.SHUT_RDWR)
        return answer

    class Handler(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            current.connection = self.connection
            with contextlib.suppress(OSError):
                super().handle()

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass

    with make_server("127.0.0.1", PORT, serve, Server, Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
