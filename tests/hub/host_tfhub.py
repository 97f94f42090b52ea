"""tfhub.dev, as hubs.md 3.2 tells of it: it has moved to Kaggle. It needs
host_kaggle.py beside it.

    .hosts/tfhub/handles.json   {HANDLE[/VERSION]: where it is at Kaggle,
                                "OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]",
                                or null: deleted}
    .hosts/gcs/kaggle-tfhub-models-uncompressed/tfhub-modules/HANDLE/VERSION/
        uncompressed/FILE       unpacked
"""
import json
import os
import urllib.parse

from faults import Reply

SETTINGS = {
    "tfhub_redirect": 302,
    "tfhub_kaggle": True,       # False: "compressed" is answered with a page
}
BUCKET = "kaggle-tfhub-models-uncompressed"
PAGE = b"<!DOCTYPE html><html><body>TensorFlow Hub</body></html>"


class Tfhub:
    name = "tfhub"
    keys = ("tfhub.endpoint",)

    def __init__(self, hub):
        self.hub = hub
        self.handles = {}
        self.load()

    def load(self):
        path = self.hub.files("tfhub", "handles.json")
        self.handles = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self.handles = json.load(f)

    def answer(self, q):
        handle = urllib.parse.unquote(q.path).strip("/")
        if handle not in self.handles:
            return Reply(404, PAGE, (), "text/html; charset=utf-8")
        form = q.arg("tf-hub-format")
        to = self.handles[handle]
        if to and form == "uncompressed":
            where = f"gs://{BUCKET}/tfhub-modules/{handle}/uncompressed"
            return Reply(303, where.encode(), (), "text/plain")
        if to and form == "compressed" and not self.hub.set["tfhub_kaggle"]:
            return Reply(200, PAGE, (), "text/html; charset=utf-8")
        query = "tfhub-redirect=true"
        if q.query_text:
            query = q.query_text + "&" + query
        path = "/models"
        if to:
            path += "/" + to.replace("tensorFlow", "TensorFlow")
        return Reply(self.hub.set["tfhub_redirect"], b"", [
            ("Location", f"{self.hub.urls['kaggle']}{path}?{query}")],
            "text/html; charset=utf-8")


SITES = [Tfhub]
