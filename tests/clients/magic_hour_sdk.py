"""Everything that Magic Hour's own SDK does with renders, against the stand-in. See tests/it/clients/sdks.rs."""

import json
import os
import sys
from pathlib import Path

from magic_hour import Client
from make_api_request import ApiError

client = Client(base_url=os.environ["MAGIC_HOUR_URL"], token=os.environ["MAGIC_HOUR_KEY"])
folder = os.getcwd()

# A create function's name, with the kind of its projects and its arguments.
calls = json.load(sys.stdin)
known = {name for name in vars(client.v1) if hasattr(getattr(client.v1, name), "create")}
assert known - {"face_detection"} == set(calls), known ^ set(calls)

for name, call in calls.items():
    projects = getattr(client.v1, f"{call['kind']}_projects")
    created = getattr(client.v1, name).create(**call["arguments"])
    done = projects.check_result(
        id=created.id, wait_for_completion=True, download_outputs=True, download_directory=folder
    )
    assert done.status == "complete" and done.credits_charged == created.credits_charged, (name, done)
    assert done.downloaded_paths and all(Path(path).stat().st_size for path in done.downloaded_paths), (name, done)
    projects.delete(id=created.id)
    try:
        projects.get(id=created.id)
        raise AssertionError(f"{name}: it is deleted")
    except ApiError as error:
        assert error.status_code == 404, error

# With uploads of local files.
picture = next(Path(folder).glob("output*.png"))
faces = client.v1.face_detection.generate(assets={"target_file_path": str(picture)}, download_directory=folder)
assert faces.status == "complete" and Path(faces.downloaded_paths[0]).stat().st_size, faces
swapped = client.v1.face_swap_photo.generate(
    assets={"source_file_path": str(picture), "target_file_path": str(picture)}, download_directory=folder
)
assert swapped.status == "complete" and swapped.downloaded_paths, swapped

try:
    client.v1.text_to_video.create(end_seconds=0.5, style={"prompt": "A dog"})
    raise AssertionError("it is refused")
except ApiError as error:
    assert error.status_code == 400 and "end_seconds" in error.response.text, error

print(json.dumps(sorted(calls)))
